"""What a script for torchvision hands over, checked.

torchvision trains on most of what is refused here, or fails somewhere inside; nothing is corrected in silence.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors

from panet.errors import DataError
from panet.structures import Size, Target

__all__ = ["read_images", "read_targets"]

_SLACK = 1e-3  # by which rounding may carry a pixel out of 0..1


def read_images(images: Iterable[Tensor], device: torch.device) -> list[Tensor]:
    """Give the pictures of a batch as plain tensors, (3, H, W) float32 RGB in 0..1.

    Args:
        images: a list of them, of any sizes, or a (B, 3, H, W) tensor.
        device: where they must be.

    Raises:
        DataError: there is none, or one is of another kind, shape, dtype, range or device.
    """
    pictures = list(images)
    if not pictures:
        raise DataError("images: an empty list: give at least one picture")
    for index, image in enumerate(pictures):
        _check_image(image, f"images[{index}]", device)
    return [image.as_subclass(Tensor).to(torch.float32) for image in pictures]


def _check_image(image: Any, where: str, device: torch.device) -> None:
    if not isinstance(image, Tensor):
        raise DataError(f"{where}: a {type(image).__name__}: expected a tensor; torchvision's to_tensor makes one")
    if image.ndim != 3 or image.shape[0] != 3 or not image.numel():
        raise DataError(
            f"{where}: shape {tuple(image.shape)}: expected (3, height, width), RGB; expand a grey picture to 3 "
            "channels, and give pictures as a list"
        )
    if not image.is_floating_point():
        raise DataError(f"{where}: {image.dtype}: expected float in 0..1; write image.float() / 255")
    _check_device(image, where, device)
    low, high = (float(value) for value in image.aminmax())
    if not (low >= -_SLACK and high <= 1 + _SLACK):
        cure = "leave out Normalize, the model does it" if low < -_SLACK else "divide by 255, and look for NaN"
        raise DataError(f"{where}: values from {low:.4g} to {high:.4g}: expected 0..1; {cure}")


def read_targets(
    targets: Sequence[Mapping[str, Any]] | None,
    sizes: Sequence[Size],
    num_classes: int,
    masks: bool,
    device: torch.device,
) -> list[Target]:
    """Give the targets of a batch, in image px.

    Args:
        targets: a dict a picture: boxes (N, 4) float xyxy in image px; labels (N,) int64 in 1..K; masks (N, H, W) uint8
            or bool; if they are there, iscrowd (N,) and image_id. Other keys are not read.
        sizes: B pairs (H, W), the pictures'.
        num_classes: K, without the background.
        masks: whether they are needed; else they are not read, and are (N, 0, 0) in the result.
        device: where the tensors must be.

    Raises:
        DataError: names the picture, the key, what was expected and what to do.
    """
    if targets is None:
        raise DataError("targets: none: training needs them; give a dict a picture, or call model.eval() first")
    if len(targets) != len(sizes):
        raise DataError(f"targets: {len(targets)} for {len(sizes)} pictures: give one dict a picture, in their order")
    needed = ("boxes", "labels", "masks") if masks else ("boxes", "labels")
    read = []
    for index, (target, size) in enumerate(zip(targets, sizes, strict=True)):
        where = f"targets[{index}]"
        _check_keys(target, where, needed, device)
        boxes = _read_boxes(target["boxes"], where, size)
        labels = _read_labels(target["labels"], where, len(boxes), num_classes)
        crowd = _read_crowd(target.get("iscrowd"), where, labels)
        shown = _read_masks(target["masks"], where, len(boxes), size) if masks else crowd.new_zeros(len(boxes), 0, 0)
        read.append(Target(boxes, labels, shown, crowd, _read_id(target.get("image_id", index), where)))
    return read


def _check_keys(target: Any, where: str, needed: Sequence[str], device: torch.device) -> None:
    if not isinstance(target, Mapping):
        raise DataError(f"{where}: a {type(target).__name__}: expected a dict with {', '.join(needed)}")
    for key in needed:
        if key not in target:
            raise DataError(f"{where}: no {key!r}: expected {', '.join(needed)}; a picture of nothing has 0 of each")
        if not isinstance(target[key], Tensor):
            raise DataError(f"{where}.{key}: a {type(target[key]).__name__}: expected a tensor; use torch.as_tensor")
        _check_device(target[key], f"{where}.{key}", device)


def _check_device(tensor: Tensor, where: str, device: torch.device) -> None:
    if tensor.device != device:
        raise DataError(f"{where}: on {tensor.device}, the model is on {device}; move one of them with .to()")


def _read_boxes(boxes: Tensor, where: str, size: Size) -> Tensor:
    where = f"{where}.boxes"
    if isinstance(boxes, tv_tensors.BoundingBoxes) and boxes.format != tv_tensors.BoundingBoxFormat.XYXY:
        raise DataError(f"{where}: format {boxes.format.value}: expected XYXY; use v2.ConvertBoundingBoxFormat('XYXY')")
    boxes = boxes.as_subclass(Tensor)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise DataError(f"{where}: shape {tuple(boxes.shape)}: expected (N, 4); of no object, torch.zeros(0, 4)")
    if not boxes.is_floating_point():
        raise DataError(f"{where}: {boxes.dtype}: expected float32, px; write boxes.float()")
    _check_each(torch.isfinite(boxes).all(1), boxes, where, "is not finite", "remove it")
    _check_each(
        (boxes[:, 2:] > boxes[:, :2]).all(1),
        boxes,
        where,
        "has no area",
        "boxes are x1, y1, x2, y2, not x, y, width, height; remove it if there is nothing",
    )
    reached = (boxes[:, 2:] > 0).all(1) & (boxes[:, :2] < boxes.new_tensor([size[1], size[0]])).all(1)
    cure = "clip boxes to the picture after cropping, and remove what is empty then"
    _check_each(reached, boxes, where, f"lies outside of the picture of {size[1]} x {size[0]} px", cure)
    return boxes.to(torch.float32)


def _check_each(good: Tensor, boxes: Tensor, where: str, problem: str, cure: str) -> None:
    if good.all():
        return
    index = int((~good).nonzero()[0])
    numbers = ", ".join(f"{value:.6g}" for value in boxes[index].tolist())
    raise DataError(f"{where}[{index}]: [{numbers}] {problem}: {cure}")


def _read_labels(labels: Tensor, where: str, count: int, num_classes: int) -> Tensor:
    where = f"{where}.labels"
    if labels.dtype != torch.int64:
        raise DataError(f"{where}: {labels.dtype}: expected torch.int64; write labels.to(torch.int64)")
    if labels.shape != (count,):
        raise DataError(f"{where}: shape {tuple(labels.shape)}: expected ({count},), one a box")
    wrong = ((labels < 1) | (labels > num_classes)).nonzero()
    if len(wrong):
        index = int(wrong[0])
        raise DataError(
            f"{where}[{index}]: {int(labels[index])}: expected 1..{num_classes}, 0 is the background; count classes "
            "from 1, and give num_classes with the background"
        )
    return labels.as_subclass(Tensor)


def _read_masks(masks: Tensor, where: str, count: int, size: Size) -> Tensor:
    where = f"{where}.masks"
    if masks.dtype not in (torch.bool, torch.uint8):
        raise DataError(f"{where}: {masks.dtype}: expected torch.uint8 or torch.bool; write masks > 0")
    if masks.shape != (count, *size):
        raise DataError(
            f"{where}: shape {tuple(masks.shape)}: expected {(count, *size)}, one a box, of the picture's size; "
            "resize, flip and crop them with the picture"
        )
    if masks.dtype == torch.uint8 and masks.numel() and masks.max() > 1:
        raise DataError(f"{where}: values up to {int(masks.max())}: expected 0 and 1; write masks > 0")
    return masks.as_subclass(Tensor).to(torch.bool)


def _read_crowd(crowd: Any, where: str, labels: Tensor) -> Tensor:
    if crowd is None:
        return torch.zeros_like(labels, dtype=torch.bool)
    where = f"{where}.iscrowd"
    if not isinstance(crowd, Tensor) or crowd.is_floating_point() or crowd.shape != labels.shape:
        what = f"{crowd.dtype} {tuple(crowd.shape)}" if isinstance(crowd, Tensor) else f"a {type(crowd).__name__}"
        raise DataError(f"{where}: {what}: expected ({len(labels)},) whole numbers, one a box, or leave it out")
    _check_device(crowd, where, labels.device)
    if ((crowd != 0) & (crowd != 1)).any():
        raise DataError(f"{where}: expected 0 and 1, 1 for a crowd; there are other numbers; correct them")
    return crowd.as_subclass(Tensor).to(torch.bool)


def _read_id(image_id: Any, where: str) -> int | str:
    if isinstance(image_id, Tensor) and image_id.numel() == 1:
        image_id = image_id.item()
    if not isinstance(image_id, int | str):
        raise DataError(f"{where}.image_id: a {type(image_id).__name__}: expected an int or a str, or leave it out")
    return image_id
