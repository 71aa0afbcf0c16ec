"""Foreign names -> our names, as data: one row a layer; a tensor keeps its last word (weight, bias, running_mean).

The official PANet mixes level orders: laterals and outputs run from coarse to fine, the bottom-up path and the
per-level layers from fine to coarse. torchvision counts from fine to coarse.
"""

from collections.abc import Iterator

__all__ = ["official", "torchvision"]

_RESNET50 = (3, 4, 6, 3)


def _resnet(foreign_stem: str, foreign_stage: str, blocks: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    """Rows of a bottleneck ResNet whose stages are `foreign_stage` with {stage} = 1..4."""
    yield f"{foreign_stem}conv1", "backbone.body.conv1"
    yield f"{foreign_stem}bn1", "backbone.body.bn1"
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            theirs = f"{foreign_stage.format(stage=stage, res=stage + 1)}.{block}"
            ours = f"backbone.body.layer{stage}.{block}"
            parts = [f"{kind}{i}" for i in (1, 2, 3) for kind in ("conv", "bn")]
            if block == 0:
                parts += ["downsample.0", "downsample.1"]
            yield from ((f"{theirs}.{part}", f"{ours}.{part}") for part in parts)


def _conv_norm(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    """Rows of an official conv: inside a Sequential where it has a norm, bare where it has none."""
    yield theirs, f"{ours}.conv"
    yield f"{theirs}.0", f"{ours}.conv"
    yield f"{theirs}.1", f"{ours}.norm"


def _official_neck() -> Iterator[tuple[str, str]]:
    body = "Conv_Body"
    yield from _conv_norm(f"{body}.conv_top", "top_down.lateral.5")
    for i in range(3):
        yield from _conv_norm(f"{body}.topdown_lateral_modules.{i}.conv_lateral", f"top_down.lateral.{4 - i}")
        yield from _conv_norm(f"{body}.panet_buttomup_conv1_modules.{i}", f"bottom_up.down.{3 + i}")
        yield from _conv_norm(f"{body}.panet_buttomup_conv2_modules.{i}", f"bottom_up.fuse.{3 + i}")
    for i in range(4):
        yield from _conv_norm(f"{body}.posthoc_modules.{i}", f"top_down.output.{5 - i}")


def _official_heads() -> Iterator[tuple[str, str]]:
    for theirs, ours in (("conv", "conv"), ("cls_score", "objectness"), ("bbox_pred", "deltas")):
        yield f"RPN.FPN_RPN_{theirs}", f"rpn.{ours}"
    for i in range(4):
        yield from _conv_norm(f"Box_Head.conv1_head.{i}", f"box_head.pooling.fuse.adapt.{2 + i}")
        yield f"Box_Head.fc1.{i}.0", f"box_head.pooling.fuse.adapt.{2 + i}.linear"
        yield f"Box_Head.fc1.{i}.1", f"box_head.pooling.fuse.adapt.{2 + i}.norm"
        yield from _conv_norm(f"Mask_Head.mask_conv1.{i}", f"mask_head.pooling.fuse.adapt.{2 + i}")
    for i in range(3):
        yield f"Box_Head.convs.{3 * i}", f"box_head.shared.0.{i}.conv"
        yield f"Box_Head.convs.{3 * i + 1}", f"box_head.shared.0.{i}.norm"
    yield "Box_Head.fc", "box_head.shared.1.linear"
    yield "Box_Head.fc2.0", "box_head.shared.linear"
    yield "Box_Head.fc2.1", "box_head.shared.norm"
    yield "Box_Outs.cls_score", "box_head.class_logits"
    yield "Box_Outs.bbox_pred", "box_head.deltas"
    for i, ours in enumerate(("conv2", "conv3", "conv4")):  # conv4 is here where there is no fc path
        yield f"Mask_Head.conv_fcn.{3 * i}", f"mask_head.{ours}.conv"
        yield f"Mask_Head.conv_fcn.{3 * i + 1}", f"mask_head.{ours}.norm"
    yield from _conv_norm("Mask_Head.mask_conv4", "mask_head.conv4")
    yield from _conv_norm("Mask_Head.mask_conv4_fc", "mask_head.fc_path.conv4")
    yield from _conv_norm("Mask_Head.mask_conv5_fc", "mask_head.fc_path.conv5")
    yield "Mask_Head.mask_fc.0", "mask_head.fc_path.fc"
    yield "Mask_Head.upconv", "mask_head.deconv"
    yield "Mask_Outs.classify", "mask_head.mask_logits"


def official(blocks: tuple[int, ...] = _RESNET50) -> dict[str, str]:
    """Give the rows of the official PANet's checkpoints; `blocks` a stage as in its ResNet."""
    backbone = _resnet("Conv_Body.conv_body.res1.", "Conv_Body.conv_body.res{res}", blocks)
    return dict([*backbone, *_official_neck(), *_official_heads()])


def torchvision(blocks: tuple[int, ...] = _RESNET50) -> dict[str, str]:
    """Give the rows of torchvision's `maskrcnn_resnet50_fpn` (the names its current code instantiates)."""
    rows = list(_resnet("backbone.body.", "backbone.body.layer{stage}", blocks))
    for i in range(4):
        rows.append((f"backbone.fpn.inner_blocks.{i}.0", f"top_down.lateral.{2 + i}.conv"))
        rows.append((f"backbone.fpn.layer_blocks.{i}.0", f"top_down.output.{2 + i}.conv"))
    rows += [
        ("rpn.head.conv.0.0", "rpn.conv"),
        ("rpn.head.cls_logits", "rpn.objectness"),
        ("rpn.head.bbox_pred", "rpn.deltas"),
        ("roi_heads.box_head.fc6", "box_head.pooling.layer.linear"),
        ("roi_heads.box_head.fc7", "box_head.shared.linear"),
        ("roi_heads.box_predictor.cls_score", "box_head.class_logits"),
        ("roi_heads.box_predictor.bbox_pred", "box_head.deltas"),
        ("roi_heads.mask_head.0.0", "mask_head.pooling.layer.conv"),
        ("roi_heads.mask_head.1.0", "mask_head.conv2.conv"),
        ("roi_heads.mask_head.2.0", "mask_head.conv3.conv"),
        ("roi_heads.mask_head.3.0", "mask_head.conv4.conv"),
        ("roi_heads.mask_predictor.conv5_mask", "mask_head.deconv"),
        ("roi_heads.mask_predictor.mask_fcn_logits", "mask_head.mask_logits"),
    ]
    return dict(rows)
