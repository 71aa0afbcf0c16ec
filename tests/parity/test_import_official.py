"""Checkpoints in the official layout become models of the released presets, every tensor in its place."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from panet.cli.main import run
from panet.data.build import build_normalise
from panet.model.build import build_model
from panet.ops.rle import decode
from panet.predict.predictor import Predictor
from panet.presets import preset
from panet.weights.checkpoint import load_model
from panet.weights.coco import COCO
from panet.weights.convert import convert
from panet.weights.tables import official

RELEASED = [("mask", "panet_r50"), ("det", "panet_r50_det"), ("det_2fc", "panet_r50_det_2fc")]


def write(path, weights):
    torch.save({"step": 179999, "train_size": 1, "batch_size": 16, "model": weights, "optimizer": {"state": {}}}, path)
    return path


@pytest.mark.parametrize(("keys", "name"), RELEASED)
def test_a_released_configuration_becomes_its_preset(official_keys, made_weights, tmp_path, keys, name):
    weights = {key: made_weights(key, shape) for key, shape in official_keys(keys).items()}
    out = tmp_path / "model.safetensors"
    assert run(["import", str(write(tmp_path / "official.pth", weights)), "-o", str(out)]) == 0
    model = load_model(out)
    expected = preset(name).model
    backbone = expected.backbone.model_copy(update={"stride_in_1x1": True})
    changed = {"backbone": backbone, "pixels": model.config.pixels, "arithmetic": "legacy"}
    assert model.config == expected.model_copy(update=changed)
    assert model.config.pixels.channels == "bgr"
    assert model.config.pixels.mean == (102.9801, 115.9465, 122.7717)
    assert model.label_map == COCO
    for layer, ours in official().items():
        for leaf in ("weight", "bias"):
            if f"{layer}.{leaf}" in weights:
                assert torch.equal(model.state[f"{ours}.{leaf}"], weights[f"{layer}.{leaf}"]), layer


@pytest.fixture(scope="module")
def zeros():
    """A state dict of the smallest released configuration, all zero, and where to write it."""
    return lambda keys: {key: torch.zeros(shape) for key, shape in keys.items()}


@pytest.mark.parametrize(
    ("change", "options", "what"),
    [
        (lambda w: w.pop("RPN.FPN_RPN_conv.bias"), [], "1 missing, first RPN.FPN_RPN_conv.bias"),
        (lambda w: w.pop("Conv_Body.posthoc_modules.0.0.weight"), [], "first Conv_Body.posthoc_modules.0.0.weight"),
        (lambda w: w.update({"Box_Head.extra": torch.zeros(1)}), [], "1 not understood, first Box_Head.extra"),
        (lambda w: w.update({"Box_Outs.bbox_pred.bias": torch.zeros(8)}), [], "Box_Outs.bbox_pred.bias: shape (8,)"),
        (lambda w: w.pop("Box_Outs.cls_score.weight"), [], "weight of the class logits is missing"),
        (
            lambda w: w.pop("Conv_Body.conv_body.res4.0.conv1.weight"),
            [],
            "first Conv_Body.conv_body.res4.0.conv1.weight",
        ),
        (lambda w: None, ["--from", "torchvision"], "--from torchvision: the names are those of official"),
    ],
)
def test_an_altered_file_is_refused_and_the_name_given(official_keys, zeros, tmp_path, capsys, change, options, what):
    weights = zeros(official_keys("det"))
    change(weights)
    path, out = write(tmp_path / "x.pth", weights), tmp_path / "model.safetensors"
    assert run(["import", str(path), "-o", str(out), *options]) == 2
    error = capsys.readouterr().err
    assert what in error
    assert str(path) in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_partial_lists_what_does_not_fit_and_goes_on(official_keys, zeros, tmp_path, capsys):
    weights = zeros(official_keys("det"))
    del weights["RPN.FPN_RPN_conv.bias"]
    weights["Box_Head.extra"] = torch.zeros(1)
    out = tmp_path / "model.safetensors"
    assert run(["import", str(write(tmp_path / "x.pth", weights)), "-o", str(out), "--partial"]) == 0
    printed = capsys.readouterr().out
    assert "unused: 1:\n    Box_Head.extra\n" in printed
    assert "missing, now random: 1:\n    RPN.FPN_RPN_conv.bias\n" in printed
    assert "rpn.conv.bias" in load_model(out).state


SMALL = {
    "short_side": 128,
    "max_side": 192,
    "rpn.num_before_nms_test": 100,
    "rpn.num_after_nms_test": 40,
    "detection.max_detections": 20,
}


def from_the_command_line(tmp_path, weights, pixels):
    """Import an official checkpoint and predict a picture, both on the command line; what was found, best first."""
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    settings = [part for key, value in SMALL.items() for part in ("--set", f"model.{key}={value}")]
    checkpoint, model, out = str(write(tmp_path / "x.pth", weights)), str(tmp_path / "m.safetensors"), tmp_path / "out"
    assert run(["import", checkpoint, "-o", model, *settings]) == 0
    options = ["-o", str(out), "--score", "0.05", "--no-overlays", "--precision", "fp32"]
    assert run(["predict", model, str(tmp_path / "picture.png"), *options]) == 0
    return json.loads((out / "results.json").read_text())["annotations"]


def corners_of(found):
    corners = np.array([each["bbox"] for each in found])
    corners[:, 2:] += corners[:, :2] - 1  # x2, y2 name the last pixel
    return corners


# The configuration without masks has the same layers but for the mask branch, and so made of the same numbers.
@pytest.mark.parametrize("keys", ["mask", "det"])
def test_the_recorded_detections_come_out_of_the_command_line(
    oracle, same, official_keys, made_weights, tmp_path, keys
):
    recorded, name = oracle("13"), f"13 through panet import and predict, {keys}"
    weights = {key: made_weights(key, shape) for key, shape in official_keys(keys).items()}
    found = from_the_command_line(tmp_path, weights, recorded["in.image_bgr_uint8"].numpy()[:, :, ::-1])
    order = np.argsort(-recorded["out.det_scores"].numpy(), kind="stable")
    labels = [COCO.label(each["category_id"]) for each in found]
    assert labels == recorded["out.det_labels"][order].tolist()
    same(name, "scores", torch.tensor([each["score"] for each in found]), recorded["out.det_scores"][order])
    same(name, "boxes", torch.from_numpy(corners_of(found)), recorded["out.det_boxes"][order], atol=0.02 / 140)
    if keys == "det":
        assert not any("segmentation" in each for each in found)
        return
    expected = np.unpackbits(recorded["out.det_bitmap"][order].numpy(), axis=1)[:, : 100 * 140].reshape(-1, 100, 140)
    masks = np.stack([decode(each["segmentation"]) for each in found])
    same(name, "mask px", int((masks != expected.astype(bool)).sum()), 0, atol=2)


def test_the_2fc_configuration_finds_on_the_command_line_what_its_network_finds(
    oracle, same, official_keys, made_weights, tmp_path
):
    """Nothing is recorded of it end to end; its network is held to fixture 12c, the steps around it to 10 and 13."""
    pixels = np.ascontiguousarray(oracle("13")["in.image_bgr_uint8"].numpy()[:, :, ::-1])
    weights = {key: made_weights(key, shape) for key, shape in official_keys("det_2fc").items()}
    found = from_the_command_line(tmp_path, weights, pixels)
    config = load_model(tmp_path / "m.safetensors").config
    model = build_model(config)
    model.load_state_dict(convert(weights, official(), model).state)
    limits = {"short_side": config.short_side, "max_side": config.max_side}
    normalise = build_normalise(config)
    predictor = Predictor(model, COCO, **limits, normalise=normalise, arithmetic="legacy")
    expected = predictor.predict(pixels, score_threshold=0.05)
    name = "2fc through panet import and predict"
    assert len(found) == len(expected) == 20
    assert [COCO.label(each["category_id"]) for each in found] == expected.labels.tolist()
    same(name, "scores", torch.tensor([each["score"] for each in found]), torch.from_numpy(expected.scores))
    same(name, "boxes", torch.from_numpy(corners_of(found)), torch.from_numpy(expected.boxes), atol=0.02 / 140)


@pytest.mark.parametrize(
    ("assignment", "what"),
    [
        ("train.seed=1", "begin with model."),
        ("model.neck.channels=128", "--set: weights do not fit the model: misshapen"),
        ("model.nek.channels=128", "did you mean"),
    ],
)
def test_a_setting_that_does_not_fit_the_weights_is_refused(official_keys, zeros, tmp_path, capsys, assignment, what):
    path, out = write(tmp_path / "x.pth", zeros(official_keys("det"))), tmp_path / "model.safetensors"
    assert run(["import", str(path), "-o", str(out), "--set", assignment]) == 2
    assert what in capsys.readouterr().err
    assert not out.exists()


def test_convert_tells_what_is_left_over(official_keys):
    assert convert({"a.weight": torch.zeros(1)}, official(), torch.nn.Linear(1, 1)).unused == ["a.weight"]
