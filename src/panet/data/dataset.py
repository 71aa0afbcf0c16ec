"""CocoDataset -> Sample: reads one picture, chooses its view, decodes the masks that are seen.

A sample is a function of (seed, epoch, index) alone: neither workers nor resuming change it.
"""

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from panet.data.annotations import ImageAnnotations
from panet.data.cache import PictureCache
from panet.data.coco import CocoDataset
from panet.data.contract import assert_sound
from panet.data.images import printable, read_image
from panet.data.records import ImageRecord
from panet.data.transforms import ResizeShortSide, Sample, Transform, View, ViewRule, apply_view
from panet.errors import DataError
from panet.ops.rle import decode_window
from panet.structures import Source

__all__ = ["Key", "SampleDataset", "cut_objects", "read_record", "sample_generator"]

Key: TypeAlias = tuple[int, int]
"""(epoch, index of the picture)."""

_MIN_VISIBLE = 0.1  # share of an object's mask; less of it is too little to be found, and still no background


class SampleDataset(Dataset[Sample]):
    """Samples of a data set by (epoch, index)."""

    def __init__(
        self,
        dataset: CocoDataset,
        view_rule: ViewRule,
        transforms: Sequence[Transform],
        seed: int,
        cache: PictureCache | None = None,
    ) -> None:
        self._images = dataset.images
        self._annotations = dataset.annotations
        self._num_classes = len(dataset.label_map)
        self._view_rule = view_rule
        self._transforms = tuple(transforms)
        self._seed = seed
        self._cache = cache
        self._sizes_come_again = isinstance(view_rule, ResizeShortSide)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, key: Key) -> Sample:
        """Make a sample; DataError names a picture that cannot be read or has another size than stated."""
        epoch, index = key
        record = self._images[index]
        size = (record.height, record.width)
        generator = sample_generator(self._seed, epoch, index)
        view = self._view_rule(size, generator)
        objects = self._annotations[index]
        boxes, masks, kept, crowd = cut_objects(objects, view)
        sample = Sample(
            image=tv_tensors.Image(self._show(record, view)),
            boxes=tv_tensors.BoundingBoxes(torch.from_numpy(boxes), format="XYXY", canvas_size=view.size),
            labels=torch.from_numpy(objects.labels[kept]),
            masks=tv_tensors.Mask(torch.from_numpy(masks)),
            crowd=torch.from_numpy(crowd),
            image_id=record.id,
            original_size=size,
            factor=view.factor,
            late_size=view.late_size,
        )
        for transform in self._transforms:
            sample = transform(sample, generator)
        assert_sound(sample, self._num_classes)
        return sample

    def source(self, key: Key) -> Source:
        """Tell where a sample comes from."""
        return Source(*key, self._images[key[1]].file_name)

    def _show(self, record: ImageRecord, view: View) -> Tensor:
        """Give what a view shows; a cache has pictures resized if the size comes again, else as they are decoded."""
        read = partial(read_record, record)
        if self._cache is None:
            return apply_view(read(), view)
        size = (record.height, record.width)
        if self._sizes_come_again and view.factor is None and not view.late:
            return self._cache.load(record, view.size, lambda: apply_view(read(), view))
        return apply_view(self._cache.load(record, size, read), view)


def read_record(record: ImageRecord) -> Tensor:
    """Read a picture as (3, H0, W0) uint8; DataError names one that cannot be read or has another size than stated."""
    image = read_image(record.path, (record.height, record.width))
    if tuple(image.shape[-2:]) != (record.height, record.width):
        raise DataError(
            f"{printable(record.path)}: is {image.shape[-1]} x {image.shape[-2]} px upright, but its annotations "
            f"are for {record.width} x {record.height}; correct width and height, or the picture"
        )
    return image


def sample_generator(seed: int, epoch: int, index: int) -> torch.Generator:
    """Give the generator of one sample; the same on every machine and in every process."""
    digest = hashlib.blake2b(f"{seed}/{epoch}/{index}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))


def cut_objects(
    objects: ImageAnnotations, view: View
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64], NDArray[np.bool_]]:
    """Decode the masks that a view shows.

    An object is kept if its resized mask is not empty. If less than a tenth of it lies in the window, it becomes a
    crowd: nothing that must be found, and no background. Masks are resized to the nearest pixel centre.

    Returns: boxes (G, 4) xyxy of what is visible, before rounding to input px; masks (G, h, w); the G indices kept;
        (G,) whether each is a crowd here.
    """
    height, width = view.size
    rows = view.top + _nearest(view.height, height)
    columns = view.left + _nearest(view.width, width)
    corner = np.array([view.left, view.top] * 2)
    scale = np.array([width / view.width, height / view.height] * 2)
    near = np.flatnonzero(_overlap(objects.boxes, view))
    masks = np.zeros((len(near), height, width), dtype=bool)
    boxes: list[NDArray[np.float64]] = []
    kept: list[int] = []
    crowd: list[bool] = []
    for index in near.tolist():
        x1, y1, x2, y2 = _clip(objects.boxes[index], view)
        part = decode_window(objects.masks[index], x1, y1, (y2 - y1, x2 - x1))
        top, bottom = np.searchsorted(rows, [y1, y2])
        left, right = np.searchsorted(columns, [x1, x2])
        resized = part[np.ix_(rows[top:bottom] - y1, columns[left:right] - x1)]
        if not resized.any():
            continue
        masks[len(kept), top:bottom, left:right] = resized
        boxes.append((_tight_box(part, x1, y1) - corner) * scale)
        kept.append(index)
        crowd.append(bool(objects.crowd[index]) or bool(part.sum() < _MIN_VISIBLE * objects.areas[index]))
    return (
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        masks[: len(kept)],
        np.array(kept, dtype=np.int64),
        np.array(crowd, dtype=np.bool_),
    )


def _nearest(source: int, target: int) -> NDArray[np.int64]:
    """For each of `target` pixels, the one of `source` pixels under its centre."""
    return ((2 * np.arange(target) + 1) * source) // (2 * target)


def _overlap(boxes: NDArray[np.float32], view: View) -> NDArray[np.bool_]:
    x1, y1, x2, y2 = boxes.T
    across = (x2 > view.left) & (x1 < view.left + view.width)
    down = (y2 > view.top) & (y1 < view.top + view.height)
    return np.asarray(across & down)


def _clip(box: NDArray[np.float32], view: View) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = (int(edge) for edge in box)
    return (
        max(x1, view.left),
        max(y1, view.top),
        min(x2, view.left + view.width),
        min(y2, view.top + view.height),
    )


def _tight_box(part: NDArray[np.bool_], left: int, top: int) -> NDArray[np.float64]:
    """Box xyxy of a non-empty mask whose first pixel is at (left, top)."""
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    return np.array([left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1], dtype=np.float64)
