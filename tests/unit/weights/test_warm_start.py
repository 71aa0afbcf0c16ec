"""A PANet begun with a Mask R-CNN's weights: what has a place is copied, the new mask path is inert."""

import pytest
import torch
from torch import Tensor

from panet.config import BackboneConfig, BoxHeadConfig, MaskHeadConfig, ModelConfig, NeckConfig, PoolingConfig
from panet.model.build import build_model
from panet.weights.warm_start import WarmStart, warm_start

PLAIN = ModelConfig(
    num_classes=2,
    norm="none",
    backbone=BackboneConfig(name="lcnet_035", frozen_stages=0),
    neck=NeckConfig(channels=8, bottom_up=False),
    pooling=PoolingConfig(levels="assigned", mask_size=4),
    box_head=BoxHeadConfig(kind="2fc", fc_channels=16),
    mask_head=MaskHeadConfig(channels=8, fc_path=False),
)
TARGET = PLAIN.model_copy(
    update={
        "num_classes": 80,
        "backbone": BackboneConfig(),
        "neck": NeckConfig(channels=8),
        "pooling": PoolingConfig(mask_size=4),
        "mask_head": MaskHeadConfig(channels=8),
    }
)


@pytest.fixture(scope="module")
def plain() -> dict[str, Tensor]:
    state: dict[str, Tensor] = build_model(PLAIN, seed=3, load_backbone=False).state_dict()
    return state


@pytest.fixture(scope="module")
def started(plain: dict[str, Tensor]) -> WarmStart:
    return warm_start(plain, PLAIN, TARGET)


def test_every_per_level_copy_gets_the_single_levels_layer(plain: dict[str, Tensor], started: WarmStart) -> None:
    for k in (2, 3, 4, 5):
        for head, layer in (("box_head", "linear"), ("mask_head", "conv")):
            copy = started.state[f"{head}.pooling.fuse.adapt.{k}.{layer}.weight"]
            assert torch.equal(copy, plain[f"{head}.pooling.layer.{layer}.weight"])


def test_everything_else_with_a_place_is_copied_and_the_bottom_up_path_is_new(
    plain: dict[str, Tensor], started: WarmStart
) -> None:
    assert started.left == ()
    assert set(started.copied) | set(started.new) == set(started.state)
    assert {name.rsplit(".", 3)[0].split(".")[0] for name in started.new} == {"bottom_up", "mask_head"}
    assert all(name.startswith(("bottom_up.", "mask_head.fc_path.")) for name in started.new)
    assert torch.equal(started.state["backbone.body.conv_stem.weight"], plain["backbone.body.conv_stem.weight"])


def test_the_mask_path_changes_no_logit_at_first_and_can_be_trained(started: WarmStart) -> None:
    model = build_model(started.config, load_backbone=False)
    model.load_state_dict(started.state)
    assert model.mask_head is not None
    assert model.mask_head.fc_path is not None
    added = model.mask_head.fc_path(torch.rand(2, 8, 4, 4))
    assert added.abs().max() <= 1e-5
    added.sum().backward()
    gradient = model.mask_head.fc_path.fc.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_classes_pixels_and_backbone_are_the_sources(started: WarmStart) -> None:
    assert started.config.num_classes == 2
    assert started.config.backbone == PLAIN.backbone
    assert started.config.neck.bottom_up


def test_what_has_no_place_is_left_out_and_named(plain: dict[str, Tensor]) -> None:
    target = TARGET.model_copy(update={"mask_head": None})
    left = warm_start(plain, PLAIN, target).left
    assert left == tuple(name for name in plain if name.startswith("mask_head."))
