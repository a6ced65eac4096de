import math
from pathlib import Path

from cellvit.workflow.timings import read_timings

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_times_and_memory_of_each_job_are_read_with_its_name_below_the_step(tmp_path: Path) -> None:
    timings, logs = tmp_path / "timings", tmp_path / "logs"
    write(
        timings / "extract_features/shards/fold1_1of2.tsv",
        HEADER + "16.79\t0:00:16\t613.56\t1623.34\t450.66\t519.94\t1.61\t0.04\t89.69\t15.54\n",
    )
    write(
        logs / "extract_features/shards/fold1_1of2.log", "03:44:14 INFO gpu peak_mb=7000 of=24217 device=NVIDIA A30\n"
    )

    (found,) = read_timings(timings)

    assert (found.step, found.job) == ("extract_features", "shards/fold1_1of2")
    assert (found.seconds, found.memory_mb, found.gpu_mb) == (16.79, 613.56, 7000)


def test_a_job_too_short_to_be_measured_has_a_time_and_no_memory(tmp_path: Path) -> None:
    write(tmp_path / "timings/summarize/summary.tsv", HEADER + "0.31\t0:00:00" + "\tNA" * 8 + "\n")

    (found,) = read_timings(tmp_path / "timings")

    assert found.seconds == 0.31
    assert math.isnan(found.memory_mb)
    assert math.isnan(found.gpu_mb)


def test_a_file_whose_job_was_cut_off_counts_for_nothing(tmp_path: Path) -> None:
    write(tmp_path / "timings/summarize/summary.tsv", HEADER)

    assert read_timings(tmp_path / "timings") == ()


def test_before_any_run_there_are_no_times(tmp_path: Path) -> None:
    assert read_timings(tmp_path / "timings") == ()
