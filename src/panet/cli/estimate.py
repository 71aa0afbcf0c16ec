"""What training takes of memory, by shapes alone: nothing is run and nothing is allocated. Heavy to import."""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from panet.config import Config, DataConfig, ModelConfig
from panet.model.bottom_up import with_coarser_level
from panet.model.build import build_model
from panet.model.fusion import AdaptivePooling, AssignedPooling
from panet.model.panet import PANet
from panet.structures import Pyramid, Size

__all__ = [
    "GIB",
    "describe_memory",
    "estimate_memory",
    "largest_input",
    "meta_model",
    "padded",
    "run_stages",
    "saved_bytes",
]

GIB = 2**30


def meta_model(config: ModelConfig) -> PANet:
    """Build a model on the meta device: shapes without values, no starting weights; heads pool by shape alone."""
    with torch.device("meta"):
        model = build_model(config, load_backbone=False)
    for head in (model.box_head, model.mask_head):
        if head is not None:
            assert isinstance(head.pooling, AdaptivePooling | AssignedPooling)
            head.pooling = _ShapesOnly(head.pooling)
    return model


def describe_memory(parts: Mapping[str, int], config: Config, num_images: int, size: Size) -> list[str]:
    """Give the parts of `estimate_memory` and their sum."""
    listed = " + ".join(f"{name} {part / GIB:.2f}" for name, part in parts.items())
    height, width = size
    num_rois, num_masks = _num_rois(config)
    return [
        f"memory: about {sum(parts.values()) / GIB:.1f} GiB = {listed}",
        f"  activations: what autograd keeps of one forward pass in fp32, by shapes alone (meta device): {num_images} "
        f"pictures of {height} x {width} px, {num_rois} RoIs and {num_masks} masks each; losses and workspaces not "
        "counted",
    ]


def estimate_memory(model: PANet, config: Config, num_images: int, size: Size) -> dict[str, int]:
    """Estimate what training takes, in bytes: weights, gradients, optimizer and average are exact, activations are not.

    Args:
        model: from `meta_model`, in train mode.
        config: how it trains.
        num_images: of a batch.
        size: (H, W) of the padded batch.
    """
    weights = sum(_num_bytes(tensor) for tensor in _state(model))
    gradients = sum(_num_bytes(parameter) for parameter in model.parameters() if parameter.requires_grad)
    parts = {
        "weights": weights,
        "gradients": gradients,
        "optimizer": gradients * (1 if config.train.optimizer == "sgd" else 2),
        "average": weights if config.train.ema_decay is not None else 0,
    }
    activations = saved_bytes(model, num_images, size, *_num_rois(config))
    return {name: part for name, part in parts.items() if part} | {"activations": activations}


def _num_rois(config: Config) -> tuple[int, int]:
    """Give the numbers of RoIs of a picture that train the boxes and the masks."""
    rois = config.objective.roi_samples
    masks = int(rois * config.objective.roi_positive_fraction)
    return rois, min(masks, config.objective.mask_samples or masks)


def largest_input(loading: DataConfig) -> Size:
    """Give the padded size of the largest training picture."""
    if loading.crop is not None:
        return padded(loading.crop[0]), padded(loading.crop[1])
    factor = max(1.0, loading.scale_jitter[1]) if loading.scale_jitter is not None else 1.0
    short = min(max(loading.short_sides), loading.max_side)
    return padded(short * factor), padded(loading.max_side * factor)


def saved_bytes(model: PANet, num_images: int, size: Size, num_boxes: int, num_masks: int) -> int:
    """Count the bytes that autograd keeps for the backward pass, parameters not counted, each storage once."""
    own = {tensor.untyped_storage()._cdata for tensor in _state(model)}
    kept: dict[int, Tensor] = {}  # holds the tensors, so that no storage's address is used twice

    def keep(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage()._cdata
        if address not in own:
            kept[address] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        run_stages(model, num_images, size, num_boxes, num_masks)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def run_stages(model: PANet, num_images: int, size: Size, num_boxes: int, num_masks: int) -> None:
    """Run every layer of a model from `meta_model`; selecting proposals and detections wants values, and is left out.

    Args:
        model: the layers.
        num_images: B.
        size: (H, W) of the padded input.
        num_boxes: RoIs a picture through the box head.
        num_masks: RoIs a picture through the mask head.
    """
    n = model.features(torch.empty(num_images, 3, *size, device="meta"))
    model.rpn(with_coarser_level(n))
    model.box_head(n, [torch.empty(num_boxes, 4, device="meta")] * num_images)
    if model.mask_head is not None:
        model.mask_head(n, [torch.empty(num_masks, 4, device="meta")] * num_images)


class _ShapesOnly(nn.Module):
    """A head's pooling whose grids have their shape alone: which feature pixels they are of wants the boxes' values."""

    def __init__(self, pooling: AdaptivePooling | AssignedPooling) -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, n: Pyramid, boxes: Sequence[Tensor]) -> Tensor:
        shape = (sum(map(len, boxes)), n[2].shape[1], self.pooling.size, self.pooling.size)
        grids = {k: torch.empty(shape, device="meta", requires_grad=torch.is_grad_enabled()) for k in n}
        if isinstance(self.pooling, AdaptivePooling):
            return cast("Tensor", self.pooling.fuse(grids))
        return cast("Tensor", self.pooling.layer(grids[2]))


def _state(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _num_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def padded(side: float) -> int:
    """Round a side up to a multiple of 32, as batches are."""
    return -(-round(side) // 32) * 32
