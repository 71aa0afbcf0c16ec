"""How many objects were found, missed and invented: what a count of cells is worth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hotcoco import mask as mask_ops

from panet.ops.rle import Rle

__all__ = ["Matches", "match_masks"]


@dataclass(frozen=True)
class Matches:
    """found + missed is the number of true objects, found + invented that of predicted ones."""

    found: int
    missed: int
    invented: int


def match_masks(truth: Sequence[Rle], predicted: Sequence[Rle], iou: float = 0.5) -> Matches:
    """Pair masks greedily: each predicted one, best first, takes the free true one that it overlaps most.

    Args:
        truth: the objects of one picture and class.
        predicted: the predicted ones, best first.
        iou: what a pair overlaps at least, above 0.
    """
    if not truth or not predicted:
        return Matches(0, len(truth), len(predicted))
    overlaps = np.array(mask_ops.iou([{**mask} for mask in predicted], [{**mask} for mask in truth], [0] * len(truth)))
    found = 0
    for row in overlaps:
        best = int(row.argmax())
        if row[best] >= iou:
            found += 1
            overlaps[:, best] = 0  # it is taken
    return Matches(found, len(truth) - found, len(predicted) - found)
