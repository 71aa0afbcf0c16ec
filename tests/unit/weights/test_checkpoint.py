"""Model files: what is written comes back, and every other file is refused in one line."""

import json
import os
import stat
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import safetensors.torch
import torch

from panet.config import BackboneConfig, BoxHeadConfig, MaskHeadConfig, ModelConfig, NeckConfig
from panet.errors import CheckpointError
from panet.model.build import build_model
from panet.structures import LabelMap
from panet.weights import checkpoint
from panet.weights.checkpoint import load_model, model_path, restore, save_model

CONFIG = ModelConfig(
    num_classes=2,
    norm="none",
    backbone=BackboneConfig(name="lcnet_035", frozen_stages=0, weights="timm"),
    neck=NeckConfig(channels=8),
    box_head=BoxHeadConfig(kind="2fc", fc_channels=16),
    mask_head=MaskHeadConfig(channels=8),
)
LABELS = LabelMap((3, 7), ("hazelnut", "fig, dried"))
STATE = {"scale": torch.tensor([0.1, -2.5]), "count": torch.tensor(70_000), "empty": torch.zeros(0, 4)}


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(path, STATE, CONFIG, LABELS, notes={"command": "panet train"})
    return path


def edit_header(path: Path, change: Callable[[dict[str, str]], None]) -> None:
    """Rewrite the metadata of a file."""
    with safetensors.safe_open(path, framework="pt") as file:
        header = dict(file.metadata() or {})
    state = safetensors.torch.load(path.read_bytes())
    change(header)
    path.write_bytes(safetensors.torch.save(state, header))


def edit_entry(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    def rewrite(header: dict[str, str]) -> None:
        entry = json.loads(header["panet"])
        change(entry)
        header["panet"] = json.dumps(entry)

    edit_header(path, rewrite)


def refusal(path: Path, load: Callable[[Path], object] = load_model) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def assert_equal(state: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> None:
    assert state.keys() == other.keys()
    for name, tensor in state.items():
        assert tensor.dtype == other[name].dtype
        assert torch.equal(tensor, other[name]), name


def test_what_is_saved_comes_back(model_file: Path) -> None:
    loaded = load_model(model_file)
    assert_equal(loaded.state, STATE)
    assert (loaded.config, loaded.label_map, loaded.notes) == (CONFIG, LABELS, {"command": "panet train"})


def test_a_model_without_weights_is_a_model_file(tmp_path: Path) -> None:
    save_model(tmp_path / "none.safetensors", {}, CONFIG, LABELS)
    assert load_model(tmp_path / "none.safetensors").state == {}


def test_half_precision_halves_floats_and_keeps_integers(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_model(path, STATE, CONFIG, LABELS, half=True)
    stored = safetensors.torch.load(path.read_bytes())
    assert stored["scale"].dtype == torch.float16
    loaded = load_model(path).state
    assert torch.equal(loaded["count"], STATE["count"])
    assert torch.equal(loaded["scale"], STATE["scale"].half().float())


def test_saving_leaves_one_file_that_others_may_read(model_file: Path) -> None:
    save_model(model_file, STATE, CONFIG, LABELS)
    assert os.listdir(model_file.parent) == ["model.safetensors"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(model_file.stat().st_mode) == 0o666 & ~umask


def test_a_failed_save_keeps_the_old_file_and_leaves_no_part(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    before = model_file.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"No space left on device: it needs [0-9,]+ bytes"):
        save_model(model_file, STATE, CONFIG, LABELS)
    assert model_file.read_bytes() == before
    assert os.listdir(model_file.parent) == ["model.safetensors"]


def test_saving_into_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be written: No such file"):
        save_model(tmp_path / "absent" / "model.safetensors", STATE, CONFIG, LABELS)


@pytest.mark.parametrize(("value", "half"), [(float("nan"), False), (float("inf"), False), (1e5, True)])
def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, value: float, half: bool) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(CheckpointError, match="weight scale: NaN or infinite"):
        save_model(path, {"scale": torch.tensor([value])}, CONFIG, LABELS, half=half)
    assert not path.exists()


def test_a_missing_file_is_named_with_the_nearest_one(model_file: Path) -> None:
    message = refusal(model_file.with_name("modle.safetensors"))
    assert "no such model file" in message
    assert "did you mean 'model.safetensors'?" in message


def test_a_folder_is_not_a_model(tmp_path: Path) -> None:
    assert "a folder: expected a model file" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"PK\x03\x04 torch zip", "a PyTorch file, not safetensors: convert it with `panet import`"),
        (b"\x80\x02}q\x00.", "a Python pickle, not safetensors: convert it with `panet import`"),
        (b"\n<!DOCTYPE html><html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b'{"images": []}', "JSON text"),
        (b"hello, this is text", "not a safetensors file"),
        (struct.pack("<Q", 2**60) + b"{}", "header of 1,152,921,504,606,846,976 bytes"),
        (struct.pack("<Q", 200) + b'{"__metadata__"', "damaged or incomplete"),
        (struct.pack("<Q", 8) + b"{notjson", "damaged or incomplete"),
    ],
)
def test_other_files_are_refused_with_a_reason(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert what in refusal(path)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_cut_file_is_refused(model_file: Path, share: float) -> None:
    content = model_file.read_bytes()
    model_file.write_bytes(content[: int(share * len(content))])
    refusal(model_file)


def test_one_flipped_bit_in_any_weight_is_noticed(model_file: Path) -> None:
    content = bytearray(model_file.read_bytes())
    length = int.from_bytes(content[:8], "little")
    for place in range(8 + length, len(content)):
        content[place] ^= 1
        model_file.write_bytes(content)
        assert "checksum" in refusal(model_file)
        content[place] ^= 1


def test_safetensors_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(safetensors.torch.save({"weight": torch.zeros(1)}))
    assert "without a panet header" in refusal(path)


def test_an_unknown_setting_is_named_with_the_nearest_one(model_file: Path) -> None:
    edit_entry(model_file, lambda entry: entry["config"]["neck"].update(chanels=3))  # type: ignore[index]
    assert "header: config.neck.chanels: unknown key (did you mean 'channels'?)" in refusal(model_file)


def test_a_setting_of_the_wrong_type_is_named(model_file: Path) -> None:
    edit_entry(model_file, lambda entry: entry["config"].update(norm="instance"))  # type: ignore[attr-defined]
    assert "header: config.norm: Input should be 'none', 'group'" in refusal(model_file)


def test_an_unknown_entry_is_named(model_file: Path) -> None:
    edit_entry(model_file, lambda entry: entry.update(note={}))
    assert "header: note: unknown key (did you mean 'notes'?)" in refusal(model_file)


def test_a_newer_format_asks_for_a_newer_program(model_file: Path) -> None:
    edit_entry(model_file, lambda entry: entry.update(format=2))
    assert "format 2 is newer" in refusal(model_file)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"format": "x"'])
def test_a_broken_header_is_refused(model_file: Path, text: str) -> None:
    edit_header(model_file, lambda header: header.update(panet=text))
    assert "header is damaged" in refusal(model_file)


def test_as_many_names_as_classes_are_demanded(model_file: Path) -> None:
    edit_entry(model_file, lambda entry: entry.update(names=["fig"]))
    assert "model.num_classes is 2, but there are 1 names and 2 category ids" in refusal(model_file)


def test_weights_that_are_not_finite_are_refused(model_file: Path) -> None:
    state = {"scale": torch.tensor([1.0, float("nan")])}
    with safetensors.safe_open(model_file, framework="pt") as file:
        entry = file.metadata()["panet"]
    model_file.write_bytes(safetensors.torch.save(state, {"panet": entry, "sha256": checkpoint.digest(entry, state)}))
    assert "weight scale: NaN or infinite" in refusal(model_file)


def test_a_model_is_restored_in_eval_mode_without_its_starting_weights(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = build_model(CONFIG, seed=5, load_backbone=False)
    save_model(path, model.state_dict(), CONFIG, LABELS)
    restored, model_file = restore(path)
    assert_equal(restored.state_dict(), model.state_dict())
    assert not restored.training
    assert model_file.label_map == LABELS


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    state = build_model(CONFIG, load_backbone=False).state_dict()
    first, second, third, fourth, fifth, *_ = state
    for name in (first, second, third, fourth):
        del state[name]
    state[fifth] = torch.zeros(1, 2, 3)
    state["surplus"] = torch.zeros(1)
    save_model(path, state, CONFIG, LABELS)
    message = refusal(path, restore)
    assert f"missing {first}, {second}, {third} and 1 more" in message
    assert "unexpected surplus" in message
    assert f"misshapen {fifth} (1, 2, 3), not (" in message


def test_an_unknown_backbone_in_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    config = CONFIG.model_copy(update={"backbone": BackboneConfig(name="lcnet_0355")})
    save_model(path, {}, config, LABELS)
    assert "lcnet_0355" in refusal(path, restore)


def test_the_bundled_model_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(checkpoint.BUNDLED, "bundled", "absent.safetensors")
    with pytest.raises(
        CheckpointError, match=r"absent\.safetensors: no such model file: this installation came without"
    ):
        model_path("bundled")
