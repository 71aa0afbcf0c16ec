"""The heads against the official ones (fixtures 04 to 07), each stage of them."""

from functools import partial

import pytest
import torch
from torch import nn

from panet.model.box_head import BoxHead, four_conv_one_fc, two_fc
from panet.model.fusion import AdaptivePooling
from panet.model.layers import norm_factory
from panet.model.mask_head import MaskHead
from panet.ops.roi_align import pool_all_levels
from panet.weights.convert import convert
from panet.weights.tables import official

NORM = norm_factory("group", 8)
POOLING = partial(AdaptivePooling, (2, 3, 4, 5), size=7, samples=2)


def load(recorded, **parts):
    holder = nn.ModuleDict(parts)
    converted = convert(recorded.weights(), official(), holder)
    assert not converted.unused
    assert not converted.missing
    holder.load_state_dict(converted.state)
    rois = recorded["in.rois"]
    return recorded.pyramid("in.N"), [rois[rois[:, 0] == image, 1:] for image in (0, 1)]


def in_recorded_order(recorded):
    """The recorded RoIs may interleave the pictures; ours are listed picture by picture."""
    image = recorded["in.rois"][:, 0]
    return torch.cat([(image == i).nonzero().flatten() for i in (0, 1)])


def check_pooling(check, recorded, pooling, n, boxes, order):
    for k, grid in pool_all_levels(n, boxes, 7, 2).items():
        check(f"pooled{k}", grid, recorded[f"out.pooled{k}"][order])
        check(f"adapted{k}", pooling.fuse.adapt[str(k)](grid), recorded[f"out.adapted{k}"][order])
    check("fused", pooling(n, boxes), recorded["out.fused"][order])


@pytest.mark.parametrize(("name", "kind"), [("04", "2fc"), ("05", "4conv1fc")])
def test_the_box_head_equals_the_official_one(oracle, same, name, kind):
    recorded = oracle(name)
    parts = two_fc(POOLING, 16, 64, 7, NORM) if kind == "2fc" else four_conv_one_fc(POOLING, 16, 16, 64, 7, NORM)
    head = BoxHead(*parts, 64, 4)
    n, boxes = load(recorded, box_head=head)
    order = in_recorded_order(recorded)
    check = partial(same, f"{name} box head {kind}")
    check_pooling(check, recorded, head.pooling, n, boxes, order)
    check("box_feat", head.shared(head.pooling(n, boxes)), recorded["out.box_feat"][order])
    output = head(n, boxes)
    check("cls_logits", output.class_logits, recorded["out.cls_logits"][order])
    check("cls_prob", output.class_logits.softmax(1), recorded["out.cls_prob"][order])
    check("bbox_pred", output.deltas.flatten(1), recorded["out.bbox_pred"][order])


@pytest.mark.parametrize(("name", "fc_path"), [("06", False), ("07", True)])
def test_the_mask_head_equals_the_official_one(oracle, same, name, fc_path):
    recorded = oracle(name)
    head = MaskHead(POOLING, inputs=16, channels=16, num_classes=4, size=7, norm=NORM, fc_path=fc_path)
    n, boxes = load(recorded, mask_head=head)
    order = in_recorded_order(recorded)
    check = partial(same, f"{name} mask head, fc path {'on' if fc_path else 'off'}")
    check_pooling(check, recorded, head.pooling, n, boxes, order)
    conv3 = head.conv3(head.conv2(head.pooling(n, boxes)))
    if fc_path:
        check("conv3", conv3, recorded["out.conv3"][order])
        check("conv4_fc", head.fc_path.conv4(conv3), recorded["out.conv4_fc"][order])
        check("conv5_fc", head.fc_path.conv5(head.fc_path.conv4(conv3)), recorded["out.conv5_fc"][order])
        check("fc_relu", head.fc_path(conv3).flatten(1), recorded["out.fc_relu"][order])
    conv4 = head.conv4(conv3)
    check("conv4", conv4, recorded["out.conv4"][order])
    upconv = head.deconv(conv4).relu()
    check("upconv_relu", upconv, recorded["out.upconv_relu"][order])
    check("classify", head.mask_logits(upconv), recorded["out.classify"][order])
    logits = head(n, boxes)
    check("mask_logits", logits, recorded["out.mask_logits"][order])
    check("mask_prob", logits.sigmoid(), recorded["out.mask_prob"][order])
