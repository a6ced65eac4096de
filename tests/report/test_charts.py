import xml.etree.ElementTree as ET

import matplotlib as mpl
import pandas as pd
import pytest

from cellvit.formats.documents import Value
from cellvit.formats.history import HOVERNET_HISTORY
from cellvit.report.charts import PANELS, comparison_chart, training_curves

NAN = float("nan")


@pytest.fixture(scope="module")
def curves(history: pd.DataFrame) -> str:
    return training_curves(history, selected=4)


def test_charts_are_valid_svg_and_a_function_of_their_values(history: pd.DataFrame, curves: str) -> None:
    rows = {
        "digestive": {"decoder": {"aji": Value(value=0.5, low=0.4, high=0.6, n=9)}},
        "epidermal": {"decoder": {"aji": Value(value=NAN, n=0), "bpq": Value(value=0.3, n=1)}},
    }
    before = dict(mpl.rcParams)

    charts = [curves, comparison_chart(rows)]

    assert charts == [training_curves(history, selected=4), comparison_chart(rows)]
    assert all(ET.fromstring(svg).tag.endswith("svg") and "metadata" not in svg for svg in charts)
    assert dict(mpl.rcParams) == before


def test_every_column_of_the_history_has_a_panel() -> None:
    shown = {column for name in PANELS.values() for column in (name, f"train_{name}", f"validate_{name}")}
    learned = {f"validate_weight_{task}" for task in ("np", "hv", "nt")}  # the same as those of training

    assert set(HOVERNET_HISTORY.columns) - {"step", "epochs", "selected"} - learned <= shown


def test_weights_are_shown_only_where_they_are_learned_and_validation_where_it_was(
    history: pd.DataFrame, curves: str
) -> None:
    fixed = history.assign(train_weight_np=1.0, train_weight_hv=2.0, train_weight_nt=1.0)
    trained = history.assign(**{name: NAN for name in history if name.startswith("validate_")})

    assert len(training_curves(fixed, selected=4)) < len(curves)
    assert training_curves(trained, selected=4).startswith("<svg")
