"""Numbers in settings mean what they look like."""

from pathlib import Path

import pytest

from cellvit.config.strict import read_settings_file
from cellvit.errors import SettingsError


@pytest.mark.parametrize("number", ["010", "1:30", "1_0", "0x10", "0b11", "1:30.5"])
def test_a_number_that_yaml_would_read_as_another_is_refused(tmp_path: Path, number: str) -> None:
    (tmp_path / "mine.yaml").write_text(f"seed: {number}\n")

    with pytest.raises(SettingsError, match=r"expected a decimal number, found .* \(line 1, column 7\)"):
        read_settings_file(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("-3", -3), ("1.5", 1.5), (".5", 0.5), ("1.0e-4", 1e-4), ("'010'", "010")]
)
def test_decimal_numbers_and_text_in_quotes_are_read(tmp_path: Path, text: str, number: object) -> None:
    (tmp_path / "mine.yaml").write_text(f"seed: {text}\n")

    assert read_settings_file(tmp_path / "mine.yaml") == {"seed": number}
