"""`torchrun ... -m panet train`: the steps of one process, and the end of one is the end of all."""

import json
import time
from pathlib import Path

import pytest
import torch

from panet.data.synthetic import write_shapes
from panet.weights.checkpoint import load_model
from ranks.launch import alone, lines, torchrun, train

RARELY = ("--set", "train.evaluate_every=1000")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven pictures to learn from, so that shares are uneven, and three to validate on."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, num_train=7, num_val=3, size=64, seed=0)
    return folder


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_model(run / "weights" / "last.safetensors").state


def test_twenty_steps_of_two_processes_are_those_of_one_that_accumulates_two_batches(
    shapes: Path, tmp_path: Path
) -> None:
    options = ("--steps", 20, *RARELY, "--set", "train.max_grad_norm=2")
    one = alone(*train(shapes, *options, "--name", "one", "--set", "train.accumulate=2"), folder=tmp_path)
    two = torchrun(*train(shapes, *options, "--name", "two"), folder=tmp_path)
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    assert "2 pictures a step in each of 2 processes" in two.stdout
    steps = [[line for line in lines(tmp_path / "runs" / name) if "losses" in line] for name in ("one", "two")]
    assert len(steps[0]) == len(steps[1]) == 20
    for first, second in zip(*steps, strict=True):
        assert second["losses"] == pytest.approx(first["losses"], abs=1e-5)
        assert second["learning_rate"] == first["learning_rate"]
        assert second["gradient_norm"] == pytest.approx(first["gradient_norm"], rel=1e-4)
    assert two.stdout.count("plan: ") == 1, "only the first rank speaks"
    assert "Warning" not in two.stderr


@pytest.mark.parametrize("workers", [0, 2])
def test_a_signal_to_one_rank_stops_all_after_the_step_and_the_resumed_run_equals_a_whole_one(
    shapes: Path, tmp_path: Path, workers: int
) -> None:
    options = ["--steps", 6, *RARELY, "--set", "train.ema_decay=0.9", "--set", "train.accumulate=2"]
    options += ["--workers", workers]
    whole = torchrun(*train(shapes, *options, "--name", "whole"), folder=tmp_path)
    part = torchrun(*train(shapes, *options, "--name", "part"), folder=tmp_path, fault="term:1:3")
    assert (whole.returncode, part.returncode) == (0, 1), whole.stderr + part.stderr
    run = tmp_path / "runs" / "part"
    assert max(path.stem for path in (run / "checkpoint").iterdir()) == "step-00000003"
    assert part.stdout.count("interrupted; go on with: torchrun ... -m panet train runs/part --resume") == 1
    refused = alone("train", "runs/part", "--resume", folder=tmp_path)
    assert refused.returncode == 2
    assert "was begun by 2 processes and cannot be resumed by 1" in refused.stderr
    resumed = torchrun("train", "runs/part", "--resume", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert lines(run) == lines(tmp_path / "runs" / "whole")
    first, second = weights(run), weights(tmp_path / "runs" / "whole")
    assert all(torch.equal(first[name], second[name]) for name in second)


def test_the_error_of_one_rank_is_said_once_and_torchrun_repeats_it_last(shapes: Path, tmp_path: Path) -> None:
    failed = torchrun(*train(shapes, "--steps", 6, *RARELY), folder=tmp_path, fault="raise:1:3")
    assert failed.returncode == 1
    said = [line for line in failed.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert said[0].startswith("error: rank 1: ValueError: planted: an error of panet itself; the traceback is in ")
    assert "Connection closed" not in failed.stderr
    cause = [line for line in failed.stderr.splitlines() if line.strip()][-2]
    assert cause.strip().startswith("traceback : rank 1: ValueError: planted: ")


def test_a_loss_that_is_not_finite_on_one_rank_stops_all_before_the_step(shapes: Path, tmp_path: Path) -> None:
    failed = torchrun(*train(shapes, "--steps", 6, *RARELY), folder=tmp_path, fault="nan:1:3")
    said = [line for line in failed.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert said[0].startswith("error: rank 1: step 3: a loss is not finite; first: loss objectness (forward); losses ")
    assert " of rank 1; " in said[0]
    assert "the weights of step 2 are kept" in said[0]
    report = json.loads((tmp_path / "runs" / "train" / "divergence.json").read_text())
    assert (report["step"], report["kept_step"], report["rank"], report["num_ranks"]) == (3, 2, 1, 2)
    assert all(name in said[0] for name in report["batches"][0]["file_names"])
    assert "exitcode  : 3 " in failed.stderr
    assert [line["step"] for line in lines(tmp_path / "runs" / "train")] == [1, 2]


def test_the_others_do_not_wait_for_a_killed_rank(shapes: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    failed = torchrun(*train(shapes, "--steps", 100000, *RARELY), folder=tmp_path, fault="kill:1:3")
    assert failed.returncode == 1
    assert "Signal 9 (SIGKILL) received by PID" in failed.stderr
    assert time.monotonic() - start < 200, "of which starting takes most; waiting for the limit would take 600 s"


def test_bad_data_ends_all_ranks_and_is_told_once(shapes: Path, tmp_path: Path) -> None:
    data = tmp_path / "bad"
    data.mkdir()
    (data / "images").symlink_to(shapes / "images")
    (data / "train.json").write_text('{"images": [],\n "annotations": [}')
    failed = torchrun(*train(data, "--steps", 1), folder=tmp_path)
    assert len([line for line in failed.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert "exitcode  : 2 " in failed.stderr
    assert not (tmp_path / "runs" / "train").exists()


def test_a_rank_that_sees_no_object_trains_on_and_all_keep_the_same_weights(tmp_path: Path) -> None:
    data = tmp_path / "shapes"
    write_shapes(data, num_train=4, num_val=1, size=64, seed=0)
    document = json.loads((data / "train.json").read_text())
    kept = document["images"][0]["id"]
    document["annotations"] = [each for each in document["annotations"] if each["image_id"] == kept]
    (data / "train.json").write_text(json.dumps(document))
    options = ("--steps", 3, *RARELY, "--batch-size", 1)
    done = torchrun(*train(data, *options), folder=tmp_path, fault="check:all:3")
    assert done.returncode == 0, done.stderr
    notes = [(tmp_path / f"rank-{rank}.txt").read_text().split() for rank in (0, 1)]
    assert notes[0] == notes[1]
    assert notes[0][1] == "True", "a gradient is missing or not finite"


def test_other_commands_are_refused(tmp_path: Path) -> None:
    refused = torchrun("env", folder=tmp_path)
    assert "env: runs in one process: start it without torchrun" in refused.stderr
