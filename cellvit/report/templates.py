"""Templates of the pages: variables -> HTML with the style in it, so that a page opens offline."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from cellvit.report.cells import defined
from cellvit.report.wording import decoder_label, share_of_pixels, short_label


def rendered(template: str, **variables: object) -> str:
    """A page; the same variables give the same bytes.

    Raises:
        UndefinedError: The template needs a variable that is not given.
    """
    loader = PackageLoader("cellvit.report", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "decoder": decoder_label,
        "number": defined,
        "percent": share_of_pixels,
        "short": short_label,
    }
    style, _, _ = loader.get_source(environment, "style.css")
    return environment.get_template(template).render(style=style, **variables)
