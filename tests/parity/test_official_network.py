"""The whole network at full size against the three official configurations (fixtures 12a, 12b, 12c)."""

from functools import partial

import pytest
import torch

from panet.model.bottom_up import with_coarser_level
from panet.model.build import build_model
from panet.presets import preset
from panet.weights.convert import convert
from panet.weights.tables import official


def build(keys, made_weights, name):
    config = preset(name).model
    backbone = config.backbone.model_copy(update={"stride_in_1x1": True})
    model = build_model(config.model_copy(update={"backbone": backbone})).eval()
    weights = {key: made_weights(key, shape) for key, shape in keys.items()}
    converted = convert(weights, official(), model)
    assert not converted.unused
    assert not converted.missing
    model.load_state_dict(converted.state)
    return model


@pytest.mark.parametrize(
    ("fixture", "keys", "name"),
    [("12a", "mask", "panet_r50"), ("12b", "det", "panet_r50_det"), ("12c", "det_2fc", "panet_r50_det_2fc")],
)
def test_the_network_equals_the_official_one(oracle, same, official_keys, made_weights, fixture, keys, name):
    recorded = oracle(fixture)
    model = build(official_keys(keys), made_weights, name)
    check = partial(same, f"{fixture} whole network {name}", atol=2e-3)
    with torch.inference_mode():
        c = model.backbone(recorded["in.x"])
        check("C5", c[5], recorded["out.C5"])
        n = model.features(recorded["in.x"])
        for k, expected in recorded.pyramid("out.N").items():
            check(f"N{k}", with_coarser_level(n)[k], expected)
        boxes = [recorded["in.rois"][:, 1:]]
        check("box_feat", model.box_head.shared(model.box_head.pooling(n, boxes)), recorded["out.box_feat"])
        output = model.box_head(n, boxes)
        check("cls_logits", output.class_logits, recorded["out.cls_logits"])
        check("bbox_pred", output.deltas.flatten(1), recorded["out.bbox_pred"])
        if model.mask_head is None:
            return
        conv3 = model.mask_head.conv3(model.mask_head.conv2(model.mask_head.pooling(n, boxes)))
        check("mask_fc_relu", model.mask_head.fc_path(conv3).flatten(1), recorded["out.mask_fc_relu"])
        logits = model.mask_head(n, boxes)
        check("mask_logits_cls0_9", logits[:, :10], recorded["out.mask_logits_cls0_9"])
        check("mask_logits_mean_per_class", logits.mean(dim=(2, 3)), recorded["out.mask_logits_mean_per_class"])


@pytest.mark.parametrize(
    ("name", "millions"), [("panet_r50", 73.356), ("panet_r50_det", 48.386), ("panet_r50_det_2fc", 83.851)]
)
def test_a_released_preset_has_the_official_number_of_parameters(name, millions):
    model = build_model(preset(name).model)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=5e-4)


def test_panet_lite_stays_below_12_million_parameters():
    model = build_model(preset("panet_lite").model, load_backbone=False)
    assert sum(parameter.numel() for parameter in model.parameters()) < 12e6
