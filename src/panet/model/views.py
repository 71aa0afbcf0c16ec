"""Several views of one picture -> its detections: boxes united, masks averaged (test-time augmentation)."""

from dataclasses import replace

import torch
from torch import Tensor

from panet.model.detections import best_of, decode_candidates, to_image, to_input
from panet.model.panet import PANet
from panet.ops import boxes as box_ops
from panet.structures import Detections, ImageBatch, Pyramid, Size, Views

__all__ = ["detect_views"]


def detect_views(model: PANet, views: Views) -> Detections:
    """Detect the objects of a picture from all its views together (Sec. 4.2, Table 6; as Detectron, 2018).

    The candidates of every view are united before anything is suppressed. For what is left, each view's features are
    asked for a mask; their probabilities are averaged. One view gives exactly what `PANet.forward` gives. All views'
    features are held at once, as masks come after the last view's boxes.

    Args:
        model: its detection rule says how the union is suppressed.
        views: on the model's device.
    Returns:
        Detections in image px, best first.
    """
    pyramids = [model.features(images.tensor) for images in views.images]
    seen = list(zip(pyramids, views.images, views.mirrored, strict=True))
    frame = _frame(model, views.images[0])
    union = _united([_candidates(model, *view, frame) for view in seen])
    found = best_of(union, model.detection_rule)
    grids = [_mask_grids(model, *view, found, frame) for view in seen]
    first = views.images[0]
    if (scales := model.frame(first)[1]) is not None:
        found = to_input(found, scales[0])
    found = replace(found, mask_grids=_mean(grids))
    return to_image(found, first.sizes[0], views.original_size, None if first.factors is None else first.factors[0])


def _frame(model: PANet, images: ImageBatch) -> Size:
    return model.frame(images)[0][0]


def _candidates(model: PANet, n: Pyramid, images: ImageBatch, mirrored: bool, frame: Size) -> Detections:
    """Give a view's candidates in the frame of the first view."""
    proposals = model.proposals(n, images)
    sizes, scales = model.frame(images)
    (found,) = decode_candidates(model.box_head(n, proposals), proposals, sizes, model.detection_rule, scales)
    boxes = box_ops.mirror(found.boxes, sizes[0][1], inclusive=found.inclusive) if mirrored else found.boxes
    return replace(found, boxes=box_ops.scale(boxes, sizes[0], frame))


def _united(candidates: list[Detections]) -> Detections:
    return replace(
        candidates[0],
        boxes=torch.cat([each.boxes for each in candidates]),
        scores=torch.cat([each.scores for each in candidates]),
        labels=torch.cat([each.labels for each in candidates]),
    )


def _mask_grids(
    model: PANet, n: Pyramid, images: ImageBatch, mirrored: bool, found: Detections, frame: Size
) -> Tensor | None:
    """Give (D, M, M) probabilities by a view's features, for detections in the frame of the first view."""
    sizes, scales = model.frame(images)
    boxes = box_ops.scale(found.boxes, frame, sizes[0])
    if mirrored:
        boxes = box_ops.mirror(boxes, sizes[0][1], inclusive=found.inclusive)
    placed = replace(found, boxes=boxes)
    (masked,) = model.with_masks(n, [placed if scales is None else to_input(placed, scales[0])])
    grids = masked.mask_grids
    return grids.flip(-1) if grids is not None and mirrored else grids


def _mean(grids: list[Tensor | None]) -> Tensor | None:
    known = [grid for grid in grids if grid is not None]
    return torch.stack(known).mean(dim=0) if known else None
