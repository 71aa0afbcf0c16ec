"""ModelConfig -> PANet: the switches, the norms, the seeds, how weights start."""

import math

import pytest
import torch
from torch import nn

from panet.config import (
    BackboneConfig,
    BoxHeadConfig,
    DetectionConfig,
    MaskHeadConfig,
    NeckConfig,
    ObjectiveConfig,
    PoolingConfig,
    RPNConfig,
)
from panet.errors import ConfigError
from panet.model.build import build_model
from panet.model.sync_norm import SyncBatchNorm
from panet.objective.build import build_objective


def layer_names(config):
    return {name for name, _ in build_model(config).named_parameters()}


def test_the_bottom_up_path_off_takes_that_path_away_and_nothing_else(tiny_config):
    on, off = layer_names(tiny_config()), layer_names(tiny_config(neck=NeckConfig(channels=16, bottom_up=False)))
    assert not off - on
    assert {name.split(".")[0] for name in on - off} == {"bottom_up"}
    assert not any(name.startswith("bottom_up") for name in off)


def test_adaptive_pooling_off_leaves_one_first_layer_for_all_levels(tiny_config):
    on, off = layer_names(tiny_config()), layer_names(tiny_config(pooling=PoolingConfig(levels="assigned")))
    assert {name.rsplit(".", 3)[0] for name in on - off} == {
        "box_head.pooling.fuse.adapt",
        "mask_head.pooling.fuse.adapt",
    }
    assert {name.rsplit(".", 2)[0] for name in off - on} == {"box_head.pooling.layer", "mask_head.pooling.layer"}
    assert len(on - off) == 4 * len(off - on)


def test_the_fully_connected_path_off_takes_that_path_away_and_nothing_else(tiny_config):
    on = layer_names(tiny_config())
    off = layer_names(tiny_config(mask_head=MaskHeadConfig(channels=16, fc_path=False)))
    assert not off - on
    assert {name.rsplit(".", 1)[0] for name in on - off} == {
        f"mask_head.fc_path.{part}" for part in ("conv4.conv", "conv4.norm", "conv5.conv", "conv5.norm", "fc")
    }


def test_no_mask_head_takes_that_head_away_and_nothing_else(tiny_config):
    on, off = layer_names(tiny_config()), layer_names(tiny_config(mask_head=None))
    assert not off - on
    assert {name.split(".")[0] for name in on - off} == {"mask_head"}


def test_the_sum_over_levels_has_the_same_layers_as_the_max(tiny_config):
    summed = tiny_config(pooling=PoolingConfig(fusion="sum"))
    assert layer_names(summed) == layer_names(tiny_config())
    assert build_model(summed).box_head.pooling.fuse.fusion == "sum"


NORMS = {
    "none": (),
    "group": (nn.GroupNorm,),
    "batch": (nn.BatchNorm1d, nn.BatchNorm2d),
    "sync_batch": (SyncBatchNorm,),
}


@pytest.mark.parametrize("kind", ["2fc", "4conv1fc"])
@pytest.mark.parametrize("norm", NORMS)
def test_every_norm_and_head_runs_forward_and_backward(tiny_config, make_batch, norm, kind):
    config = tiny_config(norm=norm, box_head=BoxHeadConfig(kind=kind, conv_channels=16, fc_channels=32))
    model = build_model(config).train()
    new = [module for name, module in model.named_modules() if not name.startswith("backbone")]
    found = {type(module) for module in new if "Norm" in type(module).__name__}
    assert found <= set(NORMS[norm])
    assert bool(found) == (norm != "none")
    losses = build_objective(model, ObjectiveConfig(roi_samples=16), config.rpn)(
        make_batch(), torch.Generator().manual_seed(0)
    )
    torch.stack(list(losses.values())).sum().backward()
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert sum(g.abs().sum() for g in gradients) > 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"neck": NeckConfig(channels=18)}, "neck.channels = 18"),
        ({"box_head": BoxHeadConfig(kind="2fc", fc_channels=30)}, "box_head.fc_channels = 30"),
        ({"box_head": BoxHeadConfig(kind="4conv1fc", conv_channels=22)}, "box_head.conv_channels = 22"),
        ({"mask_head": MaskHeadConfig(channels=18)}, "mask_head.channels = 18"),
        ({"mask_head": MaskHeadConfig(channels=12)}, "half of mask_head.channels = 6"),
        ({"box_head": BoxHeadConfig(kind="2fc", fc_channels=4)}, "one value of box_head.fc_channels to each"),
    ],
)
def test_groups_that_do_not_fit_a_width_are_refused_by_its_name(tiny_config, changes, named):
    with pytest.raises(ConfigError, match=f"model.norm_groups: 4 groups .*{named}") as caught:
        build_model(tiny_config(**changes))
    assert "\n" not in str(caught.value)
    build_model(tiny_config(**changes, norm="none"))


def test_weights_lie_channels_last_and_stay_so_when_others_are_loaded(tiny_config):
    model = build_model(tiny_config())
    model.load_state_dict({name: tensor.contiguous() for name, tensor in model.state_dict().items()})
    assert all(
        parameter.is_contiguous(memory_format=torch.channels_last)
        for parameter in model.parameters()
        if parameter.ndim == 4
    )


def test_a_seed_gives_the_same_weights_and_another_seed_others(tiny_config):
    first, same, other = (build_model(tiny_config(), seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["rpn.conv.weight"], other["rpn.conv.weight"])
    assert not torch.equal(first["backbone.body.conv_stem.weight"], other["backbone.body.conv_stem.weight"])


def test_building_leaves_the_global_generator_as_it_was(tiny_config):
    before = torch.get_rng_state()
    build_model(tiny_config())
    assert torch.equal(torch.get_rng_state(), before)


def test_starting_weights_are_loaded_only_where_asked_for(tiny_config, tmp_path):
    config = tiny_config(backbone=BackboneConfig(name="test_efficientnet", weights=str(tmp_path / "none.safetensors")))
    build_model(config, load_backbone=False)
    with pytest.raises(ConfigError, match=r"none\.safetensors"):
        build_model(config)


def test_the_settings_of_proposals_and_detections_arrive(tiny_config):
    rpn = RPNConfig(
        anchor_sizes=((8, 16),) * 5,
        anchor_ratios=(1.0,),
        num_before_nms_test=7,
        num_after_nms_test=5,
        nms_threshold=0.6,
    )
    detection = DetectionConfig(score_threshold=0.3, nms_threshold=0.4, max_detections=9)
    model = build_model(tiny_config(rpn=rpn, detection=detection))
    rule = model.proposal_rule
    assert (rule.num_before_nms, rule.num_after_nms, rule.nms_threshold) == (7, 5, 0.6)
    found = model.detection_rule
    assert (found.score_threshold, found.nms_threshold, found.max_detections) == (0.3, 0.4, 9)
    assert {k: len(cell) for k, cell in model.cell_anchors.items()} == dict.fromkeys((2, 3, 4, 5, 6), 2)
    assert model.rpn.objectness.out_channels == 2
    model.max_detections = 4
    assert model.max_detections == model.detection_rule.max_detections == 4
    assert model.detection_rule.score_threshold == 0.3


# How the released code starts each layer: pattern of its name, kind of fill.
STARTS = {
    "top_down.": "xavier",
    "bottom_up.": "xavier",
    "rpn.": 0.01,
    "box_head.pooling.fuse.adapt.": "msra",
    "box_head.shared.0.": "msra",
    "box_head.shared.1.": "xavier",
    "box_head.class_logits": 0.01,
    "box_head.deltas": 0.001,
    "mask_head.fc_path.fc": 0.01,
    "mask_head.": "msra",
}


def expected_std(kind, weight):
    receptive = weight[0, 0].numel() if weight.ndim == 4 else 1
    fan_in, fan_out = weight.shape[1] * receptive, weight.shape[0] * receptive
    if kind == "xavier":
        return math.sqrt(1 / fan_in)
    # A deconv's weight is (inputs, outputs, k, k): its fan counts the inputs.
    return math.sqrt(2 / fan_out) if kind == "msra" else kind


def check_start(name, layer, kind):
    weight = layer.weight.detach()
    std = expected_std(kind, weight)
    # Five standard errors: 1 / sqrt(2 n) of the deviation of n normal values, less for uniform ones.
    allowed = 5 / math.sqrt(2 * weight.numel())
    assert weight.std().item() == pytest.approx(std, rel=allowed), name
    if kind == "xavier":
        assert weight.abs().max() <= math.sqrt(3) * std * (1 + 1e-6), name
    if layer.bias is not None:
        assert (layer.bias == 0).all(), name


def test_every_new_layer_starts_as_in_the_released_code(tiny_config):
    heads = BoxHeadConfig(kind="4conv1fc", conv_channels=32, fc_channels=64)
    model = build_model(
        tiny_config(neck=NeckConfig(channels=32), box_head=heads, mask_head=MaskHeadConfig(channels=32)), seed=1
    )
    seen = set()
    for name, layer in model.named_modules():
        if name.startswith("backbone") or not hasattr(layer, "weight"):
            continue
        if isinstance(layer, nn.GroupNorm):
            assert (layer.weight == 1).all(), name
            assert (layer.bias == 0).all(), name
            continue
        pattern = next(pattern for pattern in STARTS if name.startswith(pattern))
        check_start(name, layer, STARTS[pattern])
        seen.add(pattern)
    assert seen == set(STARTS)


def test_the_light_head_starts_with_xavier_in_every_fc(tiny_config):
    model = build_model(tiny_config(), seed=1)
    fcs = {name: layer for name, layer in model.box_head.named_modules() if name.endswith(".linear")}
    assert len(fcs) == 5
    for name, layer in fcs.items():
        check_start(name, layer, "xavier")
