"""`panet ablate` on a tiny data set with a tiny network: runs, what is not repeated, reports, and every wrong turn."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from panet.cli.main import run
from panet.data.synthetic import write_shapes
from panet.evaluate.coco import score
from panet.train import loop
from panet.train.folder import read_run_config

TINY = [
    "model.norm_groups=4",
    "model.backbone={name: test_efficientnet, norm: batch, frozen_stages: 0}",
    "model.neck.channels=8",
    "model.box_head={kind: 2fc, fc_channels: 16}",
    "model.mask_head.channels=8",
    "model.short_side=64",
    "model.rpn={num_before_nms_train: 64, num_before_nms_test: 64, num_after_nms_train: 32, num_after_nms_test: 32}",
    "model.detection={max_detections: 8, score_threshold: 0.0}",
    "model.pooling.mask_size=4",
    "objective.roi_samples=16",
    "data.short_sides=[48, 64]",
    "data.workers=0",
    "train.warmup_steps=0",
]
RUNS = ["baseline-seed0", "bpa-seed0", "baseline-seed1", "bpa-seed1"]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, num_train=4, num_val=3, size=64, seed=0)
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ablate(*arguments: object, rows: str = "baseline,bpa", seeds: int = 2) -> int:
    settings = [word for setting in TINY for word in ("--set", setting)]
    options = ["--rows", rows, "--seeds", seeds, "--steps", 2, "--draws", 20, "-o", "out"]
    return run(["ablate", *settings, *map(str, [*options, *arguments])])


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message.removeprefix("error: ").strip()


def test_rows_and_seeds_become_runs_and_a_report(shapes: Path, here: Path, capsys) -> None:
    assert ablate(shapes) == 0
    printed = capsys.readouterr().out
    assert "2 rows x 2 seeds = 4 runs in out" in printed
    places = [printed.index(f"[{number}/4] ") for number in (1, 2, 3, 4)]
    assert places == sorted(places)
    assert "[3/4] baseline, seed 1" in printed  # seed by seed
    assert "left for 3 runs" in printed
    assert "left for 1 runs" in printed
    assert sorted(path.name for path in Path("out").iterdir() if path.is_dir()) == sorted(RUNS)

    configs = [read_run_config(Path("out", name)) for name in RUNS]
    assert [config.train.seed for config in configs] == [0, 0, 1, 1]
    assert [config.model.neck.bottom_up for config in configs] == [False, True, False, True]
    assert all(config.train.steps == 2 for config in configs)
    assert not any("metrics" in Path("out", name, "metrics.jsonl").read_text() for name in RUNS)  # scored at the end

    found = json.loads(Path("out/ablation.json").read_text())
    assert found["pictures"] == 3
    assert found["seeds"] == [0, 1]
    document = json.loads((shapes / "val.json").read_text())
    for row in found["rows"]:
        assert row["seconds"].keys() == {"0", "1"}
        for seed in (0, 1):
            results = json.loads(Path(f"out/{row['name']}-seed{seed}/val_results.json").read_text())
            metrics = score(document, results, max_dets=100).metrics
            for metric in ("mask/AP", "mask/AP50", "mask/AP75", "box/AP"):
                assert row["scores"][metric]["by_seed"][seed] == pytest.approx(metrics[metric], abs=1e-9)
    assert found["rows"][1]["before"] == "baseline"
    assert found["rows"][1]["to_before"]["mask/AP"]["verdict"] == "too few pictures"
    assert "| + BPA (bottom-up path) |" in Path("out/ablation.md").read_text()
    with Image.open("out/ablation.png") as picture:
        assert picture.width > 1000


def test_what_is_finished_is_not_repeated_and_what_was_interrupted_goes_on(
    shapes: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ablate(shapes, seeds=1) == 0
    whole = Path("out/ablation.json").read_text()
    finished = Path("out/baseline-seed0/metrics.jsonl").stat().st_mtime_ns
    # As if ended after the second run's last step, before it was scored.
    Path("out/bpa-seed0/ablation_run.json").unlink()
    Path("out/bpa-seed0/val_results.json").unlink()
    capsys.readouterr()
    assert ablate(shapes, "--resume", seeds=1) == 0
    printed = capsys.readouterr().out
    assert "[1/2] baseline, seed 0: finished before" in printed
    assert "going on after step 2" in printed
    assert "finished what was interrupted" in printed
    assert Path("out/baseline-seed0/metrics.jsonl").stat().st_mtime_ns == finished
    before, after = (json.loads(text)["rows"] for text in (whole, Path("out/ablation.json").read_text()))
    assert [row["scores"] for row in after] == [row["scores"] for row in before]
    assert after[1]["seconds"] == {"0": None}


def test_a_run_that_ended_before_its_first_checkpoint_starts_anew(shapes: Path, capsys) -> None:
    assert ablate(shapes, seeds=1, rows="baseline") == 0
    scores = json.loads(Path("out/ablation.json").read_text())["rows"][0]["scores"]
    Path("out/baseline-seed0/ablation_run.json").unlink()
    for path in Path("out/baseline-seed0/checkpoint").iterdir():
        path.unlink()
    capsys.readouterr()
    assert ablate(shapes, "--resume", seeds=1, rows="baseline") == 0
    assert "going on" not in capsys.readouterr().out
    assert json.loads(Path("out/ablation.json").read_text())["rows"][0]["scores"] == scores


def test_more_seeds_are_added_to_those_there_are(shapes: Path, capsys) -> None:
    assert ablate(shapes, seeds=1, rows="baseline") == 0
    capsys.readouterr()
    assert ablate(shapes, "--resume", seeds=2, rows="baseline") == 0
    assert "[1/2] baseline, seed 0: finished before" in capsys.readouterr().out
    assert len(json.loads(Path("out/ablation.json").read_text())["rows"][0]["scores"]["mask/AP"]["by_seed"]) == 2


def test_an_earlier_ablation_is_not_mixed_up_with_another(shapes: Path, capsys) -> None:
    assert ablate(shapes, seeds=1, rows="baseline") == 0
    capsys.readouterr()
    assert ablate(shapes) == 2
    assert "out: exists; add --resume or --overwrite, or choose another --output" in refusal(capsys)
    assert ablate(shapes, "--resume", "--set", "train.learning_rate=0.5", seeds=1, rows="baseline") == 2
    assert "train.learning_rate was 0.02, is 0.5" in refusal(capsys)
    Path("out/notes.txt").write_text("mine")
    assert ablate(shapes, "--overwrite", seeds=1, rows="bpa") == 0
    assert Path("out/notes.txt").read_text() == "mine"
    assert [path.name for path in Path("out").iterdir() if path.is_dir()] == ["bpa-seed0"]


def test_a_folder_of_something_else_is_never_removed(shapes: Path, here: Path, capsys) -> None:
    (here / "out").mkdir()
    (here / "out" / "thesis.txt").write_text("mine")
    for option in ("--overwrite", "--resume"):
        assert ablate(shapes, option) == 2
        assert "out: is not the folder of an ablation; choose another --output" in refusal(capsys)
    assert (here / "out" / "thesis.txt").read_text() == "mine"


def test_a_row_whose_training_diverges_is_named(shapes: Path, capsys) -> None:
    assert ablate(shapes, "--set", "train.learning_rate=1e30", seeds=1, rows="bpa") == 3
    message = refusal(capsys)
    assert message.startswith("+ BPA (bottom-up path), seed 0: step 2: ")
    assert message.endswith("lower train.learning_rate for all rows, or leave bpa out of --rows")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "baseline,bap"], "--rows bap: unknown (did you mean 'bpa'?): choose from baseline, mst, "),
        (["--rows", ","], "--rows ,: nothing is left to run: name at least one"),
        (["--resume"], "out: holds no ablation to resume"),
        (["--resume", "--overwrite"], "--resume: does not go with --overwrite"),
        (["--steps", "0"], "train.steps: input should be greater than or equal to 1"),
        (["--set", "model.norm_groups=3"], "model.norm_groups: 3 groups do not divide"),
        (["--seeds", "0"], "Invalid value for '--seeds'"),
    ],
)
def test_a_wrong_turn_is_told_in_one_line_and_leaves_nothing(
    shapes: Path, here: Path, capsys, arguments: list[str], message: str
) -> None:
    assert ablate(shapes, *arguments) == 2
    assert message in refusal(capsys)
    assert not (here / "out").exists()


def test_a_data_set_without_a_val_part_is_refused(shapes: Path, here: Path, capsys) -> None:
    (here / "set").mkdir()
    (here / "set" / "train.json").write_text((shapes / "train.json").read_text())
    (here / "set" / "images").symlink_to(shapes / "images")
    assert ablate("set") == 2
    assert "set: has no val part: rows are compared by its pictures; add val.json" in refusal(capsys)


def test_an_interrupted_run_goes_on_from_its_checkpoint(shapes: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ablate(shapes) == 0
    whole = json.loads(Path("out/ablation.json").read_text())["rows"]
    take_step = loop._take_step

    def stop_in_the_second_run(step: int, *arguments: Any) -> Any:
        if step == 1 and Path("out/bpa-seed0").exists():
            signal.raise_signal(signal.SIGINT)  # heeded after the step
        return take_step(step, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "_take_step", stop_in_the_second_run)
        assert ablate(shapes, "--overwrite") == 130
    assert "go on with the whole ablation: the same command and --resume" in capsys.readouterr().out
    assert ablate(shapes, "--resume") == 0
    printed = capsys.readouterr().out
    assert "[1/4] baseline, seed 0: finished before" in printed
    assert "going on after step 1" in printed
    again = json.loads(Path("out/ablation.json").read_text())["rows"]
    assert [row["scores"] for row in again] == [row["scores"] for row in whole]
