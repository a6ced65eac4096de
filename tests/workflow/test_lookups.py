"""What the rules look up in the settings: where a training starts, and how many tiles it is shown."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from bundles import small_bundle

from cellvit.config.settings import load_settings
from cellvit.errors import SettingsError
from cellvit.formats.dataset import PANNUKE
from cellvit.workflow.graph import Graph
from cellvit.workflow.output_folder import writable_folder
from cellvit.workflow.resources import runtime_min

CHECKPOINT = "checkpoints/split{split}/hovernet_{family}.safetensors"


SPLITS = {"a": {"train": 3, "validate": 2, "test": 1}, "b": {"train": 2, "validate": 1, "test": 3}}


def job(family: str) -> SimpleNamespace:
    return SimpleNamespace(split="1", family=family)


@pytest.mark.parametrize(
    ("start_from", "family", "expected"),
    [
        pytest.param("scratch", "digestive", [], id="scratch"),
        pytest.param("shared", "digestive", ["checkpoints/split1/hovernet_all.safetensors"], id="shared"),
        pytest.param("shared", "all", [], id="the_shared_decoder_itself"),
        pytest.param("shared", "all-seed1", [], id="the_shared_decoder_of_a_further_seed"),
        pytest.param(
            "shared", "digestive-seed1", ["checkpoints/split1/hovernet_all-seed1.safetensors"], id="same_seed"
        ),
    ],
)
def test_a_family_starts_from_the_shared_decoder_of_its_split_where_it_is_set(start_from, family, expected):
    graph = Graph(load_settings({"training": {"start_from": start_from}, "further_seeds": [1]}))

    assert graph.start(CHECKPOINT)(job(family)) == expected


@pytest.mark.parametrize("family", ["all", "digestive", "digestive-seed1"])
def test_every_decoder_starts_from_a_file_that_must_not_have_seen_the_test_folds(family):
    graph = Graph(load_settings({"training": {"start_from": "old/decoder.safetensors"}, "further_seeds": [1]}))
    wildcards = SimpleNamespace(split="1", family=family, items={"split": "1"}.items)

    assert graph.start(CHECKPOINT)(wildcards) == ["old/decoder.safetensors"]
    assert graph.unseen("tiles/fold{fold}.h5")(wildcards) == ["tiles/fold3.h5"]


def test_one_family_starts_from_a_file_of_its_own():
    own = {"organs": ["Skin"], "training": {"start_from": "old/skin.safetensors"}}
    others = [organ for organ in PANNUKE.organs if organ not in {"Colon", "Skin"}]
    graph = Graph(load_settings({"families": {"digestive": ["Colon"], "epidermal": own}, "left_out_organs": others}))

    starts = {family: graph.start(CHECKPOINT)(job(family)) for family in ("digestive", "epidermal", "all")}

    assert starts == {"digestive": [], "epidermal": ["old/skin.safetensors"], "all": []}
    assert graph.unseen("tiles/fold{fold}.h5")(SimpleNamespace(split="1", family="digestive", items={}.items)) == []


def test_families_start_from_their_own_decoder_in_a_folder_else_from_the_shared_one(tmp_path: Path):
    for name in ("digestive", "all"):
        (tmp_path / f"hovernet_{name}.safetensors").touch()
    graph = Graph(load_settings({"training": {"start_from": f"{tmp_path}/"}, "further_seeds": [1]}))

    starts = [graph.start(CHECKPOINT)(job(family)) for family in ("digestive", "digestive-seed1", "epidermal", "all")]

    own, shared = (f"{tmp_path}/hovernet_{name}.safetensors" for name in ("digestive", "all"))
    assert starts == [[own], [own], [shared], [shared]]


def test_families_start_from_a_bundle_and_those_that_it_has_no_decoder_of_from_the_shared_one(tmp_path: Path):
    bundle = small_bundle(tmp_path)
    graph = Graph(load_settings({"training": {"start_from": f"{bundle}/"}}))

    starts = [graph.start(CHECKPOINT)(job(family)) for family in ("digestive", "epidermal", "urologic")]

    own, shared = (f"{bundle}/hovernet_{name}.safetensors" for name in ("digestive", "all"))
    assert starts == [[own], [shared], [shared]]


def test_a_product_of_the_run_itself_is_no_start(tmp_path: Path):
    inside = str(tmp_path / "results/checkpoints/split1/hovernet_all.safetensors")

    with pytest.raises(SettingsError, match=r"(?s)start_from: .*is in the output folder.*Fix: copy the file"):
        Graph(load_settings({"results": str(tmp_path / "results"), "training": {"start_from": inside}}))


def test_a_job_without_a_split_belongs_to_the_final_models_which_train_on_all_folds():
    shared = {"training": {"start_from": "shared"}, "splits": SPLITS}
    graph = Graph(load_settings({**shared, "data": {"folds": [1, 2, 3, 4]}}))
    final = SimpleNamespace(family="digestive")

    maps = graph.maps("maps/{split}/{family}.h5", averaged="averaged/{split}/{family}.h5")(final)

    assert graph.split_of(final) == "final"
    assert (graph.folds("train")(final), graph.folds("validate")(final)) == ([1, 2, 3, 4], [])
    assert graph.start("checkpoints/final/hovernet_{family}")(final) == ["checkpoints/final/hovernet_all"]
    assert maps == ["maps/a/digestive.h5", "maps/b/digestive.h5"]
    assert graph.validated_folds == [1, 2]


def test_files_that_name_patients_and_sources_are_inputs_where_they_exist(tmp_path: Path):
    graph, fold = Graph(load_settings({"data": {"root": str(tmp_path)}})), SimpleNamespace(items={"fold": 2}.items)
    before = {kind: find(fold) for kind, find in graph.names.items()}
    path = tmp_path / "Fold 2" / "images" / "fold2" / "sources.npy"
    path.parent.mkdir(parents=True)
    path.touch()

    assert before == {"patients": [], "sources": []}
    assert {kind: find(fold) for kind, find in graph.names.items()} == {"patients": [], "sources": [str(path)]}


def test_a_training_asks_for_time_by_its_steps_and_validations(tmp_path: Path):
    (tmp_path / "tiles").mkdir()
    for fold, n in ((1, 160), (2, 50), (3, 999)):
        summary = {"tiles_by_organ": {"Colon": n, "Lung": 400}}
        (tmp_path / f"tiles/fold{fold}.json").write_text(json.dumps(summary))
    training = {"epochs": 100, "min_steps": 600, "batch_size": 16, "record_every": 100, "validate_every": 300}
    graph = Graph(load_settings({"results": str(tmp_path), "training": training}))

    of_all, of_family = graph.tiles_trained(job("all")), graph.tiles_trained(job("digestive"))

    assert of_all == 100 * 35 * 16 + 12 * 450  # 35 steps an epoch; after 3,500 steps, 12 measurements
    assert of_family == 1000 * 16 + 4 * 50  # 10 steps an epoch, more than 600 steps in total
    assert graph.minutes("train_hovernet", tiles=graph.tiles_trained)(job("all"), 2) == runtime_min(
        "train_hovernet", of_all, 2
    )


def test_maps_are_averaged_for_the_families_that_ask_for_it():
    own = {"organs": ["Skin"], "watershed": {"average_views": True}}
    others = [organ for organ in PANNUKE.organs if organ not in ("Colon", "Skin")]
    graph = Graph(load_settings({"families": {"digestive": ["Colon"], "epidermal": own}, "left_out_organs": others}))
    every = Graph(load_settings({"watershed": {"average_views": True}, "training": {"shared_decoder": False}}))

    paths = "maps/{split}/{family}.h5", "averaged/{split}/{family}.h5"

    assert graph.averaged == ["epidermal"]
    assert graph.maps(paths[0], averaged=paths[1])(job("epidermal")) == ["averaged/1/epidermal.h5"]
    assert graph.maps(paths[0], averaged=paths[1])(job("all")) == ["maps/1/all.h5"]
    assert every.averaged == list(every.settings.families)


def test_a_decoder_is_compared_with_the_shared_decoder_of_its_seed_and_reads_the_rows_of_its_family():
    graph = Graph(load_settings({"further_seeds": [1]}))

    compared = {family: graph.of_shared_decoder(CHECKPOINT)(job(family)) for family in ("all", "digestive-seed1")}
    wildcards = SimpleNamespace(split="1", family="digestive-seed1", items={"split": "1"}.items)
    members = graph.of_folds("families/{base_family}/fold{fold}.h5", "test")(wildcards)

    assert compared == {"all": [], "digestive-seed1": ["checkpoints/split1/hovernet_all-seed1.safetensors"]}
    assert members == ["families/digestive/fold3.h5"]


def test_without_a_shared_decoder_none_is_compared_with():
    graph = Graph(load_settings({"training": {"shared_decoder": False}, "further_seeds": [1]}))

    assert [graph.of_shared_decoder(CHECKPOINT)(job(family)) for family in ("digestive", "digestive-seed1")] == [[], []]


def test_an_output_folder_in_which_nothing_can_be_written_is_refused(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SettingsError, match=rf"results: expected a folder, found a file: {tmp_path}/file"):
        writable_folder(tmp_path / "file/results")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(SettingsError, match=rf"results: .* found {tmp_path} without that permission"):
        writable_folder(tmp_path / "results")


@pytest.mark.parametrize("target", ["nowhere", "link"], ids=["dangling", "circle"])
def test_an_output_folder_behind_a_link_to_nothing_is_refused_by_name(tmp_path: Path, target: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path / target)

    with pytest.raises(
        SettingsError, match=rf"found a link to nothing: {tmp_path}/link -> {tmp_path}/{target}\. Fix: "
    ):
        writable_folder(tmp_path / "link/results")


def test_a_job_of_all_decoders_reads_the_members_of_each_family_in_all_folds_of_a_split():
    others = [organ for organ in PANNUKE.organs if organ != "Colon"]
    graph = Graph(load_settings({"families": {"digestive": ["Colon"], "other": others}}))
    wildcards = SimpleNamespace(split="1", items={"split": "1"}.items)

    found = graph.of_families_and_folds("families/{family}/fold{fold}.h5", "train", "test")(wildcards)

    assert found == [f"families/{family}/fold{fold}.h5" for family in ("digestive", "other", "all") for fold in (1, 3)]
