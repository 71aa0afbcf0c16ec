"""The commands as a user runs them, each in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from panet.data.synthetic import write_shapes

SMALL = [
    *("--model", "panet_lite", "--batch-size", "2", "--device", "cpu"),
    *("--set", "model.backbone.weights=none", "--set", "model.backbone.frozen_stages=0"),
    *("--set", "data.short_sides=[96, 128]", "--set", "data.max_side=160"),
    *("--set", "model.short_side=96", "--set", "model.max_side=128"),
    *("--set", "objective.roi_samples=16", "--set", "objective.mask_samples=4", "--set", "train.evaluate_every=1000"),
]


def panet(*arguments, folder):
    command = [sys.executable, "-m", "panet", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)


def trained(folder, data, name, *, steps, workers=0):
    finished = panet("train", data, *SMALL, "--steps", steps, "--workers", workers, "--name", name, folder=folder)
    assert finished.returncode == 0, finished.stderr
    return folder / "runs" / name


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Pictures with holes, overlaps, a crowd and one without objects."""
    folder = tmp_path_factory.mktemp("shapes")
    write_shapes(folder, num_train=8, num_val=3, size=128, seed=0)
    document = json.loads((folder / "train.json").read_text())
    annotated = {each["image_id"] for each in document["annotations"]}
    assert any(image["id"] not in annotated for image in document["images"])
    assert any(each["iscrowd"] for each in document["annotations"])
    return folder


def test_train_then_eval_then_predict(tmp_path, shapes):
    run = trained(tmp_path, shapes, "first", steps=4)
    expected = {"config.yaml", "environment.json", "label_map.json", "metrics.jsonl", "weights", "checkpoint"}
    assert expected <= {path.name for path in run.iterdir()}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "losses" in line] == [1, 2, 3, 4]
    assert any("mask/AP" in line.get("metrics", {}) for line in lines)

    weights = run / "weights" / "best.safetensors"
    judged = panet("eval", weights, shapes, folder=tmp_path)
    assert judged.returncode == 0, judged.stderr
    assert "AP50" in judged.stdout

    shown = panet("predict", weights, shapes / "images", "-o", "found", "--score", "0.0", folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    document = json.loads((tmp_path / "found" / "results.json").read_text())
    assert len(document["images"]) == 11
    assert {each["category_id"] for each in document["annotations"]} <= {2, 3, 5, 7}, "the data set's own ids"


def test_the_same_seed_twice_gives_bit_identical_weights_after_20_steps(tmp_path, shapes):
    first, second = (trained(tmp_path, shapes, name, steps=20, workers=w) for name, w in (("one", 0), ("two", 2)))
    weights, again = (load_file(run / "weights" / "last.safetensors") for run in (first, second))
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[key], again[key]) for key in weights)
    assert (first / "metrics.jsonl").read_text() == (second / "metrics.jsonl").read_text()


@pytest.mark.shared
def test_training_on_photographs_with_crowds_is_repeatable(tmp_path, shared_data):
    first, second = (trained(tmp_path, shared_data / "coco80", name, steps=20) for name in ("one", "two"))
    weights, again = (load_file(run / "weights" / "last.safetensors") for run in (first, second))
    assert all(torch.equal(weights[key], again[key]) for key in weights)


def test_a_run_never_overwrites_another_without_being_told(tmp_path, shapes):
    run = trained(tmp_path, shapes, "only", steps=1)
    before = (run / "weights" / "last.safetensors").read_bytes()
    refused = panet("train", shapes, *SMALL, "--steps", "1", "--name", "only", folder=tmp_path)
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1
    assert (run / "weights" / "last.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["train", "nowhere"], ["nowhere"]),
        (["train", "DATA", "--model", "panet_r5O"], ["panet_r5O", "panet_r50"]),
        (["train", "DATA", "--set", "train.lerning_rate=1"], ["lerning_rate", "learning_rate"]),
        (["eval", "missing.safetensors", "DATA"], ["missing.safetensors"]),
        (["predict", "bundled", "no_such_folder"], ["no_such_folder"]),
    ],
)
def test_bad_input_gives_one_line_and_exit_code_2(tmp_path, shapes, arguments, fragments):
    finished = panet(*(str(shapes) if each == "DATA" else each for each in arguments), folder=tmp_path)
    assert finished.returncode == 2, finished.stderr
    assert len(finished.stderr.strip().splitlines()) == 1
    assert "Traceback" not in finished.stderr
    assert all(fragment in finished.stderr for fragment in fragments)


def test_broken_json_is_named_with_line_and_column(tmp_path, shapes):
    data = tmp_path / "broken"
    data.mkdir()
    (data / "images").symlink_to(shapes / "images")
    (data / "train.json").write_text('{"images": [],\n "annotations": [}')
    finished = panet("train", data, *SMALL, "--steps", "1", folder=tmp_path)
    assert finished.returncode == 2
    assert "train.json" in finished.stderr
    assert "2" in finished.stderr
    assert [path.name for path in Path(tmp_path / "runs").iterdir()] == ["data_report.json"]  # no run was begun
