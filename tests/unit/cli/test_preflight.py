"""Before the first step: what is tried, what is told, what is refused; and the run is the same with or without."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import panet.cli.preflight
import panet.cli.training
from battery.training import TINY
from panet.cli.duration import Costs, estimate_seconds
from panet.cli.evaluation_costs import Evaluated
from panet.cli.main import run
from panet.config import Config, DataConfig
from panet.data.synthetic import write_shapes
from panet.train.loop import Plan
from panet.train.room import Room
from panet.weights.checkpoint import load_model


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of at most 64 px; the sixth is empty."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, num_train=6, num_val=1, size=64, seed=0)
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(*arguments: object) -> int:
    settings = [word for setting in [*TINY, "data.workers=0"] for word in ("--set", setting)]
    return run(["train", *settings, *map(str, arguments)])


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("pre-flight: ")]


def test_the_run_is_the_same_bit_for_bit_with_and_without(shapes: Path) -> None:
    for name in ("--preflight", "--no-preflight"):
        assert train(shapes, "--steps", 4, "--name", name.strip("-"), name, "--set", "train.ema_decay=0.9") == 0
    first, second = (Path("runs", name) for name in ("preflight", "no-preflight"))
    assert (first / "metrics.jsonl").read_bytes() == (second / "metrics.jsonl").read_bytes()
    states = [load_model(folder / "checkpoint" / "step-00000004.safetensors").state for folder in (first, second)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_it_tells_the_batches_the_time_and_the_memory(shapes: Path, capsys) -> None:
    assert train(shapes, "--steps", 4) == 0
    empty, crowded, largest, evaluation, seconds, memory = lines(capsys)
    assert empty.startswith("pre-flight: empty: 1 x ")
    assert "px, 0 objects, " in empty
    assert empty.endswith("(train_0005.png)")
    assert crowded.startswith("pre-flight: most crowded: 2 x ")
    assert largest.startswith("pre-flight: largest: 2 x 64 x 96 px, ")
    assert evaluation.startswith("pre-flight: evaluation: 1 x 64 x 64 px, 100 detections, ")
    assert evaluation.endswith("(val_0000.png)")
    assert ": 4 steps and 2 evaluations of about " in seconds
    assert "GiB of " in memory


def test_without_an_empty_picture_the_objects_of_one_are_left_out(shapes: Path, here: Path, capsys) -> None:
    shutil.copytree(shapes, here / "full")
    document = json.loads((here / "full" / "train.json").read_text())
    marked = {annotation["image_id"] for annotation in document["annotations"]}
    document["images"] = [image for image in document["images"] if image["id"] in marked]
    (here / "full" / "train.json").write_text(json.dumps(document))
    assert train("full", "--steps", 1) == 0
    assert "px, 0 objects, " in lines(capsys)[0]


def test_a_batch_that_cannot_fit_is_refused_with_the_size_that_would(shapes: Path, here: Path, monkeypatch, capsys):
    needs = []
    monkeypatch.setattr(panet.cli.preflight, "current_memory", lambda device: 0)
    monkeypatch.setattr(panet.cli.preflight, "find_room", lambda device: Room(1, "of a test"))
    assert train(shapes, "--steps", 1) == 4
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "but has 0.00 GiB (of a test): one picture is too much: lower data.short_sides (up to 64 now)" in message
    assert not (here / "runs").exists()
    estimate = panet.cli.preflight.estimate_memory

    def halved(*arguments):
        parts = estimate(*arguments)
        needs.append(sum(parts.values()) - parts["activations"] // 2 + 1)
        monkeypatch.setattr(panet.cli.preflight, "find_room", lambda device: Room(needs[0], "of a test"))
        return parts

    monkeypatch.setattr(panet.cli.preflight, "estimate_memory", halved)
    assert train(shapes, "--steps", 1) == 4
    assert "data.batch_size=1 would fit, train.accumulate keeps the pictures of a step" in capsys.readouterr().err


def test_the_setting_to_change_is_the_crop_where_there_is_one(shapes: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(panet.cli.preflight, "find_room", lambda device: Room(1, "of a test"))
    assert train(shapes, "--steps", 1, "--set", "data.crop=[64,64]") == 4
    assert "one picture is too much: lower data.crop (--no-preflight" in capsys.readouterr().err


@pytest.mark.parametrize(("growth", "num_tried"), [(1, 3), (100, 1)])
def test_what_is_measured_counts_and_the_larger_batches_are_not_tried_if_they_will_not_fit(
    shapes: Path, here: Path, monkeypatch, capsys, growth: int, num_tried: int
) -> None:
    """Shapes tell too little: the first batch takes more, or at last all of them do."""
    monkeypatch.setattr(panet.cli.preflight, "current_memory", lambda device: 0)
    fits: list[int] = []
    estimate = panet.cli.preflight.estimate_memory

    def told(*arguments):
        parts = estimate(*arguments)
        fits.append(round(sum(parts.values()) * 1.1))
        return parts

    tried = []
    real = panet.cli.preflight.rehearse

    def rehearse(objective, batch, device, mixed_precision, name):
        tried.append(name)
        took = real(objective, batch, device, mixed_precision, name)
        peak = growth * estimate_of_one() if len(tried) < 3 else 10 * fits[0]
        return type(took)(took.forward, took.backward, peak)

    def estimate_of_one() -> int:
        return min(fits) // 4

    monkeypatch.setattr(panet.cli.preflight, "estimate_memory", told)
    monkeypatch.setattr(panet.cli.preflight, "rehearse", rehearse)
    monkeypatch.setattr(panet.cli.preflight, "find_room", lambda device: Room(fits[0], "of a test"))
    assert train(shapes, "--steps", 1, "--name", "a") == 4
    assert len(tried) == num_tried
    assert "this run needs at least" in capsys.readouterr().err
    assert not (here / "runs" / "a").exists()


def test_an_evaluation_that_cannot_fit_is_refused_with_the_settings_to_change(shapes: Path, here, monkeypatch, capsys):
    evaluated = Evaluated(("a.png", "b.png"), (64, 96), 100, 10, 6144, 1.0, 2**42)
    monkeypatch.setattr(panet.cli.preflight, "rehearse_evaluation", lambda *_: evaluated)
    monkeypatch.setattr(panet.cli.preflight, "find_room", lambda device: Room(2**41, "of a test"))
    assert train(shapes, "--steps", 1) == 4
    captured = capsys.readouterr()
    assert "pre-flight: evaluation: 1 x 64 x 96 px, 100 detections, 1.00 s (a.png and 1 more)" in captured.out
    assert captured.err.startswith("error: evaluating needs at least 4096.")
    assert (
        "GiB with 100 detections in a picture of 64 x 96 px, but there are 2048.00 GiB (of a test): lower "
        in captured.err
    )
    assert "train.max_dets (100 now), model.short_side or model.max_side (--no-preflight" in captured.err
    assert not (here / "runs").exists() or not list((here / "runs").iterdir())
    monkeypatch.setattr(panet.cli.preflight, "find_room", lambda device: Room(2**43, "of a test"))
    assert train(shapes, "--steps", 1) == 0
    assert "pre-flight: peak memory about 4096." in capsys.readouterr().out


def test_pictures_that_wait_to_be_evaluated_count(shapes: Path, monkeypatch, capsys) -> None:
    evaluated = Evaluated(("a.png",), (64, 96), 100, 2**40, 6144, 1.0, 2**42)
    monkeypatch.setattr(panet.cli.preflight, "rehearse_evaluation", lambda *_: evaluated)
    monkeypatch.setattr(panet.cli.preflight, "find_room", lambda device: None)
    assert train(shapes, "--steps", 1, "--set", "data.workers=1") == 0
    assert "pre-flight: peak memory about 6144." in capsys.readouterr().out  # two batches of 1 TiB beside 4


def test_gradients_are_there_when_pictures_are_evaluated_as_in_a_run(shapes: Path, monkeypatch, capsys) -> None:
    seen = []
    real = panet.cli.preflight.rehearse_evaluation

    def rehearse(model, *others):
        seen.append(any(parameter.grad is not None for parameter in model.parameters()))
        return real(model, *others)

    monkeypatch.setattr(panet.cli.preflight, "rehearse_evaluation", rehearse)
    assert train(shapes, "--steps", 1) == 0
    assert seen == [True]


def test_without_val_pictures_nothing_is_evaluated(shapes: Path, here: Path, capsys) -> None:
    shutil.copytree(shapes, here / "alone")
    (here / "alone" / "val.json").unlink()
    assert train("alone", "--steps", 1) == 0
    told = lines(capsys)
    assert len(told) == 5
    assert "evaluation" not in "".join(told)


def test_it_can_be_left_out_and_resuming_leaves_it_out_unless_asked(shapes: Path, monkeypatch, capsys) -> None:
    assert train(shapes, "--steps", 1, "--no-preflight") == 0
    assert lines(capsys) == []
    assert run(["train", "--resume"]) == 0
    assert lines(capsys) == []
    assert run(["train", "--resume", "--preflight"]) == 0
    assert len(lines(capsys)) == 6


def test_a_dry_run_tells_the_room_and_the_largest_batch_there_is(shapes: Path, monkeypatch, capsys) -> None:
    assert train(shapes, "--steps", 1, "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "2 pictures of 64 x 96 px" in printed
    assert "enough for that" in printed
    monkeypatch.setattr(panet.cli.dry_run, "find_room", lambda device: Room(1, "of a test"))
    assert train(shapes, "--steps", 1, "--dry-run") == 0
    assert "  room: 0.0 GiB (of a test), too little: training would be refused" in capsys.readouterr().out
    monkeypatch.setattr(panet.cli.dry_run, "find_room", lambda device: None)
    assert train(shapes, "--steps", 1, "--dry-run") == 0
    assert "room: not known" in capsys.readouterr().out


@pytest.mark.parametrize(("workers", "step"), [(0, 2 * (10 + 30) + 8), (2, 80), (1, 80)])
def test_seconds_grow_with_the_pixels_and_loaders_work_beside(workers: int, step: float) -> None:
    config = Config(data=DataConfig(batch_size=2, workers=workers))
    plan = Plan(torch.device("cpu"), num_steps=1, steps_per_check=1, accumulate=2)
    costs = Costs(area=100.0, running=40.0, loading=2.0, evaluating=0.5)
    # Four pictures of 50 px: twice the area. Three pictures of 20 px are evaluated.
    assert estimate_seconds(config, plan, (50.0, 20.0), 3, costs) == pytest.approx([step, 3 * 20 * 0.5])


def test_slow_loaders_are_what_a_step_waits_for() -> None:
    config = Config(data=DataConfig(batch_size=2, workers=2))
    plan = Plan(torch.device("cpu"), num_steps=1, steps_per_check=1)
    costs = Costs(area=100.0, running=0.2, loading=5.0, evaluating=0.0)
    assert estimate_seconds(config, plan, (50.0, 20.0), 0, costs)[0] == pytest.approx(5.0)
