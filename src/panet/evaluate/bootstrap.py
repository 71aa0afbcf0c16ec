"""How sure a score is: COCO's AP of pictures drawn again, with replacement.

AP is no mean over pictures, so pictures are matched once and precision is accumulated anew for each draw. A picture
drawn k times counts k times: its results and objects are weighted, which gives the AP of k copies of it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panet.evaluate.coco import match

__all__ = ["Interval", "PictureMatches", "draw_pictures", "interval_of", "match_pictures"]

_RECALLS = np.linspace(0, 1, 101)  # COCO's
_ALL_AREAS = 0
_NUM_IOUS = 10
_TAILS = (0.025, 0.975)


@dataclass(frozen=True)
class Interval:
    """A percentile interval that covers 95 %; NaN where the score is undefined."""

    low: float
    high: float


@dataclass(frozen=True)
class _AtOneIoU:
    """The results of a class that count at one IoU, best first.

    Args:
        pictures: (D,) the index of each one's picture.
        hits: (H,) which of them are paired with an object.
    """

    pictures: NDArray[np.int64]
    hits: NDArray[np.int64]

    def precisions(self, weights: NDArray[np.int64], num_objects: int) -> float:
        """Give the mean over COCO's recalls of the precision at that recall or a higher one."""
        if not self.hits.size:
            return 0.0
        counted = np.cumsum(weights[self.pictures])[self.hits]
        right = np.cumsum(weights[self.pictures[self.hits]])
        precision = right / np.maximum(counted, 1)
        highest = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(right / num_objects, _RECALLS, side="left")
        return float(highest[places[places < len(highest)]].sum()) / len(_RECALLS)


@dataclass(frozen=True)
class PictureMatches:
    """A data set's results, paired with its objects.

    Args:
        num_pictures: I.
        num_objects: a class: (I,) objects to find in each picture.
        paired: a class: for each of COCO's IoUs, its results.
    """

    num_pictures: int
    num_objects: tuple[NDArray[np.int64], ...]
    paired: tuple[tuple[_AtOneIoU, ...], ...]

    def average_precision(self, weights: NDArray[np.int64]) -> NDArray[np.float64]:
        """Give AP at IoU 0.50, 0.55 .. 0.95, the mean over the classes that have an object; NaN if none has.

        With ones it is the evaluator's AP.

        Args:
            weights: (I,) how often each picture counts.
        """
        totals = [int(weights @ objects) for objects in self.num_objects]
        of_classes = [
            [at_iou.precisions(weights, total) for at_iou in paired]
            for paired, total in zip(self.paired, totals, strict=True)
            if total
        ]
        return np.array(of_classes).mean(axis=0) if of_classes else np.full(_NUM_IOUS, math.nan)


def match_pictures(
    document: Mapping[str, Any], results: Sequence[Mapping[str, Any]], kind: str, max_dets: int
) -> PictureMatches:
    """Pair the results of each picture with its objects, as `evaluate.coco.score` does.

    Args:
        document: images, annotations, categories.
        results: image_id, category_id, score, and bbox or segmentation.
        kind: of `evaluate.coco.KINDS`.
        max_dets: best results of a picture and class that count.

    Raises:
        DataError: an annotation or a result cannot be used; names it.
    """
    evaluator, truth = match(document, results, kind, [max_dets])
    everywhere = list(evaluator.params.area_rng[_ALL_AREAS])
    by_class: dict[int, list[Mapping[str, Any]]] = {number: [] for number in truth.categories.values()}
    for row in evaluator.eval_imgs:
        if row is not None and list(row["aRng"]) == everywhere:
            by_class[row["category_id"]].append(row)
    assert len(evaluator.params.iou_thrs) == _NUM_IOUS
    num_pictures = len(truth.images)
    classes = [_read_class(rows, num_pictures) for rows in by_class.values()]
    return PictureMatches(num_pictures, tuple(each[0] for each in classes), tuple(each[1] for each in classes))


def _read_class(rows: list[Mapping[str, Any]], num_pictures: int) -> tuple[NDArray[np.int64], tuple[_AtOneIoU, ...]]:
    rows = sorted(rows, key=lambda row: int(row["image_id"]))  # decides between equal scores, as in COCO
    num_objects = np.zeros(num_pictures, np.int64)
    for row in rows:
        num_objects[row["image_id"] - 1] = sum(not ignored for ignored in row["gtIgnore"])
    counts = [len(row["dtScores"]) for row in rows]
    pictures = np.repeat(np.array([row["image_id"] - 1 for row in rows], np.int64), counts)
    scores = np.array([score for row in rows for score in row["dtScores"]], np.float64)
    order = np.argsort(-scores, kind="stable")
    pictures = pictures[order]
    paired = []
    for index in range(_NUM_IOUS):
        matched = np.array([hit for row in rows for hit in row["dtMatched"][index]], bool)[order]
        ignored = np.array([skip for row in rows for skip in row["dtIgnore"][index]], bool)[order]
        paired.append(_AtOneIoU(pictures[~ignored], np.flatnonzero(matched[~ignored])))
    return num_objects, tuple(paired)


def draw_pictures(num_pictures: int, num_draws: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw as many pictures as there are, with replacement, many times: (num_draws, I) counts, each row of sum I."""
    draws = generator.integers(0, num_pictures, (num_draws, num_pictures))
    return np.stack([np.bincount(row, minlength=num_pictures) for row in draws])


def interval_of(samples: NDArray[np.float64]) -> Interval:
    """Give the interval that holds 95 % of (N,) samples, undefined ones left out."""
    defined = samples[~np.isnan(samples)]
    if not defined.size:
        return Interval(math.nan, math.nan)
    low, high = np.quantile(defined, _TAILS)
    return Interval(float(low), float(high))
