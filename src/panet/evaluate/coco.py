"""Average precision as COCO defines it, computed by hotcoco, which equals pycocotools."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hotcoco import COCO, COCOeval
from numpy.typing import NDArray

from panet.evaluate.truth import Truth, check_results, read_truth

__all__ = ["KINDS", "Scores", "kinds_of", "match", "score"]

KINDS = {"bbox": "box", "segm": "mask"}
"""COCO's name of what is compared -> the metrics' prefix."""

_AREAS = {"": 0, "s": 1, "m": 2, "l": 3}  # all; below 32**2 px; below 96**2 px; the rest
_IOUS = {"50": 0, "75": 5}  # of 0.50, 0.55 .. 0.95
_MANY = 10**9  # results of a picture: as good as no limit
_CLASSES_AT_ONCE = 64  # the evaluator's own tables take 400 kB a class and limit, several times over


@dataclass(frozen=True)
class Scores:
    """COCO's metrics, 0..1; NaN where there is no ground truth to find.

    Args:
        metrics: "box/AP" (mean over IoU 0.50:0.95), AP50, AP75, APs, APm, APl; AR1, AR10 (if max_dets is above them),
            AR, ARs, ARm, ARl; and the same of "mask/".
        per_class: class name -> "box/AP", "box/AP50", "mask/AP", "mask/AP50".
    """

    metrics: dict[str, float]
    per_class: dict[str, dict[str, float]]


def score(
    document: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    kinds: Sequence[str] = tuple(KINDS),
    max_dets: int = 100,
    score_threshold: float = 0.0,
) -> Scores:
    """Score results against a COCO document. It does not depend on the order of either, nor on annotation ids.

    Of equal scores the larger result comes first, and which of two objects a result that fits both alike takes depends
    on where they are; pycocotools goes by the order of the lists there, and else the figures are its own, bit for bit.

    Args:
        document: images, annotations, categories.
        results: image_id, category_id, score, and bbox or segmentation, or both.
        kinds: what to compare, of KINDS.
        max_dets: best results of a picture and class that count; every metric without a number in its name is at it.
        score_threshold: results below it are left out.

    Raises:
        DataError: an annotation or a result cannot be used; names it.
    """
    metrics: dict[str, float] = {}
    per_class: dict[str, dict[str, float]] = {}
    for kind in kinds:
        limits = [count for count in (1, 10) if count < max_dets] + [min(max_dets, _MANY)]
        evaluator, truth = match(document, results, kind, limits, score_threshold)
        classes = sorted({annotation["category_id"] for annotation in truth.document["annotations"]})
        precision, recall = _accumulate(evaluator, classes, len(limits))
        metrics |= {f"{KINDS[kind]}/{name}": value for name, value in _summarise(precision, recall, limits).items()}
        places = {number: place for place, number in enumerate(classes)}
        for number, name in enumerate(_unique(truth.names, list(truth.categories)), 1):
            of_class = precision[:, :, places[number], 0] if number in places else precision[:, :, :0, 0]
            values = {f"{KINDS[kind]}/AP": _mean(of_class), f"{KINDS[kind]}/AP50": _mean(of_class[_IOUS["50"]])}
            per_class.setdefault(name, {}).update(values)
    return Scores(metrics, per_class)


def match(
    document: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    kind: str,
    limits: Sequence[int],
    score_threshold: float = 0.0,
) -> tuple[COCOeval, Truth]:
    """Pair results with annotations, picture by picture; give the evaluator before it accumulates, and the truth.

    Args:
        limits: numbers of detections, ascending; the rest as `score` takes them.

    Raises:
        DataError: an annotation or a result cannot be used; names it.
    """
    truth = read_truth(document, kind)
    annotations = COCO(truth.document)
    kept = [result for result in check_results(results, truth, kind) if result["score"] >= score_threshold]
    evaluator = COCOeval(annotations, annotations.load_res(kept), kind)
    evaluator.params.max_dets = list(limits)
    evaluator.evaluate()
    return evaluator, truth


def _accumulate(
    evaluator: COCOeval, classes: Sequence[int], num_limits: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give COCO's tables of some classes, -1 where undefined, as they are if there is nothing to find of a class.

    Args:
        evaluator: of `match`.
        classes: their C numbers.
        num_limits: numbers of detections that it has.
    Returns: precision (IoUs, recalls, C, areas) at the last limit; recall (IoUs, C, areas, limits).
    """
    num_ious, num_recalls, num_areas = (
        len(each) for each in (evaluator.params.iou_thrs, evaluator.params.rec_thrs, evaluator.params.area_rng)
    )
    precision = np.full((num_ious, num_recalls, len(classes), num_areas), -1.0)
    recall = np.full((num_ious, len(classes), num_areas, num_limits), -1.0)
    for start in range(0, len(classes), _CLASSES_AT_ONCE):
        part = slice(start, start + _CLASSES_AT_ONCE)
        evaluator.params.cat_ids = list(classes[part])
        evaluator.accumulate()
        tables = evaluator.eval
        assert tables is not None
        precision[:, :, part] = tables["precision"][..., -1]
        recall[:, part] = tables["recall"]
    return precision, recall


def _summarise(precision: NDArray[np.float64], recall: NDArray[np.float64], limits: Sequence[int]) -> dict[str, float]:
    """Average COCO's tables. (Its own summary fixes AP at 100 detections, whatever the limits.)

    Args:
        precision, recall: of `_accumulate`.
        limits: numbers of detections, ascending.
    """
    by_iou = {f"AP{name}": _mean(precision[index, :, :, 0]) for name, index in _IOUS.items()}
    by_area = {f"AP{name}": _mean(precision[:, :, :, index]) for name, index in _AREAS.items()}
    recalls = {f"AR{limit}": _mean(recall[:, :, 0, index]) for index, limit in enumerate(limits[:-1])}
    recalls |= {f"AR{name}": _mean(recall[:, :, index, -1]) for name, index in _AREAS.items()}
    return {"AP": by_area.pop("AP"), **by_iou, **by_area, **recalls}


def _mean(table: NDArray[np.float64]) -> float:
    defined = table[table > -1]
    return float(defined.mean()) if defined.size else math.nan


def _unique(names: Sequence[str], ids: Sequence[Any]) -> list[str]:
    """Tell classes of one name apart by their ids."""
    counts = Counter(names)
    told = [f"{name} ({i!r})" if counts[name] > 1 else name for name, i in zip(names, ids, strict=True)]
    return told if len(set(told)) == len(told) else _unique(told, ids)  # a class may be called as another is told


def kinds_of(results: Sequence[Any]) -> tuple[str, ...]:
    """Give what results are to be compared by: by what any of them has; by both if there is nothing."""
    keys = {"bbox": "bbox", "segm": "segmentation"}
    found = [result for result in results if isinstance(result, Mapping)]
    return tuple(kind for kind, key in keys.items() if any(key in result for result in found)) or tuple(keys)
