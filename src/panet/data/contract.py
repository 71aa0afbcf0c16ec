"""What every sample holds to when it leaves the data set: behind this line nothing is checked again."""

import torch
from torch import Tensor

from panet.data.transforms import Sample

__all__ = ["assert_sound"]

_ROUNDING = 1e-3  # px; a box at the picture's edge may be scaled past it by so much


def assert_sound(sample: Sample, num_classes: int) -> None:
    """See that boxes are finite with an area inside the picture, labels 1..K, masks 0 or 1 and of the picture's size.

    There are equally many of each. What fails here is an error of this project, not of the data.
    """
    height, width = sample.boxes.canvas_size
    boxes, labels, masks = sample.boxes.as_subclass(Tensor), sample.labels, sample.masks.as_subclass(Tensor)
    assert boxes.shape == (len(labels), 4), (boxes.shape, len(labels))
    assert masks.shape == (len(labels), height, width), (masks.shape, len(labels), (height, width))
    assert sample.crowd.shape == labels.shape, (sample.crowd.shape, len(labels))
    assert masks.dtype == sample.crowd.dtype == torch.bool, (masks.dtype, sample.crowd.dtype)
    if not len(labels):
        return
    x1, y1, x2, y2 = boxes.unbind(1)
    assert ((x2 > x1) & (y2 > y1)).all(), boxes  # NaN is larger than nothing; an infinite edge fails below
    assert min(x1.min(), y1.min()) >= -_ROUNDING, boxes
    assert x2.max() <= width + _ROUNDING, (boxes, width)
    assert y2.max() <= height + _ROUNDING, (boxes, height)
    assert 1 <= int(labels.min()) <= int(labels.max()) <= num_classes, (labels, num_classes)
