"""The values that pass between the stages: frozen, and checked when built.

Letters: B images, H W padded input, G ground-truth objects, D detections, K classes, M mask side.
"Input px" are pixels of the resized, padded network input; "image px" are pixels of the upright original picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from panet.errors import ConfigError, nearest

__all__ = [
    "TTA",
    "Arithmetic",
    "Batch",
    "Detections",
    "ImageBatch",
    "LabelMap",
    "Pyramid",
    "Size",
    "Source",
    "Target",
    "Views",
]

Pyramid: TypeAlias = dict[int, Tensor]
"""Level k -> (B, C, H_k, W_k), stride 2**k; called c, p or n as in the paper."""

Size: TypeAlias = tuple[int, int]
"""(height, width), un-padded."""

Arithmetic: TypeAlias = Literal["modern", "torchvision", "legacy"]
"""Whose way of resizing pictures and pasting masks a model's weights go with; see `config.ModelConfig`."""


@dataclass(frozen=True)
class ImageBatch:
    """Pictures padded at the right and bottom to one size.

    Args:
        tensor: (B, 3, H, W) normalised pixels; H and W are multiples of 32.
        sizes: B pairs (h, w) in input px before padding.
        original_sizes: B pairs (H0, W0) in image px.
        factors: B factors of both sides between the two sizes, if other than what the rounded sizes tell.
    """

    tensor: Tensor
    sizes: tuple[Size, ...]
    original_sizes: tuple[Size, ...]
    factors: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        assert self.tensor.ndim == 4, self.tensor.shape
        assert len(self.tensor) == len(self.sizes) == len(self.original_sizes)
        height, width = self.tensor.shape[-2:]
        assert all(h <= height and w <= width for h, w in self.sizes), (self.sizes, self.tensor.shape)
        assert self.factors is None or len(self.factors) == len(self.sizes)

    @property
    def scales(self) -> tuple[tuple[float, float], ...]:
        """Give B pairs (y, x): input px per image px."""
        if self.factors is not None:
            return tuple((factor, factor) for factor in self.factors)
        return tuple(
            (size[0] / original[0], size[1] / original[1])
            for size, original in zip(self.sizes, self.original_sizes, strict=True)
        )

    def __len__(self) -> int:
        return len(self.sizes)

    def to(self, device: torch.device) -> "ImageBatch":
        return replace(self, tensor=self.tensor.to(device, non_blocking=True))


@dataclass(frozen=True)
class Views:
    """One picture, seen several times: at other sizes, and mirrored left for right before it was resized.

    Args:
        images: the views, each a batch of one; the first is not mirrored.
        mirrored: whether each is.
        image_id: the picture's id in its data set, if it has one.
    """

    images: tuple[ImageBatch, ...]
    mirrored: tuple[bool, ...]
    image_id: int | str = ""

    def __post_init__(self) -> None:
        assert len(self.images) == len(self.mirrored) > 0
        assert not self.mirrored[0]
        assert all(len(image) == 1 for image in self.images)
        assert len({image.original_sizes for image in self.images}) == 1

    def __len__(self) -> int:
        return len(self.images)

    @property
    def original_size(self) -> Size:
        return self.images[0].original_sizes[0]

    def to(self, device: torch.device) -> "Views":
        return replace(self, images=tuple(image.to(device) for image in self.images))


@dataclass(frozen=True)
class TTA:
    """Test-time augmentation: how often a picture is seen, and what becomes of all that is found in it.

    The defaults are those of the paper's entry to the COCO challenge (Sec. 4.2, Table 6): with a model whose shorter
    side is 1000, sides of 600, 800, 1000 and 1200, mirrored too, masks averaged, boxes voted.

    Args:
        scales: factors on the model's shorter side; its longest side stays the limit, and equal sizes count once.
        flip: whether each size is seen mirrored too.
        soft_nms: "linear" or "gaussian", see `ops.suppression.soft_suppress`.
        box_voting: IoU of at least which a candidate has a vote, see `ops.suppression.vote`.

    Raises:
        ConfigError: a value is unknown or out of range.
    """

    scales: tuple[float, ...] = (0.6, 0.8, 1.0, 1.2)
    flip: bool = True
    soft_nms: Literal["linear", "gaussian"] | None = None
    box_voting: float | None = 0.8

    def __post_init__(self) -> None:
        if not self.scales:
            raise ConfigError("TTA scales: none: give at least one, 1 for the model's own size")
        for scale in self.scales:
            if not 0.1 <= scale <= 10:
                raise ConfigError(f"TTA scale {scale}: expected 0.1 to 10, a factor on the model's size, not px")
        if self.soft_nms not in (None, "linear", "gaussian"):
            hint = nearest(str(self.soft_nms), ("linear", "gaussian"))
            raise ConfigError(f"soft-NMS {self.soft_nms!r} is unknown{hint}: choose linear or gaussian")
        if self.box_voting is not None and not 0 < self.box_voting <= 1:
            raise ConfigError(f"box voting {self.box_voting}: expected an IoU above 0 and up to 1")


@dataclass(frozen=True)
class Target:
    """What one picture shows, in input px.

    Args:
        boxes: (G, 4) float32 xyxy.
        labels: (G,) int64 in 1..K.
        masks: (G, h, w) bool.
        crowd: (G,) bool; a crowd is never a positive, and what lies in it is not a negative.
        image_id: the picture's id in its data set.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor
    crowd: Tensor
    image_id: int | str

    def __post_init__(self) -> None:
        num_objects = len(self.boxes)
        assert self.boxes.shape == (num_objects, 4), self.boxes.shape
        assert self.labels.shape == self.crowd.shape == (num_objects,)
        assert self.masks.ndim == 3, self.masks.shape
        assert len(self.masks) == num_objects
        assert self.masks.dtype == self.crowd.dtype == torch.bool

    def __len__(self) -> int:
        return len(self.boxes)

    def to(self, device: torch.device) -> "Target":
        return replace(
            self,
            boxes=self.boxes.to(device, non_blocking=True),
            labels=self.labels.to(device, non_blocking=True),
            masks=self.masks.to(device, non_blocking=True),
            crowd=self.crowd.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class Source:
    """Where a picture of a batch comes from; of (seed, epoch, index) all that was drawn for it is a function."""

    epoch: int
    index: int
    file_name: str


@dataclass(frozen=True)
class Batch:
    """Pictures with their targets, in the same order, and where they come from, unless they are of no data set."""

    images: ImageBatch
    targets: tuple[Target, ...]
    sources: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.images) == len(self.targets)
        assert not self.sources or len(self.sources) == len(self.targets)

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def image_ids(self) -> list[int | str]:
        return [target.image_id for target in self.targets]

    def pin_memory(self) -> "Batch":
        """Pin the pictures for quick copies to a GPU; a DataLoader calls this by name."""
        return replace(self, images=replace(self.images, tensor=self.images.tensor.pin_memory()))

    def to(self, device: torch.device) -> "Batch":
        return Batch(self.images.to(device), tuple(target.to(device) for target in self.targets), self.sources)


@dataclass(frozen=True)
class Detections:
    """What a model found in one picture, best first. The frame (input px or image px) is the producer's to say.

    Args:
        boxes: (D, 4) xyxy.
        scores: (D,) in 0..1.
        labels: (D,) int64 in 1..K.
        mask_grids: (D, M, M) probabilities on a grid that spans each box, or None without a mask branch.
        inclusive: x2, y2 name the last pixel (models of 2018).
        grown: masks are pasted with a rim, in whole px (models of 2018 and torchvision's), see `ops.paste.paste_mask`.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    mask_grids: Tensor | None = None
    inclusive: bool = False
    grown: bool = False

    def __post_init__(self) -> None:
        num_detections = len(self.boxes)
        assert self.boxes.shape == (num_detections, 4), self.boxes.shape
        assert self.scores.shape == self.labels.shape == (num_detections,)
        if self.mask_grids is not None:
            assert self.mask_grids.ndim == 3, self.mask_grids.shape
            assert len(self.mask_grids) == num_detections

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Tensor | slice | Sequence[int]) -> "Detections":
        grids = None if self.mask_grids is None else self.mask_grids[index]
        return replace(
            self, boxes=self.boxes[index], scores=self.scores[index], labels=self.labels[index], mask_grids=grids
        )

    def to(self, device: torch.device) -> "Detections":
        grids = None if self.mask_grids is None else self.mask_grids.to(device)
        return replace(
            self,
            boxes=self.boxes.to(device),
            scores=self.scores.to(device),
            labels=self.labels.to(device),
            mask_grids=grids,
        )


@dataclass(frozen=True)
class LabelMap:
    """Labels 1..K <-> a data set's own category ids and names.

    Args:
        category_ids: the K ids, in ascending order; label i is category_ids[i - 1].
        names: the K names, in the same order.
    """

    category_ids: tuple[int, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        assert len(self.category_ids) == len(self.names) == len(set(self.category_ids))

    def __len__(self) -> int:
        return len(self.names)

    def name(self, label: int) -> str:
        return self.names[label - 1]

    def category_id(self, label: int) -> int:
        return self.category_ids[label - 1]

    def label(self, category_id: int) -> int:
        """Give the label of a category id; KeyError for an unknown one."""
        try:
            return self.category_ids.index(category_id) + 1
        except ValueError:
            raise KeyError(category_id) from None
