"""`panet train` on a tiny data set with a tiny network: from a folder to weights, and every wrong turn before."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from battery.training import TINY
from panet.cli.main import run
from panet.data.synthetic import write_shapes
from panet.settings import to_yaml
from panet.train.folder import read_run_config
from panet.weights.checkpoint import load_model, restore


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures to learn from, with a crowd and an empty one among them, and two to validate on."""
    folder = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(folder, num_train=6, num_val=2, size=64, seed=0)
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(*arguments: object, workers: int = 0) -> int:
    settings = [word for setting in [*TINY, f"data.workers={workers}"] for word in ("--set", setting)]
    return run(["train", *settings, *map(str, arguments)])


def state_of(folder: str, name: str = "last") -> dict[str, torch.Tensor]:
    return load_model(Path("runs", folder, "weights", f"{name}.safetensors")).state


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message.removeprefix("error: ").strip()


def test_a_folder_becomes_a_run_with_a_model_that_predicts(shapes: Path, capsys) -> None:
    assert train(shapes, "--steps", 4, "--name", "a") == 0
    printed = capsys.readouterr().out
    assert "model: lcnet_035, 0." in printed
    assert "train: 6 pictures, " in printed
    assert "crowds, 1 pictures empty" in printed
    assert "plan: 4 steps (1.333 epochs), 2 pictures a step, sgd with learning rate 0.0025, cpu, seed 0" in printed
    assert "average precision, mean over IoU 0.50:0.95" in printed
    files = {path.relative_to("runs/a").as_posix() for path in Path("runs/a").rglob("*") if path.is_file()}
    assert files >= {
        "config.yaml",
        "environment.json",
        "label_map.json",
        "metrics.jsonl",
        "checkpoint/step-00000004.safetensors",
        "weights/best.safetensors",
        "weights/last.safetensors",
    }
    model, model_file = restore("runs/a/weights/best.safetensors")
    assert not model.training
    assert model_file.config.num_classes == len(model_file.label_map) == 4
    scored = [json.loads(line) for line in Path("runs/a/metrics.jsonl").read_text().splitlines()]
    metrics = [line["metrics"] for line in scored if "metrics" in line]
    assert len(metrics) == 2
    assert metrics[0].keys() >= {"box/AP", "mask/AP", "mask/AP50", "loss/objectness", "loss/mask", "loss/total"}


def test_the_same_seed_gives_the_same_bits_with_and_without_workers_and_when_resumed(shapes: Path) -> None:
    options = ("--steps", 20, "--set", "train.evaluate_every=4", "--set", "train.ema_decay=0.9")
    assert train(shapes, *options, "--name", "whole") == 0
    assert train(shapes, *options, "--name", "again", workers=2) == 0
    assert same(state_of("whole"), state_of("again"))
    assert same(state_of("whole", "best"), state_of("again", "best"))

    # As after a crash at step 14: the checkpoint of step 12 is there, and two steps more were logged.
    shutil.copytree("runs/whole", "runs/crashed")
    checkpoints = sorted(Path("runs/whole/checkpoint").iterdir())
    assert [path.stem for path in checkpoints] == ["step-00000012", "step-00000020"]
    Path("runs/crashed/checkpoint", checkpoints[1].name).unlink()
    shutil.rmtree("runs/crashed/weights")
    assert train("runs/crashed", "--resume") == 0
    assert same(state_of("whole"), state_of("crashed"))
    assert Path("runs/crashed/metrics.jsonl").read_text() == Path("runs/whole/metrics.jsonl").read_text()


def test_a_recipe_names_its_data_and_the_newest_run_is_resumed(shapes: Path, here: Path, capsys) -> None:
    assert train(shapes, "--steps", 1) == 0
    config = read_run_config(Path("runs/train"))
    (here / "recipe.yaml").write_text(to_yaml(config))
    assert run(["train", "recipe.yaml"]) == 0
    assert same(state_of("train"), state_of("train2"))
    capsys.readouterr()
    assert run(["train", "--resume"]) == 0
    printed = capsys.readouterr().out
    assert "run: runs/train2" in printed
    assert "going on after step 1" in printed
    assert run(["train", "recipe.yaml", "--resume", "--name", "train"]) == 0


def test_a_run_is_not_resumed_with_other_settings(shapes: Path, capsys) -> None:
    assert train(shapes, "--steps", 1) == 0
    capsys.readouterr()
    assert run(["train", "--resume", "--lr", "0.5"]) == 2
    assert "train.learning_rate was 0.02, is 0.5; start a new run instead" in refusal(capsys)
    assert train(shapes, "--resume", "--steps", 2) == 2
    assert "train.steps was 1, is 2" in refusal(capsys)


def test_a_run_without_a_checkpoint_is_not_resumed(shapes: Path, capsys) -> None:
    """Killed before its first: the weights that it started from are not in its folder."""
    assert train(shapes, "--steps", 1) == 0
    shutil.rmtree("runs/train/checkpoint")
    capsys.readouterr()
    assert run(["train", "--resume"]) == 2
    assert "ended before its first checkpoint: start it anew with --overwrite" in refusal(capsys)


def test_without_a_val_part_the_last_weights_are_the_best(shapes: Path, here: Path, capsys) -> None:
    shutil.copytree(shapes, here / "data")
    (here / "data" / "val.json").unlink()
    assert train("data", "--steps", 2) == 0
    assert "val: none; no scores, and the last weights count as the best" in capsys.readouterr().out
    assert same(state_of("train", "best"), state_of("train", "last"))


def test_a_model_is_the_start_of_another(shapes: Path, here: Path, capsys) -> None:
    assert train(shapes, "--steps", 1, "--name", "first") == 0
    weights = "runs/first/weights/last.safetensors"
    slow = ("--steps", 1, "--lr", "1e-30", "--set", "model.backbone.norm=frozen")
    assert train(shapes, "--init", weights, "--name", "second", *slow) == 0
    # The step of 4e-32 shows in what is 0 alone.
    first, second = state_of("first"), state_of("second")
    assert all(torch.allclose(first[name], second[name], rtol=0, atol=1e-20) for name in first)
    _keep_one_class(shapes, here / "one")
    capsys.readouterr()
    assert train("one", "--init", weights, *slow) == 2
    assert "has 4 classes, the data set has 1; add --reset-head" in refusal(capsys)
    assert not Path("runs/train").exists()
    assert train("one", "--init", weights, "--reset-head", "--name", "third", *slow) == 0
    assert "init: 6 tensors of the output layers start anew" in capsys.readouterr().out
    assert state_of("third")["box_head.class_logits.weight"].shape[0] == 2


def _keep_one_class(source: Path, folder: Path) -> None:
    shutil.copytree(source, folder)
    for part in ("train.json", "val.json"):
        document = json.loads((folder / part).read_text())
        document["categories"] = document["categories"][:1]
        for annotation in document["annotations"]:
            annotation["category_id"] = document["categories"][0]["id"]
        (folder / part).write_text(json.dumps(document))


def test_a_random_backbone_that_is_frozen_is_warned_of(shapes: Path, capsys) -> None:
    assert train(shapes, "--steps", 1, "--set", "model.backbone.frozen_stages=2") == 0
    warning = "warning: the backbone starts from random weights, but its 2 stages are frozen"
    assert warning in capsys.readouterr().out
    assert train(shapes, "--steps", 1) == 0
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no data set: give its folder, or a recipe with data.root"),
        (["nowhere"], "nowhere: no such folder"),
        (["nowhere.yaml"], "nowhere.yaml: cannot be read: No such file or directory"),
        (["a.safetensors"], "a.safetensors: is a model, not a data set"),
        (["DATA", "--model", "panet_r5"], "did you mean 'panet_r50'"),
        (["DATA", "--model", "panet_r50", "--config", "a.yaml"], "not both"),
        (["DATA", "--steps", "0"], "train.steps: input should be greater than or equal to 1"),
        (["DATA", "--device", "quantum"], "device 'quantum'"),
        (["DATA", "--set", "model.num_classes=3"], "model.num_classes: is 3, but the data set has 4"),
        (["DATA", "--reset-head"], "--reset-head: goes with --init"),
        (["DATA", "--init", "none.safetensors"], "none.safetensors: no such model file"),
        (["DATA", "--output-root", "taken"], "taken: is a file; choose another --output-root"),
        (["DATA", "--output-root", "DATA/runs"], "lies in the data set's folder"),
        (["--resume"], "runs: holds no run to resume"),
        (["--resume", "--overwrite"], "--resume: does not go with --overwrite"),
        (["--resume", "--init", "a.safetensors"], "--resume: does not go with --init"),
    ],
)
def test_a_wrong_turn_is_told_in_one_line_and_leaves_nothing(
    shapes: Path, here: Path, capsys, arguments: list[str], message: str
) -> None:
    (here / "taken").touch()
    assert run(["train", *(word.replace("DATA", str(shapes)) for word in arguments)]) == 2
    assert message in refusal(capsys)
    assert list(here.glob("runs/*")) == []


def test_a_recipe_without_a_data_set_says_how_to_name_one(here: Path, capsys) -> None:
    (here / "recipe.yaml").write_text("train:\n  seed: 1\n")
    assert run(["train", "recipe.yaml"]) == 2
    assert "recipe.yaml: says no data.root" in refusal(capsys)


def test_a_run_is_not_overwritten_without_a_word(shapes: Path, capsys) -> None:
    assert train(shapes, "--steps", 1, "--name", "a") == 0
    capsys.readouterr()
    assert train(shapes, "--steps", 1, "--name", "a") == 2
    assert "add --overwrite or --resume" in refusal(capsys)
    assert train(shapes, "--steps", 2, "--name", "a", "--overwrite") == 0
    assert sorted(path.stem for path in Path("runs/a/checkpoint").iterdir()) == ["step-00000000", "step-00000002"]


def test_other_classes_in_the_val_part_are_refused(shapes: Path, here: Path, capsys) -> None:
    shutil.copytree(shapes, here / "data")
    document = json.loads((here / "data" / "val.json").read_text())
    document["categories"][0]["name"] = "wheel"
    (here / "data" / "val.json").write_text(json.dumps(document))
    assert train("data") == 2
    assert "val.json: its categories (2 wheel, " in refusal(capsys)


def test_a_train_part_without_objects_is_refused(shapes: Path, here: Path, capsys) -> None:
    shutil.copytree(shapes, here / "data")
    document = json.loads((here / "data" / "train.json").read_text())
    (here / "data" / "train.json").write_text(json.dumps({**document, "annotations": []}))
    assert train("data") == 2
    warning, error = capsys.readouterr().err.splitlines()
    assert "warning: data/train.json: lists no annotations" in warning
    assert "error: data/train.json: no picture has an object: there is nothing to learn" in error
