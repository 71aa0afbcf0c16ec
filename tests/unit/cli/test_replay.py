"""`panet replay`: a step that diverged does so again, from what the run left behind."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import panet
from battery.training import TINY
from panet.cli.main import run
from panet.data.synthetic import write_shapes

PLANTED = """
import sys
import torch
from panet.cli import main
from panet.data.dataset import sample_generator
from panet.objective.objective import Objective

forward, seed = Objective.forward, sample_generator(0, 7, -2).initial_seed()

def spoiled(self, batch, generator):
    losses = forward(self, batch, generator)
    return losses | {"mask": losses["mask"] * torch.nan} if generator.initial_seed() == seed else losses

Objective.forward = spoiled
main.main()
"""
"""Runs the command line with a NaN in one loss of step 7."""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, num_train=6, num_val=1, size=64, seed=0)
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(*others: str) -> list[str]:
    return [word for setting in [*TINY, "data.workers=0", *others] for word in ("--set", setting)]


def train_too_fast(shapes: Path) -> int:
    """Start a run whose learning rate is far too high; give the exit code."""
    words = settings("train.learning_rate=1e6", "train.accumulate=2")
    return run(["train", str(shapes), "--steps", "9", "--name", "high", *words])


@pytest.fixture
def diverged(shapes: Path, here: Path) -> Path:
    assert train_too_fast(shapes) == 3
    return here / "runs" / "high"


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_a_rate_that_is_far_too_high_ends_with_code_3_and_is_replayed_with_the_command_that_is_told(
    shapes: Path, here: Path, capsys
) -> None:
    assert train_too_fast(shapes) == 3
    line = capsys.readouterr().err.strip()
    assert line.count("\n") == 0
    assert "lower train.learning_rate" in line
    words = line.rpartition("see it again with: panet ")[2].split()
    assert words[0] == "replay"
    assert run(words) == 3
    report = json.loads((here / "runs" / "high" / "divergence.json").read_text())
    told = printed(capsys)
    assert f"step {report['step']}, losses " in told
    assert "(the same, cpu)" in told
    assert report["first"]["name"] in told
    [spoiled, *_] = [batch for batch in report["batches"] if "NaN" in batch["losses"].values()]
    assert all(name in told for name in spoiled["file_names"])


def test_nothing_is_written_by_a_replay(diverged: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in diverged.rglob("*")}
    assert run(["replay", str(diverged)]) == 3
    assert {path: path.stat().st_mtime_ns for path in diverged.rglob("*")} == before


def test_a_nan_planted_in_one_loss_is_found_and_is_not_there_when_it_is_no_longer_planted(
    shapes: Path, here: Path, capsys
) -> None:
    def command(*words: object) -> subprocess.CompletedProcess[str]:
        child = [sys.executable, "-c", PLANTED, *map(str, words)]
        place = {**os.environ, "PYTHONPATH": str(Path(panet.__file__).parents[1])}
        return subprocess.run(child, capture_output=True, text=True, timeout=600, env=place)

    # Evaluated after step 6 and not before: the weights that are kept are no others.
    trained = command("train", shapes, "--steps", "9", "--name", "nan", *settings("train.evaluate_every=2"))
    assert trained.returncode == 3, trained.stderr
    assert "step 7: a loss is not finite; first: loss mask (forward); losses " in trained.stderr
    assert "the weights of step 6 are kept" in trained.stderr
    lines = [json.loads(line) for line in Path("runs/nan/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "losses" in line] == [1, 2, 3, 4, 5, 6]
    report = json.loads(Path("runs/nan/divergence.json").read_text())
    assert report["batches"][0]["losses"]["mask"] == "NaN"
    assert all(math.isfinite(loss) for name, loss in report["batches"][0]["losses"].items() if name != "mask")

    again = command("replay", "runs/nan")
    assert again.returncode == 3, again.stderr
    assert "replayed: loss mask (forward) (the same, cpu)" in again.stdout
    # The same step of the same weights: all other losses are the run's, to the last digit shown.
    assert ", ".join(f"{name} {float(loss):.4g}" for name, loss in report["batches"][0]["losses"].items()) in (
        again.stdout
    )
    assert run(["replay", "runs/nan"]) == 0
    assert "not reproduced: here, step 7 has finite losses and gradients (cpu)" in printed(capsys)


def test_a_run_that_did_not_diverge_is_refused(shapes: Path, capsys) -> None:
    assert run(["train", str(shapes), "--steps", "1", "--name", "well", *settings()]) == 0
    capsys.readouterr()
    assert run(["replay", "runs/well"]) == 2
    assert "no step of this run has diverged" in capsys.readouterr().err


def test_other_pictures_than_the_runs_are_refused(diverged: Path, shapes: Path, here: Path, capsys) -> None:
    shutil.copytree(shapes, here / "moved")
    document = json.loads((here / "moved" / "train.json").read_text())
    for image in document["images"]:
        image["id"] += 100
    for annotation in document["annotations"]:
        annotation["image_id"] += 100
    (here / "moved" / "train.json").write_text(json.dumps(document))
    recipe = diverged / "config.yaml"
    recipe.write_text(recipe.read_text().replace(str(shapes), "moved"))
    capsys.readouterr()
    assert run(["replay", str(diverged)]) == 2
    assert "the data has changed" in capsys.readouterr().err


def test_a_first_step_that_diverges_is_replayed_too(shapes: Path, diverged: Path, capsys) -> None:
    words = ("--init", "runs/high/weights/last.safetensors", *settings())
    assert run(["train", str(shapes), "--steps", "2", "--name", "next", "--no-preflight", *words]) == 3
    assert run(["replay", "runs/next"]) == 3
    assert "step 1, losses" in printed(capsys)


def test_without_the_weights_before_the_step_there_is_nothing_to_replay(diverged: Path, capsys) -> None:
    older, newer = sorted((diverged / "checkpoint").iterdir())
    newer.unlink()
    capsys.readouterr()
    assert run(["replay", str(diverged)]) == 2
    assert "its newest checkpoint is of step 0; the one of step 1, before" in capsys.readouterr().err
    older.unlink()
    assert run(["replay", str(diverged)]) == 2
    assert "high: it has no checkpoint; the one of step 1, before" in capsys.readouterr().err
