"""Foreign names -> our names, as data: one row a layer; a tensor keeps its last word (weight, bias, running_mean).

The official PANet mixes level orders: laterals and outputs run from coarse to fine, the bottom-up path and the
per-level layers from fine to coarse. torchvision counts from fine to coarse.
"""

from collections.abc import Iterator

__all__ = ["detectron2", "mmdetection", "official", "torchvision", "torchvision_v1_names"]

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


def _mask_rcnn_outputs(theirs: str, logits: str, deltas: str) -> Iterator[tuple[str, str]]:
    yield f"{theirs}.{logits}", "box_head.class_logits"
    yield f"{theirs}.{deltas}", "box_head.deltas"


def _convs(theirs: str, ours: tuple[str, ...], *norms: str) -> Iterator[tuple[str, str]]:
    """Rows of numbered convs, {i} in `theirs`, with the names that a norm beside them may have."""
    for i, layer in enumerate(ours):
        yield theirs.format(i=i), f"{layer}.conv"
        yield from ((norm.format(i=i), f"{layer}.norm") for norm in norms)


def _conv_modules(theirs: str, ours: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Rows of mmdetection's ConvModules, {i} in `theirs`: conv, and BN or GN where there is one."""
    return _convs(f"{theirs}.conv", ours, f"{theirs}.bn", f"{theirs}.gn")


_LATERALS = tuple(f"top_down.lateral.{k}" for k in (2, 3, 4, 5))
_OUTPUTS = tuple(f"top_down.output.{k}" for k in (2, 3, 4, 5))
_MASK_CONVS = ("mask_head.pooling.layer", "mask_head.conv2", "mask_head.conv3", "mask_head.conv4")
_BOX_CONVS = ("box_head.pooling.layer", *(f"box_head.shared.0.{i}" for i in range(3)))


def torchvision(blocks: tuple[int, ...] = _RESNET50) -> dict[str, str]:
    """Give the rows of torchvision's Faster and Mask R-CNN, first and second version, under today's names."""
    return dict(
        [
            *_resnet("backbone.body.", "backbone.body.layer{stage}", blocks),
            *_convs("backbone.fpn.inner_blocks.{i}.0", _LATERALS, "backbone.fpn.inner_blocks.{i}.1"),
            *_convs("backbone.fpn.layer_blocks.{i}.0", _OUTPUTS, "backbone.fpn.layer_blocks.{i}.1"),
            ("rpn.head.conv.0.0", "rpn.conv"),
            ("rpn.head.conv.1.0", "rpn.more_convs.0"),
            ("rpn.head.cls_logits", "rpn.objectness"),
            ("rpn.head.bbox_pred", "rpn.deltas"),
            ("roi_heads.box_head.fc6", "box_head.pooling.layer.linear"),
            ("roi_heads.box_head.fc7", "box_head.shared.linear"),
            *_convs("roi_heads.box_head.{i}.0", _BOX_CONVS, "roi_heads.box_head.{i}.1"),
            ("roi_heads.box_head.5", "box_head.shared.1.linear"),
            *_mask_rcnn_outputs("roi_heads.box_predictor", "cls_score", "bbox_pred"),
            *_convs("roi_heads.mask_head.{i}.0", _MASK_CONVS, "roi_heads.mask_head.{i}.1"),
            ("roi_heads.mask_predictor.conv5_mask", "mask_head.deconv"),
            ("roi_heads.mask_predictor.mask_fcn_logits", "mask_head.mask_logits"),
        ]
    )


def torchvision_v1_names() -> dict[str, str]:
    """Give the rows in which torchvision's files of 2019 differ from today's names."""
    return dict(
        [
            *_convs("backbone.fpn.inner_blocks.{i}", _LATERALS),
            *_convs("backbone.fpn.layer_blocks.{i}", _OUTPUTS),
            ("rpn.head.conv", "rpn.conv"),
            *((f"roi_heads.mask_head.mask_fcn{i}", f"{layer}.conv") for i, layer in enumerate(_MASK_CONVS, 1)),
        ]
    )


def detectron2(blocks: tuple[int, ...] = _RESNET50) -> dict[str, str]:
    """Give the rows of Detectron2's Faster and Mask R-CNN with FPN."""
    body = "backbone.bottom_up"
    rows = [(f"{body}.stem.conv1", "backbone.body.conv1"), (f"{body}.stem.conv1.norm", "backbone.body.bn1")]
    for stage, count in enumerate(blocks, 1):
        for block in range(count):
            theirs, ours = f"{body}.res{stage + 1}.{block}", f"backbone.body.layer{stage}.{block}"
            for i in (1, 2, 3):
                rows += [(f"{theirs}.conv{i}", f"{ours}.conv{i}"), (f"{theirs}.conv{i}.norm", f"{ours}.bn{i}")]
            if block == 0:
                rows += [
                    (f"{theirs}.shortcut", f"{ours}.downsample.0"),
                    (f"{theirs}.shortcut.norm", f"{ours}.downsample.1"),
                ]
    for k in (2, 3, 4, 5):
        rows += [
            (f"backbone.fpn_lateral{k}", f"top_down.lateral.{k}.conv"),
            (f"backbone.fpn_output{k}", f"top_down.output.{k}.conv"),
        ]
    rpn = "proposal_generator.rpn_head"
    return dict(
        [
            *rows,
            (f"{rpn}.conv", "rpn.conv"),
            (f"{rpn}.objectness_logits", "rpn.objectness"),
            (f"{rpn}.anchor_deltas", "rpn.deltas"),
            ("roi_heads.box_head.fc1", "box_head.pooling.layer.linear"),
            ("roi_heads.box_head.fc2", "box_head.shared.linear"),
            *_mask_rcnn_outputs("roi_heads.box_predictor", "cls_score", "bbox_pred"),
            *((f"roi_heads.mask_head.mask_fcn{i}", f"{layer}.conv") for i, layer in enumerate(_MASK_CONVS, 1)),
            ("roi_heads.mask_head.deconv", "mask_head.deconv"),
            ("roi_heads.mask_head.predictor", "mask_head.mask_logits"),
        ]
    )


def mmdetection(blocks: tuple[int, ...] = _RESNET50) -> dict[str, str]:
    """Give the rows of mmdetection's (2.x, 3.x) Faster and Mask R-CNN, with FPN or PAFPN."""
    upper = (3, 4, 5)
    return dict(
        [
            *_resnet("backbone.", "backbone.layer{stage}", blocks),
            *_conv_modules("neck.lateral_convs.{i}", _LATERALS),
            *_conv_modules("neck.fpn_convs.{i}", _OUTPUTS),
            *_conv_modules("neck.downsample_convs.{i}", tuple(f"bottom_up.down.{k}" for k in upper)),
            *_conv_modules("neck.pafpn_convs.{i}", tuple(f"bottom_up.fuse.{k}" for k in upper)),
            ("rpn_head.rpn_conv", "rpn.conv"),
            ("rpn_head.rpn_cls", "rpn.objectness"),
            ("rpn_head.rpn_reg", "rpn.deltas"),
            ("roi_head.bbox_head.shared_fcs.0", "box_head.pooling.layer.linear"),
            ("roi_head.bbox_head.shared_fcs.1", "box_head.shared.linear"),
            *_mask_rcnn_outputs("roi_head.bbox_head", "fc_cls", "fc_reg"),
            *_convs("roi_head.mask_head.convs.{i}.conv", _MASK_CONVS),
            ("roi_head.mask_head.upsample", "mask_head.deconv"),
            ("roi_head.mask_head.conv_logits", "mask_head.mask_logits"),
        ]
    )
