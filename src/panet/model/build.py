"""ModelConfig -> PANet. The only file of the model that reads a config."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from panet.config import ModelConfig, Norm
from panet.errors import ConfigError
from panet.model.backbone import LEVELS, Backbone, timm_features
from panet.model.bottom_up import BottomUpPath
from panet.model.box_head import BoxHead, PoolingFactory, four_conv_one_fc, two_fc
from panet.model.detections import DetectionRule
from panet.model.fusion import AdaptivePooling, AssignedPooling
from panet.model.layers import NormFactory, norm_factory
from panet.model.mask_head import MaskHead
from panet.model.panet import PANet
from panet.model.pretrained import load_backbone_weights
from panet.model.proposals import ProposalRule
from panet.model.rpn import RPNHead
from panet.model.sync_norm import synchronise_norms
from panet.model.top_down import TopDownPath
from panet.ops.anchors import cell_anchors, legacy_cell_anchors

__all__ = ["build_model"]


def build_model(config: ModelConfig, seed: int = 0, *, load_backbone: bool = True) -> PANet:
    """Build a network with seeded random weights; the global generator is left as it was.

    Args:
        config: the settings.
        seed: of the random weights.
        load_backbone: whether the backbone's starting weights (`backbone.weights`) are loaded.

    Raises:
        ConfigError: the backbone is unknown, its weights cannot be loaded, or widths do not fit the norm's groups.
    """
    _check_groups(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _assemble(config)
    model.to(memory_format=torch.channels_last)  # the convs' weights
    if load_backbone and config.backbone.weights is not None:
        load_backbone_weights(model.backbone, config.backbone.name, config.backbone.weights)
    return model


def _assemble(config: ModelConfig) -> PANet:
    norm = norm_factory(config.norm, config.norm_groups)
    backbone = Backbone(
        timm_features(config.backbone.name),
        frozen_norm=config.backbone.norm == "frozen",
        frozen_stages=config.backbone.frozen_stages,
        stride_in_1x1=config.backbone.stride_in_1x1,
    )
    if config.backbone.norm == "sync_batch":
        synchronise_norms(backbone.body)
    channels = config.neck.channels
    neck_norm = norm_factory(_neck_norm(config), config.norm_groups)
    bottom_up = BottomUpPath(
        LEVELS, channels, neck_norm, relu=config.neck.bottom_up_relu, chain_on_presum=config.neck.chain_on_presum
    )
    rpn = config.rpn
    legacy = config.arithmetic == "legacy"
    boxes: dict[str, Any] = {"min_side": 0.0, "inclusive": True} if legacy else {}
    return PANet(
        backbone=backbone,
        top_down=TopDownPath(backbone.channels, channels, neck_norm, relu=config.neck.top_down_relu),
        bottom_up=bottom_up if config.neck.bottom_up else None,
        rpn=RPNHead(channels, len(rpn.anchor_sizes[0]) * len(rpn.anchor_ratios), rpn.num_convs),
        box_head=_box_head(config, norm),
        mask_head=_mask_head(config, norm),
        cell_anchors={k: _cell_anchors(config, k) for k in range(LEVELS[0], LEVELS[0] + len(rpn.anchor_sizes))},
        proposal_rule=ProposalRule(rpn.num_before_nms_test, rpn.num_after_nms_test, rpn.nms_threshold, **boxes),
        detection_rule=DetectionRule(
            **config.detection.model_dump(), **boxes, keep_ties=legacy, grown_masks=config.arithmetic != "modern"
        ),
        infer_strides=rpn.infer_strides,
        legacy_frames=legacy,
    )


def _neck_norm(config: ModelConfig) -> Norm:
    return config.norm if config.neck.norm == "same" else config.neck.norm


def _cell_anchors(config: ModelConfig, k: int) -> Tensor:
    sizes, ratios = config.rpn.anchor_sizes[k - LEVELS[0]], config.rpn.anchor_ratios
    if config.arithmetic == "legacy":
        return legacy_cell_anchors(2**k, sizes, ratios)
    return cell_anchors(sizes, ratios, rounded=config.rpn.round_anchors)


def _pooling(config: ModelConfig, size: int) -> PoolingFactory:
    align: dict[str, Any] = {"size": size, "samples": config.pooling.samples, "aligned": config.pooling.aligned}
    if config.pooling.levels == "assigned":
        return partial(AssignedPooling, **align, inclusive=config.arithmetic == "legacy")
    return partial(AdaptivePooling, LEVELS, **align, fusion=config.pooling.fusion)


def _box_head(config: ModelConfig, norm: NormFactory) -> BoxHead:
    size, head, channels = config.pooling.box_size, config.box_head, config.neck.channels
    pooling = _pooling(config, size)
    parts: Callable[[], tuple[nn.Module, nn.Module]] = {
        "4conv1fc": partial(four_conv_one_fc, pooling, channels, head.conv_channels, head.fc_channels, size, norm),
        "2fc": partial(two_fc, pooling, channels, head.fc_channels, size, norm),
    }[head.kind]
    return BoxHead(*parts(), head.fc_channels, config.num_classes)


def _mask_head(config: ModelConfig, norm: NormFactory) -> MaskHead | None:
    if config.mask_head is None:
        return None
    return MaskHead(
        _pooling(config, config.pooling.mask_size),
        inputs=config.neck.channels,
        channels=config.mask_head.channels,
        num_classes=config.num_classes,
        size=config.pooling.mask_size,
        norm=norm,
        fc_path=config.mask_head.fc_path,
    )


def _check_groups(config: ModelConfig) -> None:
    """GroupNorm wants every width to be a multiple of its groups; say which is not."""
    widths = _head_widths(config) if config.norm == "group" else {}
    if _neck_norm(config) == "group":
        widths["neck.channels"] = config.neck.channels
    for name, width in widths.items():
        if width % config.norm_groups:
            raise ConfigError(
                f"model.norm_groups: {config.norm_groups} groups do not divide {name} = {width}; choose a divisor"
            )
        if name == "box_head.fc_channels" and width == config.norm_groups:
            # The norm of a single value is 0, whatever the value: a dead head.
            raise ConfigError(
                f"model.norm_groups: {config.norm_groups} groups leave one value of {name} to each; choose fewer"
            )


def _head_widths(config: ModelConfig) -> dict[str, int]:
    widths = {}
    if config.box_head.kind == "4conv1fc":
        widths["box_head.conv_channels"] = config.box_head.conv_channels
    else:
        widths["box_head.fc_channels"] = config.box_head.fc_channels
    if config.mask_head is not None:
        widths["mask_head.channels"] = config.mask_head.channels
        if config.mask_head.fc_path:
            widths["half of mask_head.channels"] = config.mask_head.channels // 2
    return widths
