"""YAML files that people write: read without guessing; a key that occurs twice is refused."""

from pathlib import Path
from typing import Any, Final

import yaml

from cellvit.config.strict import StrictLoader
from cellvit.errors import ContractError, MissingInputError

_LARGEST_BYTES: Final = 1 << 20
"""No description that a person writes is larger; a file that is was taken for one by mistake."""


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a file holds; dates stay text.

    Raises:
        MissingInputError: The file does not exist.
        ContractError: It is not UTF-8, not YAML or not a mapping, or a key occurs twice in one place.
    """
    if not path.is_file():
        raise MissingInputError(
            f"{path}: {'this is a folder' if path.is_dir() else 'the file does not exist'}. Fix: name a text file."
        )
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ContractError(
                f"{path}: expected a short text file, found {path.stat().st_size:,} bytes. Fix: name the file that describes the data."
            )
        content = yaml.load(path.read_text(encoding="utf-8-sig"), _StrictLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f"{path}: cannot be read as UTF-8 text ({error}). Fix: save it as UTF-8.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ContractError(
            f"{path}: this is not valid YAML: {error}\n"
            'Fix: check the indentation and the line named above, and put text with signs such as : # ? into quotes ("?").'
        ) from error
    if not isinstance(content, dict):
        raise ContractError(
            f'{path}: expected lines of "key: value", found {type(content).__name__}. Fix: write one setting a line.'
        )
    return content


class _StrictLoader(StrictLoader):
    """A loader that also refuses references, and takes dates for text."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """A node; references are refused, because they can refer to themselves and grow without end."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "write the value itself, not a reference", event.start_mark)
        return super().compose_node(parent, index)


_StrictLoader.yaml_implicit_resolvers = {
    sign: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for sign, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
