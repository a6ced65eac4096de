"""What reruns when results are edited, lost, moved, copied, or met by a fresh clone."""

import re
import shutil

import pytest
from rebuilding import change, decoders, move
from workshop import Workshop

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


@pytest.mark.parametrize(
    ("name", "edit", "reads_it"),
    [
        ("watershed/split1/digestive.json", ("0.5", "0.51"), "evaluate_family"),
        ("evaluation/split1/digestive.json", ('"value": 0.', '"value": 0.9'), "summarize"),
        ("evaluation/split1/digestive_tiles.csv", ("Colon", "Stomach"), "evaluate_routed"),
    ],
)
def test_a_result_that_was_edited_by_hand_stops_what_reads_it(
    made: Workshop, name: str, edit: tuple[str, str], reads_it: str
) -> None:
    path = made.results / name
    original = path.read_text()
    assert edit[0] in original
    path.write_text(original.replace(*edit))

    stopped = made.snakemake("--cores", "2")
    said = "".join(log.read_text() for log in (made.results / "logs" / reads_it).glob("*.log"))
    path.write_text(original)
    ran = made.ran()

    assert stopped.returncode != 0
    assert re.search(rf"results/{name}: (was changed after|is not the table)", said)
    assert f"rm results/{name} && snakemake -- results/{name}" in said
    assert {job.split("/")[0] for job in ran} <= {"evaluate_family", "evaluate_routed", "summarize", "build_report"}


def test_a_lost_result_is_made_again_and_what_follows_stays(made: Workshop) -> None:
    (made.results / "watershed/split1/digestive.json").unlink()

    assert made.ran() == {"tune_watershed/split1_digestive"}


def test_a_lost_store_is_made_again_when_it_is_read(made: Workshop) -> None:
    shutil.move(made.results / "features/fold3.h5", made.home / "lost.h5")

    idle = made.ran()
    asked = made.ran("--", "results/features/fold3.h5")

    assert idle == set()
    assert asked == {"extract_features/fold3"}


def test_moved_results_rerun_nothing_and_changes_count_there_at_once(made: Workshop) -> None:
    move(made, "results", "moved")
    untouched = made.planned()
    change(made, gates={"quality": {"aji": {"pass": 0.62}}})

    ran = made.ran()
    move(made, "moved", "results")
    back = made.planned()
    change(made, gates={"quality": {"aji": {"pass": 0.61}}})
    again = made.ran()

    assert untouched == back == {}
    assert ran == again == {"summarize/summary", "build_report/report"}


def test_a_fresh_clone_knows_how_results_were_made(made: Workshop) -> None:
    (made.home / ".snakemake").rename(made.home / "of_another_clone")
    untouched = made.planned()
    shutil.rmtree(made.home / ".snakemake")
    settings = (made.home / "small.yaml").read_text()
    change(made, training={"learning_rate": 3.0e-4})

    planned = made.planned()

    (made.home / "small.yaml").write_text(settings)
    shutil.rmtree(made.home / ".snakemake")
    (made.home / "of_another_clone").rename(made.home / ".snakemake")
    assert untouched == {}
    assert planned["train_hovernet"] == len(decoders(made))


def test_an_older_copy_put_in_the_place_of_results_is_known_for_what_it_is(made: Workshop) -> None:
    shutil.copytree(made.results, made.home / "copy", copy_function=shutil.copyfile)
    change(made, gates={"quality": {"aji": {"pass": 0.63}}})
    made.ran()
    shutil.rmtree(made.results)
    (made.home / "copy").rename(made.results)

    ran = made.ran()

    assert ran == {"summarize/summary", "build_report/report"}


def test_a_product_that_was_edited_elsewhere_is_named_until_it_is_accepted(made: Workshop) -> None:
    evaluation = made.results / "evaluation/split1/digestive.json"
    original = evaluation.read_text()
    evaluation.write_text(original.replace("0.", "0.0", 1))
    move(made, "results", "moved")

    told = made.snakemake("-n")
    accepted = made.snakemake("--cores", "2", "--touch", "--forceall")
    quiet = made.snakemake("-n")
    (made.home / "moved/evaluation/split1/digestive.json").write_text(original)
    made.ran()
    move(made, "moved", "results")

    assert accepted.returncode == 0, accepted.stderr
    assert "the first evaluation/split1/digestive.json" in told.stderr
    assert "make verify && snakemake --touch" in told.stderr
    assert "make verify" not in quiet.stderr
