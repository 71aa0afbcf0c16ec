"""A training step, of PANet and of torchvision's Mask R-CNN, on the same drawn rectangles."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from panet.bench.candidates import TORCHVISION
from panet.structures import Batch, ImageBatch, Size, Target

__all__ = ["draw_batch", "panet_step", "torchvision_step"]

_NUM_OBJECTS = 10
_RATE = 1e-6  # so small that thirty steps leave the random weights what they are


def draw_batch(num_images: int, size: Size, num_classes: int) -> Batch:
    """Draw pictures of noise, each with ten rectangles of 40 px and more as objects; channels last."""
    generator = torch.Generator().manual_seed(0)
    height, width = size
    pixels = torch.randn(num_images, height, width, 3, generator=generator).permute(0, 3, 1, 2)
    targets = tuple(_draw_target(i, size, num_classes, generator) for i in range(num_images))
    return Batch(ImageBatch(pixels, (size,) * num_images, (size,) * num_images), targets)


def _draw_target(image_id: int, size: Size, num_classes: int, generator: torch.Generator) -> Target:
    height, width = size
    share = torch.rand(_NUM_OBJECTS, 4, generator=generator)
    room = torch.tensor([width - 40.0, height - 40.0])
    start = share[:, :2] * room
    boxes = torch.cat((start, start + 40 + share[:, 2:] * (room - start)), dim=1).round()
    masks = torch.zeros(_NUM_OBJECTS, height, width, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = True
    labels = torch.randint(1, num_classes + 1, (_NUM_OBJECTS,), generator=generator)
    return Target(boxes, labels, masks, torch.zeros(_NUM_OBJECTS, dtype=torch.bool), image_id)


def panet_step(objective: nn.Module, batch: Batch, dtype: torch.dtype, *, naive: bool = False) -> Callable[[], float]:
    """Give what is timed: forward, backward and update of an `Objective`, in bf16 autocast if that is the type.

    A `naive` one gets its pictures channels first, or all layers would take over the other order from them, and
    torch's default optimizer.
    """
    optimizer = _optimizer(objective, fused=None if naive else True)  # fused as `train.optimizer` builds it
    if naive:
        batch = replace(batch, images=replace(batch.images, tensor=batch.images.tensor.contiguous()))

    def run() -> float:
        optimizer.zero_grad(set_to_none=True)  # where `train.loop` has it
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            losses: dict[str, Tensor] = objective(batch, torch.Generator().manual_seed(0))
        return _update(optimizer, losses)

    return run


def torchvision_step(version: str, batch: Batch, num_classes: int) -> Callable[[], float]:
    """Give what is timed of torchvision's model "v1" or "v2", whose stem and first stage do not train, as PANet's."""
    height, width = batch.images.sizes[0]
    model: Any = TORCHVISION[version](
        weights=None,
        weights_backbone=None,
        num_classes=num_classes + 1,
        min_size=min(height, width),
        max_size=max(height, width),
    )
    # As with PANet's default; torchvision trains all of a backbone that comes without weights.
    for name, parameter in model.backbone.body.named_parameters():
        parameter.requires_grad_(name.startswith(("layer2", "layer3", "layer4")))
    model.train()
    optimizer = _optimizer(model, fused=None)  # as torchvision's references do
    images = [image.contiguous() for image in batch.images.tensor]
    targets = [
        {"boxes": target.boxes, "labels": target.labels, "masks": target.masks.to(torch.uint8)}
        for target in batch.targets
    ]

    def run() -> float:
        losses = model(images, targets)
        optimizer.zero_grad(set_to_none=True)  # where torchvision's references have it
        return _update(optimizer, losses)

    return run


def _optimizer(model: nn.Module, *, fused: bool | None) -> torch.optim.Optimizer:
    trained = [each for each in model.parameters() if each.requires_grad]
    return torch.optim.SGD(trained, lr=_RATE, momentum=0.9, fused=fused)


def _update(optimizer: torch.optim.Optimizer, losses: dict[str, Tensor]) -> float:
    total = torch.stack([loss.float() for loss in losses.values()]).sum()
    total.backward()  # type: ignore[no-untyped-call]  # torch has no types there
    optimizer.step()
    return float(total.detach())
