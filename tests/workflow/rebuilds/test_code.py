"""What reruns when code changes, and after a step that failed."""

import pytest
from rebuilding import decoders, edit, evaluated
from workshop import Workshop

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def test_another_text_of_the_report_builds_it_again(made: Workshop) -> None:
    edit(made, "report/index.html.j2", "<!-- edited -->\n")

    assert made.ran() == {"build_report/report"}


def test_an_edited_module_reruns_the_steps_that_reach_it_and_stops_where_they_make_the_same(made: Workshop) -> None:
    edit(made, "stages/prepare_fold.py")
    prepared = made.ran()
    edit(made, "training/schedule.py")
    fitted = made.ran()

    assert {job.split("/")[0] for job in prepared} == {"prepare_fold"}
    assert {job.split("/")[0] for job in fitted} == {"train_hovernet", "train_organ_head", "publish_checkpoint"}


def test_comments_docstrings_and_formatting_rerun_nothing(made: Workshop) -> None:
    path = made.home / "cellvit" / "training" / "hovernet.py"
    path.write_text("# why\n\n\n" + path.read_text().replace('"""Training of', '"""How to train'))

    assert made.ran() == set()


def test_a_failed_training_leaves_the_old_checkpoint_and_is_not_forgotten(made: Workshop) -> None:
    checkpoint = made.results / "checkpoints/split1/hovernet_digestive.safetensors"
    before = checkpoint.read_bytes()
    module = made.home / "cellvit" / "training" / "schedule.py"
    original = module.read_text()
    module.write_text(original + "\nraise RuntimeError('out of luck')\n")

    failed = made.snakemake("--cores", "2")
    kept = checkpoint.read_bytes()
    again = made.planned()
    alone = made.planned("--", str(checkpoint.relative_to(made.home)))
    module.write_text(original)
    ran = made.ran()

    assert failed.returncode != 0
    assert kept == before
    assert again["train_hovernet"] == len(decoders(made))
    assert alone["train_hovernet"] == alone["publish_checkpoint"] == 1
    assert {"train_hovernet/split1_digestive", "train_organ_head/split1"} <= ran
    assert not evaluated("digestive") & ran, "its weights are the same again"
