"""Whatever is done to a file that the project reads, the reader gives what was written or refuses the file by name.

More examples, and others in every run:  pytest tests/fuzz --hypothesis-profile fuzz-long
"""

import warnings
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from fuzzed import Format, content_of, outcome_of
from fuzzed_inputs import INPUTS
from fuzzed_products import PRODUCTS
from fuzzed_stores import STORES
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import mutation_of

FORMATS = (*STORES, *PRODUCTS, *INPUTS)


def examples(case: Format) -> settings:
    """The chosen profile of tests/fuzz/conftest.py, or its short one.

    HDF5 can crash, with the test, where it writes into a file of damaged structure (docs/reliability.md).
    """
    chosen = settings.get_current_profile_name()
    return settings.get_profile(chosen if chosen.startswith("fuzz") and case.name != "store: unfinished" else "fuzz")


@pytest.mark.parametrize("case", FORMATS, ids=[case.name for case in FORMATS])
def test_a_damaged_file_is_read_as_it_was_or_refused_by_name(
    case: Format, tmp_path: Path, outcomes: dict[str, Counter[str]]
) -> None:
    path = case.write(tmp_path)
    expected = content_of(case.read(path))
    written = path.read_bytes() if path.exists() else case.write(tmp_path).read_bytes()

    @settings(examples(case))
    @given(seed=st.integers(0, 2**32 - 1))
    def damaged(seed: int) -> None:
        mutation_of(written, Random(seed)).apply(path)
        with warnings.catch_warnings(action="ignore"):  # a warning of a library is no error for a user
            outcomes[case.name][outcome_of(case, path, expected)] += 1  # which fails on any other outcome

    damaged()
