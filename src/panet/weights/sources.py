"""What a foreign checkpoint means: its classes' order, its batch norms' epsilon, and the settings it was trained with.

All functions take tensors under our names. Facts are of the projects' own code: the 2018 release of PANet,
torchvision, Detectron2's model zoo and mmdetection's base configs.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from panet.config import ModelConfig
from panet.errors import CheckpointError
from panet.weights.coco import COCO

__all__ = ["add_neck_biases", "background_first", "describe", "keep_coco_rows", "with_epsilon"]

_EPSILON = 1e-5  # of our batch norms
_RGB_MEAN, _RGB_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_BGR = {"mean": _RGB_MEAN[::-1], "std": (1.0, 1.0, 1.0), "channels": "bgr"}
_BGR_2018 = {**_BGR, "mean": (102.9801, 115.9465, 122.7717)}

# Blocks a stage, and the shape of layer1.0.conv2's weight but for its sides -> timm's name.
_RESNETS = {
    ((3, 4, 6, 3), (64, 64)): "resnet50",
    ((3, 4, 23, 3), (64, 64)): "resnet101",
    ((3, 8, 36, 3), (64, 64)): "resnet152",
    ((3, 4, 6, 3), (128, 4)): "resnext50_32x4d",
    ((3, 4, 23, 3), (128, 4)): "resnext101_32x4d",
    ((3, 4, 23, 3), (256, 4)): "resnext101_64x4d",
    ((3, 4, 23, 3), (256, 8)): "resnext101_32x8d",
}
# Output layer -> rows of a class.
_CLASS_ROWS = {"box_head.class_logits": 1, "box_head.deltas": 4, "mask_head.mask_logits": 1}


def keep_coco_rows(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of 91 outputs, one for each of COCO's ids 0..90, keep the background's and those of the 80 ids in use."""
    kept = dict(state)
    for layer, rows in _CLASS_ROWS.items():
        for name in (f"{layer}.weight", f"{layer}.bias"):
            if name in state and len(state[name]) == 91 * rows:
                by_class = state[name].reshape(91, rows, *state[name].shape[1:])
                kept[name] = by_class[[0, *COCO.category_ids]].flatten(0, 1)
    return kept


def background_first(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Move the background's class logit from the last row to the first; give it boxes and masks, which are zero."""
    moved = dict(state)
    for layer, rows in _CLASS_ROWS.items():
        for name in (f"{layer}.weight", f"{layer}.bias"):
            if name in state and layer == "box_head.class_logits":
                moved[name] = state[name].roll(1, 0)
            elif name in state:
                moved[name] = torch.cat((torch.zeros_like(state[name][:rows]), state[name]))
    return moved


def with_epsilon(state: Mapping[str, Tensor], epsilon: float) -> dict[str, Tensor]:
    """Change the variances of batch norms of another epsilon, so that ours divides by the same number."""
    if epsilon == _EPSILON:
        return dict(state)
    return {
        name: (tensor.double() + (epsilon - _EPSILON)).to(tensor.dtype) if name.endswith("running_var") else tensor
        for name, tensor in state.items()
    }


def add_neck_biases(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the convs of a bottom-up path the bias that ours have also before a norm: zero."""
    added = dict(state)
    for name, tensor in state.items():
        layer = name.removesuffix(".conv.weight")
        if name.startswith("bottom_up.") and layer != name and f"{layer}.norm.weight" in state:
            added.setdefault(f"{layer}.conv.bias", tensor.new_zeros(len(tensor)))
    return added


def describe(state: Mapping[str, Tensor], source: str, settings: str = "") -> ModelConfig:
    """Give the settings of the model that a state dict is of: its parts by its names, the rest by its source.

    Args:
        state: under our names, the background's row first.
        source: one of `recognise.SOURCES`.
        settings: the training's settings as text, where the file has them (mmdetection).

    Raises:
        CheckpointError: the class logits are missing, or the backbone is no ResNet that we know.
    """
    backbone = _backbone(state)
    neck_norm, norm = _norm_of(state, "top_down."), _norm_of(state, "box_head.", "mask_head.")
    per_level = any(".fuse.adapt." in name for name in state)
    parts: dict[str, Any] = {
        "num_classes": len(_class_logits(state)) - 1,
        "norm": norm,
        "backbone": {"name": backbone},
        "neck": {
            "bottom_up": any(name.startswith("bottom_up.") for name in state),
            "norm": "same" if neck_norm == norm else neck_norm,
        },
        "pooling": {"levels": "all" if per_level else "assigned"},
        "box_head": {"kind": "2fc" if "box_head.shared.linear.weight" in state else "4conv1fc"},
        "mask_head": None,
        "short_side": 800,
        "max_side": 1333,
    }
    if any(name.startswith("mask_head.") for name in state):
        parts["mask_head"] = {"fc_path": any(name.startswith("mask_head.fc_path.") for name in state)}
    if "rpn.more_convs.0.weight" in state:
        parts["rpn"] = {"num_convs": 2}
    _add_habits(parts, source, settings)
    return ModelConfig.model_validate(parts)


def _norm_of(state: Mapping[str, Tensor], *parts: str) -> str:
    """Give the norm of a part of the network, by the names of its tensors."""
    names = [name for name in state if name.startswith(parts)]
    if any(name.endswith(".norm.running_mean") for name in names):
        return "batch"
    return "group" if any(name.endswith(".norm.weight") for name in names) else "none"


def _class_logits(state: Mapping[str, Tensor]) -> Tensor:
    logits = state.get("box_head.class_logits.weight")
    if logits is None or logits.ndim != 2 or len(logits) < 2:
        raise CheckpointError("the weight of the class logits is missing: the number of classes is unknown")
    return logits


def _backbone(state: Mapping[str, Tensor]) -> str:
    names = [name.split(".") for name in state if name.startswith("backbone.body.layer")]
    blocks = tuple(len({parts[3] for parts in names if parts[2] == f"layer{stage}"}) for stage in (1, 2, 3, 4))
    conv = state.get("backbone.body.layer1.0.conv2.weight")
    shape = tuple(conv.shape[:2]) if conv is not None else ()
    for (known_blocks, known_shape), name in _RESNETS.items():
        if blocks == known_blocks and shape in (known_shape, ()):
            return name
    raise CheckpointError(
        f"a backbone of {blocks} blocks, layer1.0.conv2 {shape}: known are {', '.join(_RESNETS.values())}"
    )


def _add_habits(parts: dict[str, Any], source: str, settings: str) -> None:
    """Add what a state dict does not tell: pixels, strides, anchors, the size at test."""
    plain = str(parts["backbone"]["name"]).startswith("resnet")
    if source == "official":
        parts["backbone"]["stride_in_1x1"] = True
        parts |= {"pixels": _BGR_2018, "arithmetic": "legacy"}
        parts |= {"short_side": 1000, "max_side": 1400}
    elif source == "torchvision":
        parts.setdefault("rpn", {})["infer_strides"] = True
        parts["arithmetic"] = "torchvision"
    elif source == "detectron2":
        parts["backbone"]["stride_in_1x1"] = plain
        parts["pixels"] = _BGR if plain else {**_BGR, "std": _RGB_STD[::-1]}
    if source in ("detectron2", "mmdetection"):
        parts["pooling"] |= {"samples": 0, "aligned": True}
        parts["rpn"] = {"round_anchors": False}
    if source == "mmdetection" and parts["neck"]["bottom_up"]:
        parts["neck"] |= {"bottom_up_relu": False, "chain_on_presum": True}
    if source == "mmdetection" and "'caffe'" in settings.replace('"', "'"):
        parts["backbone"]["stride_in_1x1"] = True
        parts["pixels"] = _BGR
