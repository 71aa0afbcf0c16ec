"""`panet train --dry-run`: what a recipe would do, without doing it. Heavy to import; nothing is written."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from panet.cli.summary import describe_data, describe_model, describe_plan, warn_of_random_backbone
from panet.cli.training import fit_classes, read_splits
from panet.config import Config, DataConfig, ModelConfig
from panet.data.build import steps_per_epoch
from panet.data.images import printable
from panet.model.bottom_up import with_coarser_level
from panet.model.build import build_model
from panet.model.fusion import AdaptivePooling, AssignedPooling
from panet.model.panet import PANet
from panet.predict.predictor import pick_device
from panet.structures import Pyramid, Size
from panet.train.build import base_rate, build_plan

__all__ = ["describe_memory", "describe_schedule", "dry_run", "meta_model", "run_stages", "saved_bytes"]

_GIB = 2**30


def dry_run(config: Config, *, data_must_exist: bool) -> None:
    """Print the model, its memory, the learning rate and schedule, and check the data.

    Args:
        config: `data.root` is set.
        data_must_exist: a data set that is not there is an error, not a line that says so.

    Raises:
        PANetError: in the settings, or in the data that is there.
    """
    console = Console(highlight=False)
    lines = []
    device = pick_device(config.train.device)
    if data_must_exist or Path(config.data.root).exists():
        splits = read_splits(config, console)
        config = fit_classes(config, splits.train.label_map)
        lines += [describe_data("train", splits.train), describe_data("val", splits.val)]
        batches_per_epoch = steps_per_epoch(splits.train, config.data)
        plan = build_plan(config.train, device, batches_per_epoch)
        lines += [describe_plan(plan, config, batches_per_epoch), describe_schedule(config, plan.num_steps)]
    else:
        lines += [f"data: {printable(config.data.root)} is not there: not checked", describe_schedule(config, None)]
    model = meta_model(config.model).train()
    warning = warn_of_random_backbone(config)
    lines = [describe_model(model, config), *describe_memory(model, config), *lines, *([warning] if warning else [])]
    for line in [*lines, "dry run: nothing was trained or written"]:
        console.print(line, markup=False, soft_wrap=True)


def meta_model(config: ModelConfig) -> PANet:
    """Build a model on the meta device: shapes without values, no starting weights; heads pool by shape alone."""
    with torch.device("meta"):
        model = build_model(config, load_backbone=False)
    for head in (model.box_head, model.mask_head):
        if head is not None:
            assert isinstance(head.pooling, AdaptivePooling | AssignedPooling)
            head.pooling = _ShapesOnly(head.pooling)
    return model


def describe_schedule(config: Config, num_steps: int | None) -> str:
    """Give the learning rate, how the batch scales it, and where it falls; `num_steps` None: not known."""
    train, batch = config.train, config.data.batch_size
    pictures, rate = batch * train.accumulate, base_rate(train, batch)
    if train.scale_learning_rate:
        scaling = f"{train.learning_rate:g} for 16 pictures x {pictures} pictures a step / 16 = {rate:g}"
    else:
        scaling = f"{rate:g} for any batch ({pictures} pictures a step)"
    if num_steps is not None or train.steps is not None:
        total = num_steps or train.steps or 0
        length = f"{total:,} steps"
        falls = ", ".join(f"{share * total:,.0f}" for share in train.milestones)
    else:
        length = f"{train.epochs:g} epochs (steps: epochs x pictures / {pictures}, so they scale with the batch)"
        falls = ", ".join(f"{share * train.epochs:.4g}" for share in train.milestones)
    shape = f"a tenth after {falls}" if train.schedule == "step" else "half a cosine to 0"
    warmup = f"warm-up of {train.warmup_steps} steps from {train.warmup_factor:.3g} of it"
    return f"learning rate: {scaling}; {warmup}; {length}, {shape}"


def describe_memory(model: PANet, config: Config) -> list[str]:
    """Estimate what training takes: weights, gradients, optimizer and average are exact, activations are not."""
    train, batch = config.train, config.data.batch_size
    weights = sum(_num_bytes(tensor) for tensor in _state(model))
    gradients = sum(_num_bytes(parameter) for parameter in model.parameters() if parameter.requires_grad)
    optimizer = gradients * (1 if train.optimizer == "sgd" else 2)
    average = weights if train.ema_decay is not None else 0
    height, width = largest_input(config.data)
    rois = config.objective.roi_samples
    masks = int(rois * config.objective.roi_positive_fraction)
    masks = min(masks, config.objective.mask_samples or masks)
    activations = saved_bytes(model, batch, (height, width), rois, masks)
    parts = {"weights": weights, "gradients": gradients, "optimizer": optimizer, "average": average}
    parts = {name: size for name, size in parts.items() if size} | {"activations": activations}
    listed = " + ".join(f"{name} {size / _GIB:.2f}" for name, size in parts.items())
    return [
        f"memory: about {sum(parts.values()) / _GIB:.1f} GiB = {listed}",
        f"  activations: what autograd keeps of one forward pass in fp32, by shapes alone (meta device): {batch} "
        f"pictures of {height} x {width} px, {rois} RoIs and {masks} masks each; losses and workspaces not counted",
    ]


def largest_input(loading: DataConfig) -> Size:
    """Give the padded size of the largest training picture."""
    if loading.crop is not None:
        return _padded(loading.crop[0]), _padded(loading.crop[1])
    factor = max(1.0, loading.scale_jitter[1]) if loading.scale_jitter is not None else 1.0
    short = min(max(loading.short_sides), loading.max_side)
    return _padded(short * factor), _padded(loading.max_side * factor)


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


def _padded(side: float) -> int:
    return -(-round(side) // 32) * 32
