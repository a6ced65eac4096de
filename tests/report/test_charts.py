import xml.etree.ElementTree as ET

import matplotlib as mpl
import pandas as pd

from cellvit.formats.documents import Value
from cellvit.formats.history import HOVERNET_HISTORY
from cellvit.report.comparison import Entry, comparison_chart
from cellvit.report.curves import PANELS, chosen_epoch, training_curves

NAN = float("nan")


def test_curves_are_the_same_bytes_each_time_and_valid_svg(history: pd.DataFrame) -> None:
    svg = training_curves(history)

    assert svg == training_curves(history)
    assert ET.fromstring(svg).tag.endswith("svg")
    assert "metadata" not in svg


def test_every_figure_of_the_history_has_a_panel() -> None:
    drawn = {name for panel in PANELS for name in (*panel.train, *panel.validate)}
    learned = {f"validate_weight_{task}" for task in ("np", "hv", "nt")}  # the same as those of training

    assert set(HOVERNET_HISTORY.columns) - {"epoch", "chosen"} - learned <= drawn


def test_weights_are_drawn_only_where_they_are_learned(history: pd.DataFrame) -> None:
    fixed = history.assign(train_weight_np=1.0, train_weight_hv=2.0, train_weight_nt=1.0)

    assert len(training_curves(fixed)) < len(training_curves(history))


def test_history_without_validation_tiles_still_draws(history: pd.DataFrame) -> None:
    columns = [name for name in history if name.startswith("validate_")]

    assert training_curves(history.assign(**dict.fromkeys(columns, NAN))).startswith("<svg")


def test_chosen_epoch_is_read_from_its_mark(history: pd.DataFrame) -> None:
    assert chosen_epoch(history) == 4
    assert chosen_epoch(history.assign(chosen=0)) is None


def test_chart_draws_families_with_undefined_figures_and_missing_systems() -> None:
    entries = [
        Entry("digestive", {"decoder": {"aji": Value(value=0.5, low=0.4, high=0.6, n=9)}}),
        Entry("epidermal", {"decoder": {"aji": Value(value=NAN, n=0), "bpq": Value(value=0.3, n=1)}}),
    ]

    svg = comparison_chart(entries)

    assert ET.fromstring(svg).tag.endswith("svg")
    assert svg == comparison_chart(entries)


def test_drawing_leaves_matplotlib_as_it_was(history: pd.DataFrame) -> None:
    before = dict(mpl.rcParams)

    training_curves(history)

    assert dict(mpl.rcParams) == before
