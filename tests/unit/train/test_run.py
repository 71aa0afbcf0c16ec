"""What a run leaves behind, and what it goes on from."""

import hashlib
import json
import math
import shutil
from pathlib import Path

import pytest
import torch

from panet.errors import CheckpointError, ConfigError, DivergedError
from panet.train.loop import train
from panet.train.scores import score_of
from panet.weights.checkpoint import load_model


@pytest.fixture
def trained(fakes, run_folder: Path) -> Path:
    """A run of 10 steps, with checkpoints at 8 and 10."""
    objective = fakes.objective()
    run, learner = fakes.run(run_folder), fakes.learner(objective.model)
    train(objective, fakes.batches(), learner, fakes.plan(), run, lambda _: {"box/AP": 0.1})
    return run_folder


def resume(fakes, folder: Path) -> int:
    run = fakes.run(folder)
    run.start(fakes.learner(fakes.objective().model))
    run.close()
    return run.standing.step


def test_masks_decide_where_there_are_masks() -> None:
    assert score_of({"box/AP": 0.3, "mask/AP": 0.2}) == 0.2
    assert score_of({"box/AP": 0.3}) == 0.3


def test_a_line_is_written_for_each_step_and_each_evaluation(trained: Path) -> None:
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "losses" in line]
    assert [line["step"] for line in steps] == list(range(1, 11))
    assert steps[3].keys() == {"step", "epoch", "losses", "total", "learning_rate", "gradient_norm"}
    assert steps[3]["epoch"] == 1
    assert steps[3]["total"] == pytest.approx(sum(steps[3]["losses"].values()))
    assert [line["step"] for line in lines if "metrics" in line] == [4, 8, 10]


def test_the_weights_are_model_files_with_labels_and_notes(trained: Path) -> None:
    model_file = load_model(trained / "weights" / "last.safetensors")
    assert model_file.label_map.names == ("nucleus",)
    assert model_file.notes == {"by": "a test", "step": "10"}
    assert model_file.state.keys() == {"weight", "bias", "seen"}


def test_the_newest_two_checkpoints_remain(trained: Path) -> None:
    assert sorted(path.name for path in (trained / "checkpoint").iterdir()) == [
        "step-00000008.safetensors",
        "step-00000010.safetensors",
    ]


def test_a_run_without_a_checkpoint_starts_at_its_beginning(fakes, run_folder: Path) -> None:
    assert resume(fakes, run_folder) == 0


@pytest.mark.parametrize("size", [0, 1, 100, 1000, -1])
def test_a_cut_checkpoint_is_passed_over_and_what_was_logged_after_the_older_one_is_dropped(
    fakes, trained: Path, size: int
) -> None:
    newest = trained / "checkpoint" / "step-00000010.safetensors"
    newest.write_bytes(newest.read_bytes()[:size])
    assert resume(fakes, trained) == 8
    note = fakes.notes[-1]
    assert note.startswith(str(newest))
    assert note.endswith("going on from step 8")
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "losses" in line] == list(range(1, 9))
    assert [line["step"] for line in lines if "metrics" in line] == [4, 8]


def test_a_flipped_bit_in_the_newest_checkpoint_is_noticed(fakes, trained: Path) -> None:
    newest = trained / "checkpoint" / "step-00000010.safetensors"
    content = bytearray(newest.read_bytes())
    content[-3] ^= 1
    newest.write_bytes(content)
    assert resume(fakes, trained) == 8


def test_a_model_file_is_no_checkpoint(fakes, trained: Path) -> None:
    newest = trained / "checkpoint" / "step-00000010.safetensors"
    newest.write_bytes((trained / "weights" / "last.safetensors").read_bytes())
    assert resume(fakes, trained) == 8
    assert "not a checkpoint" in fakes.notes[-1]


def test_only_damaged_checkpoints_are_an_error(fakes, trained: Path) -> None:
    for path in (trained / "checkpoint").iterdir():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"step-00000010\.safetensors: empty"):
        resume(fakes, trained)


def test_a_line_cut_by_a_crash_is_dropped(fakes, trained: Path) -> None:
    metrics = trained / "metrics.jsonl"
    before = metrics.read_text()
    metrics.write_text(before + '{"step": 10, "los')
    resume(fakes, trained)
    assert metrics.read_text() == before


def test_lines_that_are_lost_are_counted(fakes, trained: Path) -> None:
    metrics = trained / "metrics.jsonl"
    texts = metrics.read_text().splitlines(keepends=True)
    assert resume(fakes, trained) == 10
    assert fakes.notes[-1].startswith("step 10: ")
    metrics.write_text("".join(text for text in texts if not text.startswith('{"step": 7,'))[:-20])
    resume(fakes, trained)
    assert fakes.notes[-1] == "metrics.jsonl: the lines of 1 of 10 steps are lost"
    metrics.unlink()
    resume(fakes, trained)
    assert fakes.notes[-1] == "metrics.jsonl: the lines of 10 of 10 steps are lost"


@pytest.mark.parametrize("line", ["{}", "12", "[]", '"step"', '{"step": "a"}', '{"step": null}', "\0\0"])
def test_what_is_no_line_of_a_run_is_dropped(fakes, trained: Path, line: str) -> None:
    metrics = trained / "metrics.jsonl"
    before = metrics.read_text()
    metrics.write_text(f"{before}{line}\n")
    resume(fakes, trained)
    assert metrics.read_text() == before


def test_an_evaluation_that_no_checkpoint_knows_of_is_dropped_from_the_log(fakes, run_folder: Path) -> None:
    objective = fakes.objective()
    run, learner = fakes.run(run_folder), fakes.learner(objective.model)
    train(objective, fakes.batches(), learner, fakes.plan(num_steps=3), run)
    (run_folder / "checkpoint" / "step-00000003.safetensors").unlink()
    run.standing = run.standing.model_copy(update={"checked_step": 0})
    run.save(learner)
    before = (run_folder / "metrics.jsonl").read_text()
    with (run_folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "epoch": 0.75, "metrics": {"box/AP": 0.1}}\n')
    assert resume(fakes, run_folder) == 3
    assert (run_folder / "metrics.jsonl").read_text() == before


def test_tensorboard_gets_the_curves_where_it_is_installed(fakes, run_folder: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    objective = fakes.objective()
    run, learner = fakes.run(run_folder), fakes.learner(objective.model)
    run.start(learner)
    train(objective, fakes.batches(), learner, fakes.plan(), run, lambda _: {"box/AP": 0.25})
    run.close()
    events = EventAccumulator(str(run_folder / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("losses/class")] == list(range(1, 11))
    assert [event.value for event in events.Scalars("metrics/box/AP")] == [0.25] * 3


def test_sums_name_the_newest_checkpoint_first_and_hold(trained: Path) -> None:
    lines = [line.split("  ") for line in (trained / "SHA256SUMS").read_text().splitlines()]
    assert [name for _, name in lines] == [
        "checkpoint/step-00000010.safetensors",
        "checkpoint/step-00000008.safetensors",
        "weights/best.safetensors",
        "weights/last.safetensors",
    ]
    assert all(hashlib.sha256((trained / name).read_bytes()).hexdigest() == digest for digest, name in lines)


def test_a_checkpoint_that_is_gone_is_named(fakes, trained: Path) -> None:
    newest = trained / "checkpoint" / "step-00000010.safetensors"
    newest.unlink()
    assert resume(fakes, trained) == 8
    assert fakes.notes[-1] == f"{newest}: is gone, though SHA256SUMS names it; going on from step 8"


def test_what_was_left_half_written_is_removed(fakes, trained: Path) -> None:
    part = trained / "checkpoint" / ".step-00000012.safetensors.77.part"
    part.touch()
    resume(fakes, trained)
    assert not part.exists()


def test_a_run_begins_with_a_checkpoint(fakes, run_folder: Path) -> None:
    resume(fakes, run_folder)
    assert [path.name for path in (run_folder / "checkpoint").iterdir()] == ["step-00000000.safetensors"]


def test_a_damaged_checkpoint_of_a_later_step_goes_with_the_next_save(fakes, trained: Path) -> None:
    newest = trained / "checkpoint" / "step-00000010.safetensors"
    newest.write_bytes(b"")
    run, learner = fakes.run(trained), fakes.learner(fakes.objective().model)
    run.start(learner)
    run.standing = run.standing.model_copy(update={"step": 9})
    run.save(learner)
    run.close()
    assert sorted(path.stem for path in newest.parent.iterdir()) == ["step-00000008", "step-00000009"]


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch):
    """Let nothing be brought to the disk; `undo` frees it."""

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    return monkeypatch


def scored(score: float) -> dict[str, float]:
    return {"box/AP": score}


def test_a_full_disk_is_told_and_what_could_not_be_written_comes_with_the_next_save(
    fakes, trained: Path, full_disk
) -> None:
    run, learner = fakes.run(trained), fakes.learner(fakes.objective().model)
    run.standing = run.standing.model_copy(update={"step": 11})
    run.check(learner, scored(0.5))
    assert fakes.notes[-1].startswith("step 11 is not saved: ")
    with pytest.raises(CheckpointError, match="No space left on device"):
        run.finish(learner)
    full_disk.undo()
    run.standing = run.standing.model_copy(update={"step": 12})
    run.check(learner, scored(0.4))
    assert fakes.notes[-1] == "step 12: saving succeeds again"
    assert load_model(trained / "weights" / "best.safetensors").notes["step"] == "11"
    assert [path.stem for path in sorted((trained / "checkpoint").iterdir())] == ["step-00000010", "step-00000012"]
    run.finish(learner)


def test_a_run_is_saved_between_evaluations_when_the_last_time_is_long_ago(fakes, run_folder: Path) -> None:
    now = [0.0]
    run = fakes.run(run_folder, save_seconds=60, clock=lambda: now[0])
    learner = fakes.learner(fakes.objective().model)
    for now[0], step in ((59.0, 1), (60.0, 2), (119.0, 3), (120.0, 4)):
        run.standing = run.standing.model_copy(update={"step": step})
        run.save_if_due(learner)
    assert [path.stem for path in sorted((run_folder / "checkpoint").iterdir())] == ["step-00000002", "step-00000004"]


def test_best_weights_that_are_gone_are_replaced_by_the_next_that_are_scored(fakes, trained: Path) -> None:
    best = trained / "weights" / "best.safetensors"
    best.unlink()
    run, learner = fakes.run(trained), fakes.learner(fakes.objective().model)
    run.start(learner)
    assert f"{best}: is gone; the next weights that are scored will be the best" in fakes.notes
    run.standing = run.standing.model_copy(update={"step": 11})
    run.check(learner, scored(0.01))
    run.close()
    assert load_model(best).notes["step"] == "11"


def test_an_old_checkpoint_that_cannot_be_removed_is_no_failure(
    fakes, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name == "step-00000008.safetensors":
            raise OSError(16, "Device or resource busy")
        unlink(path, missing_ok)

    run, learner = fakes.run(trained), fakes.learner(fakes.objective().model)
    run.start(learner)
    monkeypatch.setattr(Path, "unlink", refuse)
    run.standing = run.standing.model_copy(update={"step": 11})
    run.save(learner)
    monkeypatch.undo()
    run.save(learner)
    run.close()
    assert sorted(path.stem for path in (trained / "checkpoint").iterdir()) == ["step-00000010", "step-00000011"]


def test_weights_that_are_not_finite_are_a_divergence_and_not_saved(fakes, trained: Path) -> None:
    run, learner = fakes.run(trained), fakes.learner(fakes.objective().model)
    run.start(learner)
    with torch.no_grad():
        learner.model.weight.fill_(math.inf)
    run.standing = run.standing.model_copy(update={"step": 11})
    with pytest.raises(DivergedError, match="weight weight: NaN or infinite; the training diverged"):
        run.check(learner, scored(0.5))
    run.close()
    assert resume(fakes, trained) == 10


def test_what_is_not_finite_in_an_evaluation_is_null_in_the_log(fakes, run_folder: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    objective = fakes.objective()
    run, learner = fakes.run(run_folder), fakes.learner(objective.model)
    metrics = {"box/AP": 0.1, "box/APs": math.nan, "loss/total": math.inf}
    train(objective, fakes.batches(), learner, fakes.plan(), run, lambda _: metrics)
    texts = (run_folder / "metrics.jsonl").read_text().splitlines()
    lines = [json.loads(text, parse_constant=refuse) for text in texts]
    assert lines[-1]["metrics"] == {"box/AP": 0.1, "box/APs": None, "loss/total": None}


def test_a_folder_that_was_removed_is_made_anew(fakes, trained: Path) -> None:
    def claim() -> None:
        trained.mkdir(exist_ok=True)

    run, learner = fakes.run(trained, claim=claim), fakes.learner(fakes.objective().model)
    run.start(learner)
    shutil.rmtree(trained)
    run.standing = run.standing.model_copy(update={"step": 11})
    run.check(learner, scored(0.0))
    run.close()
    assert f"{trained}: was removed; made anew, without what was in it before step 11" in fakes.notes
    assert load_model(trained / "weights" / "best.safetensors").notes["step"] == "11"
    assert resume(fakes, trained) == 11


def test_weights_that_were_removed_are_made_anew(fakes, trained: Path) -> None:
    run, learner = fakes.run(trained), fakes.learner(fakes.objective().model)
    run.start(learner)
    shutil.rmtree(trained / "weights")
    run.standing = run.standing.model_copy(update={"step": 11})
    run.check(learner, scored(0.0))
    run.close()
    assert f"{trained / 'weights'}: was removed; made anew, without what was in it before step 11" in fakes.notes
    assert load_model(trained / "weights" / "best.safetensors").notes["step"] == "11"


@pytest.mark.parametrize("error", [OSError(116, "Stale file handle"), ConfigError("run: cannot be written: Read-only")])
def test_a_folder_that_cannot_be_reached_for_a_while_costs_nothing(fakes, run_folder: Path, error: Exception) -> None:
    def claim() -> None:
        if 3 <= len(fakes.steps) < 6:
            raise error from OSError(30, "Read-only file system")

    objective = fakes.objective()
    run, learner = fakes.run(run_folder, claim=claim), fakes.learner(objective.model)
    train(objective, fakes.batches(), learner, fakes.plan(), run, lambda _: {"box/AP": 0.1})
    run.close()
    why = "Stale file handle" if isinstance(error, OSError) else "Read-only"
    told = [note for note in fakes.notes if why in note]
    assert len(told) == 2, told
    assert told[0].endswith(f"cannot be written: {why}: lines wait until it can be written; training goes on")
    assert told[1].startswith("step 4 is not saved: ")
    assert "step 8: saving succeeds again" in fakes.notes
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "losses" in line] == list(range(1, 11))
    assert load_model(run_folder / "weights" / "best.safetensors").notes["step"] == "4"


def test_a_folder_that_another_process_took_ends_the_run(fakes, run_folder: Path) -> None:
    def claim() -> None:
        if len(fakes.steps) == 3:
            raise ConfigError("run: is in use by process 1")

    objective = fakes.objective()
    run, learner = fakes.run(run_folder, claim=claim), fakes.learner(objective.model)
    with pytest.raises(ConfigError, match="is in use by process 1"):
        train(objective, fakes.batches(), learner, fakes.plan(), run)


def test_curves_end_where_they_cannot_be_written(fakes, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    objective = fakes.objective()
    run, learner = fakes.run(run_folder), fakes.learner(objective.model)
    run.start(learner)
    monkeypatch.setattr(SummaryWriter, "add_scalar", full)
    train(objective, fakes.batches(), learner, fakes.plan(), run)
    run.close()
    assert fakes.notes == ["tensorboard: No space left on device: its curves end before step 1"]
