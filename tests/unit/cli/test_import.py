"""`panet import`: what it refuses before it reads, and models of our own."""

from pathlib import Path

import pytest
import torch

from panet.cli.main import run


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["import", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("output", "options", "what"),
    [
        ("x.pth", [], "must end in .safetensors"),
        ("x.bin", ["--to", "torchvision"], "must end in .safetensors or .pth or .pt"),
        ("nowhere/x.safetensors", [], "there is no folder"),
        ("old.safetensors", [], "--overwrite"),
        ("x.safetensors", ["--warm-start", "panet_r5"], "did you mean 'panet_r50'?"),
        ("x.safetensors", ["--warm-start", "panet_r50", "--to", "torchvision"], "give one of them"),
        ("x.safetensors", [], "is a panet model already"),
        ("x.safetensors", ["--to", "torchvision"], "no place for"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line(
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    output: str,
    options: list[str],
    what: str,
) -> None:
    (tmp_path / "old.safetensors").write_bytes(b"kept")
    assert what in refusal(capsys, str(tiny_model), "-o", str(tmp_path / output), *options)
    assert [path.name for path in tmp_path.iterdir()] == ["old.safetensors"]
    assert (tmp_path / "old.safetensors").read_bytes() == b"kept"


def test_names_of_no_known_project_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "x.pth")
    error = refusal(capsys, str(tmp_path / "x.pth"), "-o", str(tmp_path / "x.safetensors"))
    assert "x.pth: names such as layer.weight: not clearly" in error
    error = refusal(capsys, str(tmp_path / "x.pth"), "-o", str(tmp_path / "x.safetensors"), "--from", "torch")
    assert "did you mean 'torchvision'?" in error


def test_a_model_of_ours_can_begin_a_larger_one(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["import", str(tiny_model), "-o", str(tmp_path / "x.safetensors"), "--warm-start", "panet_lite"]) == 0
    printed = capsys.readouterr().out
    assert "- copied: " in printed
    assert "    box_head.class_logits.weight\n" in printed
    assert "written: " in printed
