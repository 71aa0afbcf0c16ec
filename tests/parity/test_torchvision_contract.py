"""Behind torchvision's contract, with its weights, a Mask R-CNN of ours answers as torchvision's does."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models.detection import maskrcnn_resnet50_fpn

import panet
from panet.weights.convert import convert
from panet.weights.tables import torchvision

BUNDLED = Path(__file__).resolve().parents[2] / "src" / "panet" / "bundled" / "images"
NUM_CLASSES = 91
SHORT, LONG = 256, 384
NAME = "torchvision's contract"


@pytest.fixture(scope="module")
def both_models(spread_outputs):
    """torchvision's model with random weights that detect much, and ours with the same weights, both in eval mode."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        theirs = maskrcnn_resnet50_fpn(
            weights=None, weights_backbone=None, num_classes=NUM_CLASSES, min_size=SHORT, max_size=LONG
        ).eval()
        for module in theirs.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        spread_outputs(theirs)
    theirs.to(memory_format=torch.channels_last)  # as ours: else the two round differently from the first conv on
    ours = panet.detection_model(
        "mask_rcnn_r50",
        num_classes=NUM_CLASSES,
        min_size=SHORT,
        max_size=LONG,
        settings=[
            "model.arithmetic=torchvision",
            "model.rpn.infer_strides=true",
            "model.backbone.frozen_stages=0",
            "model.backbone.norm=batch",
        ],
    ).eval()
    converted = convert(theirs.state_dict(), torchvision(), ours.model)
    assert not converted.unused
    assert not converted.missing
    ours.model.load_state_dict(converted.state)
    return theirs, ours


def picture(name, height, width):
    with Image.open(BUNDLED / name) as image:
        pixels = np.asarray(image.convert("RGB").resize((width, height)), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)


PICTURES = {
    "enlarged": lambda: [picture("histo.jpg", 160, 240)],  # to 256 x 384
    "reduced": lambda: [picture("ihc.png", 600, 400)],  # to 384 x 256
    "two sizes at once": lambda: [picture("histo.jpg", 160, 240), picture("ihc.png", 512, 512)],
}


@pytest.mark.parametrize("what", PICTURES)
def test_predictions_equal_torchvisions(both_models, same, same_detections, what):
    theirs, ours = both_models
    images = PICTURES[what]()
    with torch.inference_mode():
        expected, got = theirs(images), ours(images)
    assert len(got) == len(images)
    for index, (mine, wanted) in enumerate(zip(got, expected, strict=True)):
        assert len(wanted["boxes"]) > 20, "too few detections to tell anything"
        assert set(mine) == set(wanted)
        assert all(mine[key].dtype == wanted[key].dtype for key in wanted)
        assert all(mine[key].shape == wanted[key].shape for key in wanted)
        where = f"{what} {index}"
        order = same_detections(NAME, where, SimpleNamespace(**mine), wanted)
        same(NAME, f"masks, {where}", mine["masks"][order], wanted["masks"], atol=1e-4)
