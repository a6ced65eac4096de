"""Reference of all settings as a page of the documentation: name, default, meaning and limits of every key."""

import re
from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from cellvit.config.evaluation import Gate
from cellvit.config.settings import Settings
from cellvit.config.template import NULL_SECTIONS, limits_of, scalar_yaml

_PAGE: Final = re.compile(r"docs/(\w+\.md)")

_HEADER = """\
# Reference of all settings

<!-- Generated from cellvit/config by `python -m cellvit settings`: do not edit. -->

`config.yaml` holds every setting with its default. Write the settings that differ into a file of your own:

```yaml
# mine.yaml
training: {epochs: 20}
```

```
snakemake --cores all --configfile mine.yaml
snakemake --cores all --config 'training={"epochs": 20}'    # or on the command line
```

Unknown keys, keys that occur twice and values of another type are errors that name the nearest right key. A changed setting
repeats only the steps that read it, and the steps that depend on them ([what runs again](how_it_works.md#what-runs-again-after-a-change)).
"""


def settings_page() -> str:
    """The page as Markdown."""
    return _HEADER + "".join(_section(name, field) for name, field in Settings.model_fields.items())


def _section(name: str, field: FieldInfo) -> str:
    """A top-level key with a table of all keys below it."""
    rows = list(_rows(name, field, getattr(Settings(), name)))
    return f"\n## {name}\n\n| setting | default | meaning |\n|---|---|---|\n" + "".join(rows)


def _rows(key: str, field: FieldInfo, value: object) -> Iterator[str]:
    """The row of a setting, and the rows of the settings below it."""
    match value:
        case Gate():
            yield _row(key, _code(to_jsonable_python(value, by_alias=True)), field)
        case BaseModel():
            yield _row(key, "", field)
            for name, info in type(value).model_fields.items():
                yield from _rows(f"{key}.{info.alias or name}", info, getattr(value, name))
        case dict():
            yield _row(key, "", field)
            for name, entry in to_jsonable_python(value, by_alias=True).items():
                yield f"| `{key}.{name}` | {_code(entry)} | |\n"
        case _:
            yield _row(key, _code(to_jsonable_python(value)), field)
            section = NULL_SECTIONS.get(key.rpartition(".")[2])
            for name, info in section.model_fields.items() if section else ():
                yield _row(f"{key}.{name}", "", info)


def _row(key: str, default: str, field: FieldInfo) -> str:
    limits = limits_of(field)
    meaning = f"{field.description or ''}{f' ({limits})' if limits else ''}".replace("|", "\\|")
    return f"| `{key}` | {default} | {_PAGE.sub(_linked, meaning)} |\n"


def _code(value: object) -> str:
    return f"`{scalar_yaml(value)}`"


def _linked(found: re.Match[str]) -> str:
    """A page of this documentation that a description names, as a link."""
    return f"[{found[1]}]({found[1]})"
