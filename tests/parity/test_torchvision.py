"""With the three ideas off and the weights copied in, the network is torchvision's Mask R-CNN."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models.detection import maskrcnn_resnet50_fpn

from panet.model.build import build_model
from panet.presets import preset
from panet.structures import ImageBatch
from panet.weights.convert import convert
from panet.weights.tables import torchvision

NUM_CLASSES = 91  # theirs, with the background


@pytest.fixture(scope="module")
def both_models(spread_outputs):
    """torchvision's model with random weights that detect much, and ours with the same weights.

    torchvision infers the strides of its anchors from the picture, so ours is told to do the same.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=NUM_CLASSES).eval()
        for module in theirs.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        spread_outputs(theirs)
    theirs.to(memory_format=torch.channels_last)  # as ours: else the two round differently from the first conv on
    config = preset("mask_rcnn_r50").model
    rpn = config.rpn.model_copy(update={"infer_strides": True})
    ours = build_model(config.model_copy(update={"num_classes": NUM_CLASSES - 1, "rpn": rpn})).eval()
    converted = convert(theirs.state_dict(), torchvision(), ours)
    assert not converted.unused
    assert not converted.missing
    ours.load_state_dict(converted.state)
    return theirs, ours


def picture(path, height, width):
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize((width, height)), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)


def compare(both_models, same_detections, image, what):
    theirs, ours = both_models
    size = (image.shape[1], image.shape[2])
    theirs.transform.min_size, theirs.transform.max_size = (min(size),), max(size)
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (theirs.transform.image_mean, theirs.transform.image_std)
    )
    with torch.inference_mode():
        expected = theirs([image])[0]
        (got,) = ours(ImageBatch(((image - mean) / std)[None], (size,), (size,)))
    assert len(expected["boxes"]) > 20, "too few detections to tell anything"
    same_detections("torchvision maskrcnn_resnet50_fpn", what, got, expected)


DEMO = Path(__file__).resolve().parents[2] / "src" / "panet" / "bundled" / "images"


@pytest.mark.parametrize(("name", "height", "width"), [("histo.jpg", 256, 384), ("ihc.png", 320, 256)])
def test_detections_equal_torchvisions_on_bundled_pictures(both_models, same_detections, name, height, width):
    compare(both_models, same_detections, picture(DEMO / name, height, width), name)


@pytest.mark.shared
def test_detections_equal_torchvisions_on_photographs(both_models, same_detections, shared_data):
    for path in sorted((shared_data / "coco80" / "images").glob("*.jpg"))[:8]:
        compare(both_models, same_detections, picture(path, 320, 416), path.name)
