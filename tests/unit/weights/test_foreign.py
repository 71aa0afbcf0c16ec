"""Foreign files: what is good is read; what is cut, inflated or would run code is refused in one line."""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from panet.errors import CheckpointError
from panet.weights.foreign import is_ours, read_foreign

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([1.5, -2.0])}


class Attack:
    """A pickle of it runs a command when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_foreign(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def same_state(path: Path) -> bool:
    state = read_foreign(path).state
    return state.keys() == STATE.keys() and all(torch.equal(state[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("envelope", [None, "model", "state_dict"])
def test_files_of_torch_save_are_read_with_and_without_an_envelope(
    tmp_path: Path, zipped: bool, envelope: str | None
) -> None:
    document = STATE if envelope is None else {"step": 7, envelope: OrderedDict(STATE), "optimizer": {"state": {}}}
    torch.save(document, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    assert same_state(tmp_path / "x.pth")


def test_the_prefix_of_data_parallel_is_taken_off(tmp_path: Path) -> None:
    torch.save({f"module.{key}": value for key, value in STATE.items()}, tmp_path / "x.pth")
    assert same_state(tmp_path / "x.pth")


def test_safetensors_without_our_header_are_read(tmp_path: Path) -> None:
    safetensors.torch.save_file(STATE, tmp_path / "x.safetensors")
    assert same_state(tmp_path / "x.safetensors")
    assert not is_ours(tmp_path / "x.safetensors")


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_pickles_of_arrays_are_read(tmp_path: Path, protocol: int) -> None:
    arrays = {key: value.numpy() for key, value in STATE.items()}
    (tmp_path / "x.pkl").write_bytes(
        pickle.dumps({"model": arrays, "__author__": "somebody"}, protocol=max(protocol, 2))
    )
    assert same_state(tmp_path / "x.pkl")


def test_the_settings_of_mmdetection_come_with_the_weights(tmp_path: Path) -> None:
    torch.save({"meta": {"config": "style='caffe'"}, "state_dict": STATE}, tmp_path / "x.pth")
    assert read_foreign(tmp_path / "x.pth").settings == "style='caffe'"


@pytest.mark.parametrize("kind", ["pickle", "zip", "legacy"])
def test_a_file_that_runs_code_is_refused_and_the_code_is_not_run(tmp_path: Path, kind: str) -> None:
    path, touched = tmp_path / "x.pth", tmp_path / "touched"
    document = {"model": STATE, "meta": Attack(touched)}
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"model": {}, "meta": Attack(touched)}))
    else:
        torch.save(document, path, _use_new_zipfile_serialization=kind == "zip")
    assert "not read" in refusal(path)
    assert not touched.exists()


def test_a_zip_that_would_inflate_is_refused_before_it_does(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", b"\0" * (8 << 20))
    assert "would become 8,388,608" in refusal(tmp_path / "x.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_cut_in_half_is_refused(tmp_path: Path, zipped: bool) -> None:
    torch.save({"a": torch.zeros(5000)}, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    content = (tmp_path / "x.pth").read_bytes()
    (tmp_path / "x.pth").write_bytes(content[: len(content) // 2])
    assert "cut" in refusal(tmp_path / "x.pth")


def test_a_pickle_cut_in_half_is_refused(tmp_path: Path) -> None:
    content = pickle.dumps({"a": np.zeros(500)})
    (tmp_path / "x.pkl").write_bytes(content[: len(content) // 2])
    assert "not read" in refusal(tmp_path / "x.pkl")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"<html>sign in</html>", "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer"),
        (b"\xff" * 100, "not a safetensors file"),
        ((1 << 60).to_bytes(8, "little") + b"{" + b" " * 50, "a header of"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    assert what in refusal(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ([1, 2], "a list"),
        ({}, "no tensors"),
        ({"a": 3}, "a: a int"),
        ({"a": {"b": STATE}}, "a: a dict"),
    ],
)
def test_a_document_that_is_no_state_dict_is_refused(tmp_path: Path, document: object, what: str) -> None:
    torch.save(document, tmp_path / "x.pth")
    assert what in refusal(tmp_path / "x.pth")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "x.pth")
