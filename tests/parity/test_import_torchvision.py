"""torchvision's checkpoints, read from a file and written as ours: the same detections; and back: the same tensors."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import detection

from panet.cli.main import run
from panet.data.images import read_image
from panet.ops.rle import decode
from panet.structures import ImageBatch
from panet.weights.checkpoint import load_model, restore
from panet.weights.coco import COCO
from panet.weights.export import to_torchvision

DEMO = Path(__file__).resolve().parents[2] / "src" / "panet" / "bundled" / "images"
BUILDERS = (
    "maskrcnn_resnet50_fpn",
    "maskrcnn_resnet50_fpn_v2",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
)
# Proposals of a level and of a picture. Of a thousand with random weights, some would overlap so nearly by the NMS's
# threshold that rounding decides.
FEW = 100
OLD_NAMES = {
    "backbone.fpn.inner_blocks.{i}.0.": "backbone.fpn.inner_blocks.{i}.",
    "backbone.fpn.layer_blocks.{i}.0.": "backbone.fpn.layer_blocks.{i}.",
    "rpn.head.conv.0.0.": "rpn.head.conv.",
}


@pytest.fixture(scope="module", params=BUILDERS)
def theirs(request, spread_outputs):
    """A model of torchvision with random weights and statistics, that detects much."""
    # Channels last, as ours: else the two round differently from the first conv on.
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = getattr(detection, request.param)(weights=None, weights_backbone=None, num_classes=81).eval()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        spread_outputs(model)
    return model.to(memory_format=torch.channels_last)


def write(path, state):
    torch.save(state, path)
    return path


def imported(tmp_path, state, *options):
    out = tmp_path / "model.safetensors"
    assert run(["import", str(write(tmp_path / "theirs.pth", state)), "-o", str(out), *options]) == 0
    return out


def picture(height, width):
    with Image.open(DEMO / "histo.jpg") as image:
        pixels = np.asarray(image.convert("RGB").resize((width, height)), dtype=np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)


def detect_both(theirs, ours, image):
    size = (image.shape[1], image.shape[2])
    theirs.transform.min_size, theirs.transform.max_size = (min(size),), max(size)
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (theirs.transform.image_mean, theirs.transform.image_std)
    )
    with torch.inference_mode():
        return theirs([image])[0], ours(ImageBatch(((image - mean) / std)[None], (size,), (size,)))[0]


def named(theirs):
    return f"import {type(theirs).__name__} of {len(theirs.state_dict())} tensors"


def test_detections_through_the_file_equal_torchvisions_and_the_way_back_is_exact(theirs, same_detections, tmp_path):
    out = imported(tmp_path, theirs.state_dict())
    ours, model_file = restore(out)
    expected, got = detect_both(theirs, ours, picture(192, 256))
    assert len(expected["boxes"]) > 20, "too few detections to tell anything"
    same_detections(named(theirs), "histo.jpg", got, expected)
    assert model_file.label_map == COCO

    back = tmp_path / "back.pth"
    assert run(["import", str(out), "-o", str(back), "--to", "torchvision"]) == 0
    returned = torch.load(back, weights_only=True)
    assert returned.keys() == theirs.state_dict().keys()
    assert all(torch.equal(returned[key], tensor) for key, tensor in theirs.state_dict().items())


class Found(NamedTuple):
    """What `panet predict` wrote of one picture."""

    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor
    masks: list

    @classmethod
    def read(cls, annotations):
        corners = torch.tensor([each["bbox"] for each in annotations])
        corners[:, 2:] += corners[:, :2]
        labels = torch.tensor([COCO.label(each["category_id"]) for each in annotations])
        masks = [decode(each["segmentation"]) for each in annotations if "segmentation" in each]
        return cls(corners, torch.tensor([each["score"] for each in annotations]), labels, masks)


def predicted(tmp_path, theirs, paths, short_side, max_side):
    """Import a model and predict pictures, both on the command line; a Found for each picture, in the given order."""
    few = {"num_before_nms_test": FEW, "num_after_nms_test": FEW}
    settings = {"short_side": short_side, "max_side": max_side} | {f"rpn.{key}": value for key, value in few.items()}
    options = [part for key, value in settings.items() for part in ("--set", f"model.{key}={value}")]
    out = imported(tmp_path, theirs.state_dict(), *options)
    places = [str(path) for path in paths]
    options = ["-o", str(tmp_path / "found"), "--score", "0.05", "--no-overlays", "--precision", "reference"]
    assert run(["predict", str(out), *places, *options]) == 0
    document = json.loads((tmp_path / "found" / "results.json").read_text())
    ids = [image["id"] for image in document["images"]]
    return [Found.read([each for each in document["annotations"] if each["image_id"] == i]) for i in ids]


@pytest.mark.shared
@pytest.mark.parametrize("theirs", BUILDERS[:2], indirect=True)
def test_the_command_line_finds_in_ten_photographs_what_torchvision_finds(
    theirs, same, same_detections, shared_data, tmp_path
):
    paths = sorted((shared_data / "coco80" / "images").glob("*.jpg"))[:10]
    found = predicted(tmp_path, theirs, paths, 256, 427)
    theirs.transform.min_size, theirs.transform.max_size = (256,), 427
    for limit in (theirs.rpn._pre_nms_top_n, theirs.rpn._post_nms_top_n):
        limit["testing"] = FEW
    for path, got in zip(paths, found, strict=True):
        with torch.inference_mode():
            expected = theirs([read_image(path) / 255])[0]
        assert len(expected["boxes"]) > 20, "too few detections to tell anything"
        partners = same_detections(f"{named(theirs)}, predict", path.name, got, expected)
        # Where the masks differ, theirs is at the threshold: rounding decides.
        probabilities = expected["masks"][:, 0]
        other = probabilities.new_tensor(np.stack([got.masks[j] for j in partners])) != (probabilities > 0.5)
        doubtful = probabilities[other]
        same(f"{named(theirs)}, predict", f"{len(doubtful)} mask px, {path.name}", doubtful, 0.5 + 0 * doubtful, 1e-5)


@pytest.fixture(scope="module")
def plain_state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    return {key: value.detach() for key, value in model.state_dict().items()}


def old_name(key):
    for new, old in OLD_NAMES.items():
        for i in range(4):
            key = key.replace(new.format(i=i), old.format(i=i))
    for i in range(4):
        key = key.replace(f"roi_heads.mask_head.{i}.0.", f"roi_heads.mask_head.mask_fcn{i + 1}.")
    return key


def test_names_of_2019_give_the_same_model_as_todays(plain_state, tmp_path):
    new = load_model(imported(tmp_path, plain_state)).state
    old = load_model(imported(tmp_path, {old_name(k): v for k, v in plain_state.items()}, "--overwrite")).state
    assert new.keys() == old.keys()
    assert all(torch.equal(new[key], old[key]) for key in new)


def test_of_91_outputs_the_rows_of_cocos_ids_remain(plain_state, tmp_path, capsys):
    model = load_model(imported(tmp_path, plain_state))
    rows = [0, *COCO.category_ids]
    assert torch.equal(
        model.state["box_head.class_logits.weight"], plain_state["roi_heads.box_predictor.cls_score.weight"][rows]
    )
    boxes = plain_state["roi_heads.box_predictor.bbox_pred.bias"]
    assert torch.equal(model.state["box_head.deltas.bias"], boxes.view(91, 4)[rows].flatten())
    assert torch.equal(
        model.state["mask_head.mask_logits.bias"], plain_state["roi_heads.mask_predictor.mask_fcn_logits.bias"][rows]
    )
    assert model.label_map == COCO
    assert "of 91 outputs" in capsys.readouterr().out


def test_all_91_outputs_remain_on_demand(plain_state, tmp_path):
    model = load_model(imported(tmp_path, plain_state, "--all-ids"))
    assert model.label_map.category_ids == tuple(range(1, 91))
    assert model.label_map.name(90) == "toothbrush"
    returned = to_torchvision(model.state, model.config)
    assert all(torch.equal(returned[key], plain_state[key]) for key in plain_state)


def test_frozen_batch_norms_without_a_count_are_taken_with_epsilon_0(plain_state, tmp_path, capsys):
    frozen = {k: v for k, v in plain_state.items() if not k.endswith("num_batches_tracked")}
    frozen["backbone.body.bn1.running_var"] = torch.full((64,), 2e-5)
    model = load_model(imported(tmp_path, frozen))
    denominator = model.state["backbone.body.bn1.running_var"] + 1e-5
    torch.testing.assert_close(denominator, torch.full((64,), 2e-5), rtol=1e-5, atol=0)
    assert "epsilon is 0" in capsys.readouterr().out
