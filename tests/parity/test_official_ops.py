"""Box and picture arithmetic of 2018 (fixture 10)."""

import json

import numpy as np
import pytest
import torch

from panet.data.batching import Normalise, make_image_batch
from panet.data.transforms import apply_view, view_for_test
from panet.model.box_head import BoxOutput
from panet.model.detections import BOX_WEIGHTS, DetectionRule, select_detections
from panet.ops.anchors import legacy_cell_anchors
from panet.ops.boxes import clip, decode, encode
from panet.ops.paste import paste_mask
from panet.ops.roi_align import assigned_levels

NAME = "10 box and image operations"
SIZE = (240, 320)


@pytest.fixture
def recorded(oracle):
    return oracle("10")


def unpack(bits, size):
    """Rows of packed bits -> (D, H, W) masks."""
    pixels = np.unpackbits(bits.numpy(), axis=1)[:, : size[0] * size[1]]
    return torch.from_numpy(pixels).reshape(-1, *size).bool()


def in_picture(window, size):
    mask, left, top = window
    whole = torch.zeros(size, dtype=torch.bool)
    whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return whole


def best_first_by_class(scores, labels):
    """The recorded rows are by class, and within one by RoI; put the best first within each."""
    return torch.from_numpy(np.lexsort((-scores.numpy(), labels.numpy())).copy())


def test_anchors_and_deltas_equal_the_official_ones(recorded, same):
    for k, size in {2: 32, 3: 64, 4: 128, 5: 256, 6: 512}.items():
        same(NAME, f"cell_anchors{k}", legacy_cell_anchors(2**k, [size], (0.5, 1, 2)), recorded[f"out.cell_anchors{k}"])
    boxes, truth = recorded["in.boxes"], recorded["in.gt"]
    deltas = recorded["in.deltas"].unflatten(1, (-1, 4))
    got = encode(truth, boxes, weights=BOX_WEIGHTS, inclusive=True)
    same(NAME, "encode", got, recorded["out.encode_w10_10_5_5"])
    decoded = decode(deltas, boxes[:, None], weights=BOX_WEIGHTS, inclusive=True)
    same(NAME, "decode", decoded.flatten(1), recorded["out.decode_w10_10_5_5"], atol=1e-6)
    clipped = clip(decoded, SIZE, inclusive=True).flatten(1)
    same(NAME, "decode_clipped", clipped, recorded["out.decode_clipped_240x320"], atol=1e-5)
    levels = assigned_levels(boxes, 2, 5, inclusive=True)
    same(NAME, "fpn_level_of_boxes", levels, recorded["out.fpn_level_of_boxes"], atol=0)


def test_the_same_detections_are_selected(recorded, same):
    settings = recorded.settings
    rule = DetectionRule(
        float(settings["score_thresh"]),
        float(settings["nms"]),
        int(settings["detections_per_im"]),
        min_side=0,
        inclusive=True,
        keep_ties=True,
    )
    output = BoxOutput(recorded["in.scores"].log(), recorded["in.deltas"].unflatten(1, (-1, 4)))
    (got,) = select_detections(output, [recorded["in.boxes"]], [SIZE], rule)
    order = best_first_by_class(recorded["out.det_scores"], recorded["out.det_labels"])
    ours = best_first_by_class(got.scores, got.labels)
    same(NAME, "det_labels", got.labels[ours], recorded["out.det_labels"][order], atol=0)
    same(NAME, "det_scores", got.scores[ours], recorded["out.det_scores"][order], atol=1e-6)
    same(NAME, "det_boxes", got.boxes[ours], recorded["out.det_boxes"][order], atol=1e-6)


def test_masks_are_pasted_to_the_last_pixel(recorded):
    expected = unpack(recorded["out.paste_bitmap"], SIZE)
    assert 0 < expected.float().mean() < 1
    pairs = zip(recorded["in.paste_mask_prob"], recorded["out.det_boxes"], strict=True)
    got = torch.stack([in_picture(paste_mask(grid, box, SIZE, grown=True), SIZE) for grid, box in pairs])
    assert int((got != expected).sum()) == 0


def test_a_picture_is_prepared_as_in_2018(recorded, same):
    settings = recorded.settings
    image = recorded["in.image_bgr_uint8"].permute(2, 0, 1).flip(0)
    size = (image.shape[1], image.shape[2])
    mean = tuple(json.loads(settings["pixel_means_bgr"]))
    view = view_for_test(size, int(settings["target_scale"]), int(settings["max_size"]), "legacy")
    batch = make_image_batch([apply_view(image, view)], [size], Normalise(mean, (1, 1, 1), bgr=True), [view.factor])
    same(NAME, "blob", batch.tensor, recorded["out.blob"], atol=1e-6)
    same(NAME, "im_scale", torch.tensor([batch.factors]), recorded["out.im_scale"], atol=1e-6)
    padded = torch.tensor([[*batch.tensor.shape[-2:], *batch.factors]])
    same(NAME, "im_info", padded, recorded["out.im_info"], atol=1e-6)
