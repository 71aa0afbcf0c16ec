"""A model and a data set -> results and scores."""

import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from panet.data.coco import CocoDataset
from panet.data.images import printable
from panet.data.loading import Unreadable
from panet.errors import DataError
from panet.evaluate.coco import KINDS, Scores, score
from panet.evaluate.results import coco_results
from panet.model.detections import to_image
from panet.model.panet import PANet
from panet.model.views import detect_views
from panet.structures import TTA, Batch, Detections, LabelMap, Size, Views

__all__ = ["Evaluation", "Predicted", "evaluate", "predict_all", "predict_most", "score_all"]


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
        results: COCO results of each picture, in the loader's order; None: it can no longer be read.
        kinds: of `evaluate.coco.KINDS`, what they can be scored by.
        seconds: reading and predicting took.
    """

    results: list[list[dict[str, Any]] | None]
    kinds: tuple[str, ...]
    seconds: float


def evaluate(
    model: PANet,
    loader: Iterable[Batch | Views | Unreadable],
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
    read = [found for found in predicted.results if found is not None]
    results = [result for found in read for result in found]
    return Evaluation(scores.metrics, scores.per_class, results, len(read), predicted.seconds)


def predict_all(
    model: PANet,
    loader: Iterable[Batch | Views | Unreadable],
    label_map: LabelMap,
    max_dets: int,
    progress: Callable[[int], None] | None = None,
    tta: TTA | None = None,
    on_unreadable: Callable[[DataError], None] | None = None,
) -> Predicted:
    """Predict every picture of a loader; the model's mode and limits are as before afterwards.

    Masks become RLE one at a time: memory does not grow with the data set's masks. `on_unreadable` is told of pictures
    that can no longer be read, where the loader gives them.
    """
    results: list[list[dict[str, Any]] | None] = []
    has_masks = True
    start = time.perf_counter()
    with _evaluating(model, max_dets), _suppressing(model, tta):
        for batch in loader:
            if isinstance(batch, Unreadable):
                results.append(None)
                if on_unreadable is not None:
                    on_unreadable(batch.why)
                continue
            found = list(_predict(model, batch))
            for image_id, size, detections in found:
                has_masks = detections.mask_grids is not None
                results.append(coco_results(detections, image_id, size, label_map))
            if progress is not None:
                progress(len(found))
    kinds = tuple(KINDS) if has_masks else ("bbox",)
    return Predicted(results, kinds, time.perf_counter() - start)


def predict_most(model: PANet, batch: Batch, label_map: LabelMap, max_dets: int) -> list[dict[str, Any]]:
    """Predict a picture at the highest cost that `predict_all` can have: with as many detections as are kept.

    A model that has learnt nothing finds nothing among many classes. Here its best proposals count as detections,
    whatever they are.

    Args:
        model: on the device that it runs on; its mode and limits are as before afterwards.
        batch: of one picture, on the CPU.
        label_map: what the model's labels stand for.
        max_dets: as `predict_all` takes it.
    """
    images = batch.images.to(_device(model))
    with _evaluating(model, max_dets):
        n = model.features(images.tensor)
        proposals = model.proposals(n, images)
        model.box_head(n, proposals)
        (boxes,) = proposals
        count = min(model.max_detections, len(boxes) * len(label_map))
        boxes = boxes[torch.arange(count, device=boxes.device) % max(1, len(boxes))]
        scores, labels = boxes.new_ones(count), torch.ones(count, dtype=torch.int64, device=boxes.device)
        rule = model.detection_rule
        best = Detections(boxes, scores, labels, inclusive=rule.inclusive, grown=rule.grown_masks)
        (found,) = model.with_masks(n, [best])
    factor = images.factors[0] if images.factors else None
    size, original_size = images.sizes[0], images.original_sizes[0]
    return coco_results(to_image(found, size, original_size, factor), batch.image_ids[0], original_size, label_map)


def score_all(
    dataset: CocoDataset,
    results: Sequence[Sequence[Mapping[str, Any]] | None],
    kinds: Sequence[str],
    max_dets: int,
    score_threshold: float = 0.0,
) -> Scores:
    """Score the results of all pictures of a data set; those without any (None) are left out of the ground truth too.

    Raises:
        DataError: there are no pictures, none can be read, or the ground truth cannot be used.
    """
    read = [found for found in results if found is not None]
    if not read:
        why = "none of its pictures can be read any more" if results else "no pictures"
        raise DataError(f"{printable(dataset.path)}: {why}: there is nothing to score")
    document = dataset.document
    if len(read) < len(results):
        pairs = zip(dataset.images, results, strict=True)
        document = _without(document, {image.id for image, found in pairs if found is None})
    every = [result for found in read for result in found]
    return score(document, every, kinds, max_dets, score_threshold)


def _without(document: Mapping[str, Any], left_out: Container[int | str]) -> dict[str, Any]:
    """Give a COCO document without some pictures and all that is on them."""
    return {
        **document,
        "images": [image for image in document["images"] if image["id"] not in left_out],
        "annotations": [row for row in document["annotations"] if row["image_id"] not in left_out],
    }


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
    device = _device(model)
    if isinstance(batch, Views):
        yield batch.image_id, batch.original_size, detect_views(model, batch.to(device))
        return
    images = batch.images.to(device)
    factors = images.factors or (None,) * len(images)
    places = zip(batch.image_ids, images.sizes, images.original_sizes, factors, strict=True)
    for detections, (image_id, size, original_size, factor) in zip(model(images), places, strict=True):
        yield image_id, original_size, to_image(detections, size, original_size, factor)


def _device(model: PANet) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
