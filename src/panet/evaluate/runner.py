"""A model and a data set -> results and scores."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from panet.data.coco import CocoDataset
from panet.errors import DataError
from panet.evaluate.coco import KINDS, Scores, score
from panet.evaluate.results import coco_results
from panet.model.detections import to_image
from panet.model.panet import PANet
from panet.model.views import detect_views
from panet.structures import TTA, Batch, Detections, LabelMap, Size, Views

__all__ = ["Evaluation", "Predicted", "evaluate", "predict_all", "score_all"]


@dataclass(frozen=True)
class Evaluation:
    """What a model reaches on a data set.

    Args:
        metrics: as `evaluate.coco.Scores`; "mask/..." only with a mask branch.
        per_class: as `evaluate.coco.Scores`.
        results: COCO results of all pictures.
        num_images: how many pictures were looked at.
        seconds: reading and predicting them took.
    """

    metrics: dict[str, float]
    per_class: dict[str, dict[str, float]]
    results: list[dict[str, Any]]
    num_images: int
    seconds: float


@dataclass(frozen=True)
class Predicted:
    """What a model found in the pictures of a loader.

    Args:
        results: COCO results of each picture, in the loader's order.
        kinds: of `evaluate.coco.KINDS`, what they can be scored by.
        seconds: reading and predicting took.
    """

    results: list[list[dict[str, Any]]]
    kinds: tuple[str, ...]
    seconds: float


def evaluate(
    model: PANet,
    loader: Iterable[Batch | Views],
    dataset: CocoDataset,
    max_dets: int,
    progress: Callable[[int], None] | None = None,
    label_map: LabelMap | None = None,
    score_threshold: float = 0.0,
    tta: TTA | None = None,
) -> Evaluation:
    """Predict every picture of a loader and score the results: `predict_all`, then `score_all`.

    Args:
        model: on the device that it shall run on.
        loader: the data set's pictures, or each one's views.
        dataset: the ground truth.
        max_dets: detections a picture that count, and that the model keeps at least.
        progress: called after each batch with the number of pictures in it.
        label_map: what the model's labels stand for, in the data set's category ids; by default the data set's own.
        score_threshold: results below it do not count.
        tta: how what is found is suppressed and voted; its views are the loader's.

    Raises:
        DataError: the loader is empty, or the ground truth cannot be used.
    """
    predicted = predict_all(model, loader, label_map or dataset.label_map, max_dets, progress, tta)
    scores = score_all(dataset, predicted.results, predicted.kinds, max_dets, score_threshold)
    results = [result for found in predicted.results for result in found]
    return Evaluation(scores.metrics, scores.per_class, results, len(predicted.results), predicted.seconds)


def predict_all(
    model: PANet,
    loader: Iterable[Batch | Views],
    label_map: LabelMap,
    max_dets: int,
    progress: Callable[[int], None] | None = None,
    tta: TTA | None = None,
) -> Predicted:
    """Predict every picture of a loader; the model's mode and limits are as before afterwards.

    Masks become RLE one at a time: memory does not grow with the data set's masks.
    """
    results: list[list[dict[str, Any]]] = []
    has_masks = True
    start = time.perf_counter()
    with _evaluating(model, max_dets), _suppressing(model, tta):
        for batch in loader:
            found = list(_predict(model, batch))
            for image_id, size, detections in found:
                has_masks = detections.mask_grids is not None
                results.append(coco_results(detections, image_id, size, label_map))
            if progress is not None:
                progress(len(found))
    kinds = tuple(KINDS) if has_masks else ("bbox",)
    return Predicted(results, kinds, time.perf_counter() - start)


def score_all(
    dataset: CocoDataset,
    results: Sequence[Sequence[Mapping[str, Any]]],
    kinds: Sequence[str],
    max_dets: int,
    score_threshold: float = 0.0,
) -> Scores:
    """Score the results of all pictures of a data set.

    Raises:
        DataError: there are no pictures, or the ground truth cannot be used.
    """
    if not results:
        raise DataError(f"{dataset.path}: no pictures: there is nothing to score")
    every = [result for found in results for result in found]
    return score(dataset.document, every, kinds, max_dets, score_threshold)


@contextmanager
def _evaluating(model: PANet, max_dets: int) -> Iterator[None]:
    """Set eval mode, no gradients, and room for `max_dets` detections; restore what was."""
    modes = [(module, module.training) for module in model.modules()]
    max_detections = model.max_detections
    model.eval()
    model.max_detections = max(max_dets, max_detections)
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training
        model.max_detections = max_detections


@contextmanager
def _suppressing(model: PANet, tta: TTA | None) -> Iterator[None]:
    """Suppress and vote as TTA says, if there is any; restore what was."""
    if tta is None:
        yield
        return
    rule = model.detection_rule
    model.detection_rule = replace(rule, soft_nms=tta.soft_nms, box_voting=tta.box_voting)
    try:
        yield
    finally:
        model.detection_rule = rule


def _predict(model: PANet, batch: Batch | Views) -> Iterator[tuple[int | str, Size, Detections]]:
    """Give each picture's id, size and detections in image px."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    if isinstance(batch, Views):
        yield batch.image_id, batch.original_size, detect_views(model, batch.to(device))
        return
    images = batch.images.to(device)
    factors = images.factors or (None,) * len(images)
    places = zip(batch.image_ids, images.sizes, images.original_sizes, factors, strict=True)
    for detections, (image_id, size, original_size, factor) in zip(model(images), places, strict=True):
        yield image_id, original_size, to_image(detections, size, original_size, factor)
