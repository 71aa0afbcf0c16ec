"""What training does to a picture and its objects together.

First a view is chosen (which window of the picture, at what size) from the picture's size alone, so that only the
masks that are seen are decoded, at the size they are used. Then the sample is flipped and coloured.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from panet.ops.resize import resize_bilinear
from panet.structures import Arithmetic, Size

__all__ = [
    "ColourJitter",
    "HorizontalFlip",
    "RandomCrop",
    "ResizeShortSide",
    "Sample",
    "ScaleJitter",
    "Transform",
    "VerticalFlip",
    "View",
    "ViewRule",
    "apply_view",
    "view_at_scale",
    "view_for_test",
]


@dataclass(frozen=True)
class Sample:
    """A picture and its G objects, in input px.

    Args:
        image: (3, h, w) RGB, uint8, or unrounded float32 of a view with a factor; of a late view, not yet resized.
        boxes: (G, 4) float32 xyxy.
        labels: (G,) int64 in 1..K.
        masks: (G, h, w) bool.
        crowd: (G,) bool.
        image_id: the picture's id in its data set.
        original_size: (H0, W0) of the file, upright.
        factor: of the view.
        late_size: of the view.
    """

    image: tv_tensors.Image
    boxes: tv_tensors.BoundingBoxes
    labels: Tensor
    masks: tv_tensors.Mask
    crowd: Tensor
    image_id: int | str
    original_size: Size
    factor: float | None = None
    late_size: Size | None = None


@dataclass(frozen=True)
class View:
    """A window of a picture, image px, and the (height, width) it is resized to.

    With a `factor`, both sides are enlarged by exactly it, without antialias and unrounded. A `late` window keeps its
    pixels until they are normalised and is resized then, without antialias (torchvision).
    """

    top: int
    left: int
    height: int
    width: int
    size: Size
    factor: float | None = None
    late: bool = False

    @property
    def late_size(self) -> Size | None:
        """Give the size that is still to be made, if any."""
        return self.size if self.late else None


ViewRule: TypeAlias = Callable[[Size, torch.Generator], View]
Transform: TypeAlias = Callable[[Sample, torch.Generator], Sample]


def view_for_test(size: Size, short_side: int, max_side: int, arithmetic: Arithmetic = "modern") -> View:
    """View the whole picture, its shorter side resized to `short_side`, but the longer one at most to `max_side`.

    See `view_at_scale` for the arithmetic.
    """
    factor = min(short_side / min(size), max_side / max(size))
    if arithmetic == "legacy" and round(short_side / min(size) * max(size)) <= max_side:
        factor = short_side / min(size)  # the limit is for the rounded side
    return view_at_scale(size, factor, arithmetic)


def view_at_scale(size: Size, factor: float, arithmetic: Arithmetic = "modern") -> View:
    """View the whole picture, both sides times a factor, in whole pixels.

    By "legacy" arithmetic it is enlarged by exactly the factor as in 2018; by "torchvision" without antialias, its
    sides cut to whole pixels, not rounded.
    """
    if arithmetic == "torchvision":
        height, width = (max(1, math.floor(side * factor)) for side in size)
        return View(0, 0, *size, (height, width), late=True)
    return View(0, 0, *size, _scaled(size, factor), factor if arithmetic == "legacy" else None)


def apply_view(image: Tensor, view: View) -> Tensor:
    """Cut the window out of (3, H, W) uint8 and resize it, unless late; costs the window, not the picture."""
    window: Tensor = functional.crop(image, view.top, view.left, view.height, view.width)
    if view.factor is not None:
        return resize_bilinear(window.to(torch.float32), view.size, view.factor)
    if view.late:
        return window
    return _resize(window, view.size)


@dataclass(frozen=True)
class ResizeShortSide:
    """The whole picture; its shorter side is drawn from several (multi-scale training, Sec. 4.1)."""

    short_sides: tuple[int, ...]
    max_side: int
    arithmetic: Arithmetic = "modern"

    def __call__(self, size: Size, generator: torch.Generator) -> View:
        short_side = self.short_sides[_draw_index(len(self.short_sides), generator)]
        return view_for_test(size, short_side, self.max_side, self.arithmetic)


@dataclass(frozen=True)
class ScaleJitter:
    """Large-scale jitter: ResizeShortSide times a drawn factor, then a random crop of at most `crop` px.

    A picture that has become smaller than the crop stays as it is; the batch pads it with zeros.
    """

    resize: ResizeShortSide
    factors: tuple[float, float]
    crop: Size

    def __call__(self, size: Size, generator: torch.Generator) -> View:
        resized = self.resize(size, generator).size
        factor = _draw_between(*self.factors, generator)
        height, width = _scaled(resized, factor)
        # The crop's window in the picture itself: what will be cut off is never resized.
        window = (
            min(size[0], max(1, round(self.crop[0] * size[0] / height))),
            min(size[1], max(1, round(self.crop[1] * size[1] / width))),
        )
        top, left = _draw_corner(size, window, generator)
        return View(top, left, *window, (min(height, self.crop[0]), min(width, self.crop[1])))


@dataclass(frozen=True)
class RandomCrop:
    """A random window of at most `crop` px at the picture's own scale, for large pictures."""

    crop: Size

    def __call__(self, size: Size, generator: torch.Generator) -> View:
        window = min(size[0], self.crop[0]), min(size[1], self.crop[1])
        top, left = _draw_corner(size, window, generator)
        return View(top, left, *window, window)


@dataclass(frozen=True)
class HorizontalFlip:
    """Left for right, with a probability."""

    probability: float

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        if _draw_between(0, 1, generator) >= self.probability:
            return sample
        return _flipped(sample, functional.horizontal_flip)


@dataclass(frozen=True)
class VerticalFlip:
    """Top for bottom, with a probability."""

    probability: float

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        if _draw_between(0, 1, generator) >= self.probability:
            return sample
        return _flipped(sample, functional.vertical_flip)


@dataclass(frozen=True)
class ColourJitter:
    """Brightness, contrast and saturation, in this order, each times a factor in 1 - strength .. 1 + strength."""

    strength: float

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        image = sample.image
        for adjust in (
            functional.adjust_brightness,
            functional.adjust_contrast,
            functional.adjust_saturation,
        ):
            image = adjust(image, _draw_between(1 - self.strength, 1 + self.strength, generator))
        return replace(sample, image=image)


def _flipped(sample: Sample, flip: Callable[[Any], Any]) -> Sample:
    return replace(sample, image=flip(sample.image), boxes=flip(sample.boxes), masks=flip(sample.masks))


def _resize(image: Tensor, size: Size) -> Tensor:
    resized: Tensor = functional.resize(image, list(size), antialias=True)
    return resized


def _scaled(size: Size, scale: float) -> Size:
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _draw_index(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


def _draw_between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _draw_corner(size: Size, window: Size, generator: torch.Generator) -> tuple[int, int]:
    """Draw (top, left) so that the window lies in the picture."""
    return (
        _draw_index(size[0] - window[0] + 1, generator),
        _draw_index(size[1] - window[1] + 1, generator),
    )
