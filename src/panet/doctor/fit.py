"""Whether a data set fits a model: its objects' sizes and the anchors, its crowded pictures and the detection limit."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panet.data.transforms import view_for_test
from panet.doctor.parts import Finding, Part
from panet.ops.anchors import cell_anchors
from panet.structures import Arithmetic

__all__ = ["COCO_LIMIT", "ModelFit", "find_crowded_pictures", "find_misfits", "measure_objects"]

COCO_LIMIT = 100
"""Detections a picture that COCO's evaluation counts unless told otherwise."""

_HALF = 0.5  # IoU of an object with the best anchor when their centres meet
_MISSED = 0.05  # share of objects below it that is worth a word


@dataclass(frozen=True)
class ModelFit:
    """What of a model a data set must fit.

    Args:
        name: of the model or its settings.
        anchor_sizes: square roots of the areas, input px, of all levels.
        anchor_ratios: height / width.
        short_side, max_side: of its input, see `data.transforms.view_for_test`.
        arithmetic: how pictures are resized, likewise.
        max_detections: that it gives for a picture.
    """

    name: str
    anchor_sizes: tuple[float, ...]
    anchor_ratios: tuple[float, ...]
    short_side: int
    max_side: int
    arithmetic: Arithmetic
    max_detections: int


def measure_objects(part: Part, model: ModelFit) -> NDArray[np.float64]:
    """Give (G, 2) width and height of all objects' boxes in input px, crowds aside."""
    found = [np.empty((0, 2))]
    for image, record in enumerate(part.dataset.images):
        objects = part.dataset.annotations[image]
        view = view_for_test((record.height, record.width), model.short_side, model.max_side, model.arithmetic)
        factors = np.array([view.size[1] / record.width, view.size[0] / record.height])
        boxes = objects.boxes[~objects.crowd].astype(np.float64)
        found.append((boxes[:, 2:] - boxes[:, :2]) * factors)
    return np.concatenate(found)


def find_misfits(part: Part, sides: NDArray[np.float64], model: ModelFit) -> Iterator[Finding]:
    """Find whether more than a twentieth of the objects overlap no anchor by half, even centred on it."""
    overlap = best_overlap(sides, model)
    missed = sides[overlap < _HALF]
    if len(missed) <= _MISSED * len(sides):
        return
    sizes = np.sqrt(missed.prod(axis=1))
    small = int((sizes < min(model.anchor_sizes)).sum())
    large = int((sizes > max(model.anchor_sizes)).sum())
    why = (
        f"{len(missed):,} of {len(sides):,} objects ({100 * len(missed) / len(sides):.1f} %) overlap no anchor of "
        f"{model.name} by half: {small:,} are smaller than its smallest ({min(model.anchor_sizes):g} input px), "
        f"{large:,} larger than its largest ({max(model.anchor_sizes):g}), "
        f"{len(missed) - small - large:,} of another shape or between two sizes"
    )
    yield part.find("anchors-miss-objects", why)


def best_overlap(sides: NDArray[np.float64], model: ModelFit) -> NDArray[np.float64]:
    """Give (G,) IoU of each object (width, height) with its best anchor, both at one centre."""
    anchors = cell_anchors(model.anchor_sizes, model.anchor_ratios, rounded=False).double().numpy()
    anchor_sides = anchors[:, 2:] - anchors[:, :2]
    best = np.zeros(len(sides))
    for width, height in anchor_sides:
        shared = np.minimum(sides[:, 0], width) * np.minimum(sides[:, 1], height)
        best = np.maximum(best, shared / (sides.prod(axis=1) + width * height - shared))
    return best


def find_crowded_pictures(part: Part, model: ModelFit) -> Iterator[Finding]:
    """Find pictures with more objects, crowds aside, than COCO's 100 or the model's limit."""
    for image in range(len(part)):
        number = int((~part.dataset.annotations[image].crowd).sum())
        limits = []
        if number > COCO_LIMIT:
            limits.append(f"the {COCO_LIMIT} detections that COCO's evaluation counts")
        if number > model.max_detections and model.max_detections != COCO_LIMIT:
            limits.append(f"the {model.max_detections} that {model.name} gives")
        if limits:
            yield part.find(
                "more-objects-than-detections", f"{number} objects, more than {' and '.join(limits)}", image
            )
