"""What the RPN and the mask head are told in training (fixture 16), by the arithmetic of 2018."""

import json

import numpy as np
import torch
from torch.nn.functional import max_pool2d

from panet.objective.targets import AnchorRule, anchor_labels
from panet.ops.anchors import grid_anchors, legacy_cell_anchors
from panet.ops.boxes import encode
from panet.ops.paste import crop_masks
from panet.ops.polygons import rasterise
from panet.structures import Target

NAME = "16 training targets"
SIDE = 28
SIZES = {2: 32, 3: 64, 4: 128, 5: 256, 6: 512}


def recorded_by_anchor(recorded, what, values):
    """Levels of official maps (1, A * values, S, S) -> (N, values) in the order level, y, x, anchor."""
    levels = [recorded[f"out.{what}{k}"][0] for k in SIZES]
    return torch.cat([level.unflatten(0, (3, values)).permute(2, 3, 0, 1).reshape(-1, values) for level in levels])


def test_positive_anchors_and_their_deltas_equal_the_official_ones(oracle, same):
    recorded = oracle("16")
    # The official maps are square; anchors beyond the picture are not trained.
    anchors = torch.cat(
        [
            grid_anchors(legacy_cell_anchors(2**k, [size], (0.5, 1, 2)), side, side, (2**k, 2**k))
            for (k, size) in SIZES.items()
            for side in [recorded[f"out.pos{k}"].shape[-1]]
        ]
    )
    assert len(anchors) == int(recorded["in.anchors_total"])
    boxes = recorded["in.gt_boxes"]
    height, width = (int(side) for side in recorded["in.im_hw"])
    target = Target(boxes, torch.ones(4).long(), torch.zeros(4, height, width).bool(), torch.zeros(4).bool(), 1)
    labels, index = anchor_labels(anchors, target, (height, width), AnchorRule(inclusive=True))
    official = recorded_by_anchor(recorded, "pos", 1).flatten().bool()
    negative = recorded_by_anchor(recorded, "sampled_neg", 1).flatten().bool()
    ours = labels == 1
    assert int(official.sum()) == 76
    assert ours[official].all()
    # One more than there: its overlap is the best of an object and small, and a random negative overwrote it.
    assert int(ours.sum()) == 77
    assert negative[ours & ~official].all()
    assert (labels[negative & ~ours] == 0).all()
    deltas = encode(boxes[index[official]], anchors[official], inclusive=True)
    same(NAME, "rpn deltas", deltas, recorded_by_anchor(recorded, "targets", 4)[official], atol=1e-6)


def polygons_of(recorded):
    return json.loads(recorded.settings["polys"])


def test_polygons_drawn_on_the_grid_are_the_official_mask_targets(oracle, same):
    recorded = oracle("16")
    for number, (polygons, box) in enumerate(zip(polygons_of(recorded), recorded["in.mask_boxes"], strict=True)):
        corner, sides = box[:2].numpy(), (box[2:] - box[:2]).clamp(min=1).numpy()
        on_grid = [
            ((np.array(polygon, np.float32).reshape(-1, 2) - corner) * SIDE / sides).ravel() for polygon in polygons
        ]
        got = torch.from_numpy(rasterise(on_grid, SIDE, SIDE))
        same(NAME, f"mask targets {number}", got.byte(), recorded["out.mask_targets28"][number], atol=0)


def test_masks_cut_from_the_picture_differ_from_the_official_targets_at_outlines_only(oracle):
    recorded = oracle("16")
    height, width = (int(side) for side in recorded["in.im_hw"])
    masks = torch.from_numpy(np.stack([rasterise(polygons, height, width) for polygons in polygons_of(recorded)]))
    got = crop_masks(masks, recorded["in.mask_boxes"], torch.arange(3), SIDE)
    official = recorded["out.mask_targets28"]
    differs = got.byte() != official
    assert (differs.float().mean(dim=(1, 2)) < 0.05).all()
    around = official[:, None].float()
    at_outline = max_pool2d(around, 3, 1, 1) != -max_pool2d(-around, 3, 1, 1)
    assert at_outline[:, 0][differs].all()
