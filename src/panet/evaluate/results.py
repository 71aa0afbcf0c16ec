"""Detections -> COCO results, and the JSON file that holds them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from panet.data.documents import read_json
from panet.data.images import printable
from panet.errors import DataError
from panet.ops.paste import masks_to_rle
from panet.structures import Detections, LabelMap, Size

__all__ = ["coco_results", "read_results", "rounded", "with_ids_of", "write_json"]


def coco_results(detections: Detections, image_id: int | str, size: Size, label_map: LabelMap) -> list[dict[str, Any]]:
    """Give one dict a detection: image_id, category_id, bbox (x, y, w, h), score, and segmentation (compressed RLE).

    Without a mask branch there is no segmentation.

    Args:
        detections: image px.
        image_id: the picture's id in its data set.
        size: of the picture, image px.
        label_map: what the labels stand for.
    """
    detections = detections.to(torch.device("cpu"))
    last = int(detections.inclusive)  # the pixel that x2, y2 name
    results: list[dict[str, Any]] = [
        {
            "image_id": image_id,
            "category_id": label_map.category_id(int(detections.labels[i])),
            "bbox": [x1, y1, x2 - x1 + last, y2 - y1 + last],
            "score": float(detections.scores[i]),
        }
        for i, (x1, y1, x2, y2) in enumerate(detections.boxes.tolist())
    ]
    if detections.mask_grids is not None:
        masks = masks_to_rle(detections.mask_grids, detections.boxes, size, grown=detections.grown)
        for result, mask in zip(results, masks, strict=True):
            result["segmentation"] = mask
    return results


def with_ids_of(model: LabelMap, truth: LabelMap) -> LabelMap:
    """Give the model's labels the category ids that a data set has for the same names.

    Raises:
        DataError: the two do not name the same classes.
    """
    if model.names == truth.names:
        return truth
    if sorted(model.names) != sorted(truth.names) or len(set(truth.names)) != len(truth):
        missing = sorted(set(truth.names) - set(model.names))
        surplus = sorted(set(model.names) - set(truth.names))
        raise DataError(
            f"the classes differ: only the data has {_listed(missing)}, only the model {_listed(surplus)}: "
            "rename the data's categories, or take another model"
        )
    ids = dict(zip(truth.names, truth.category_ids, strict=True))
    return LabelMap(tuple(ids[name] for name in model.names), model.names)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(printable(repr(name)) for name in names[:5])
    return f"{shown}{', ...' if len(names) > 5 else ''}" if names else "none"


def rounded(results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give copies with boxes to 0.0001 px and scores to 0.000001, for writing."""
    copies = []
    for result in results:
        box = [round(side, 4) for side in result["bbox"]]
        copies.append({**result, "bbox": box, "score": round(result["score"], 6)})
    return copies


def write_json(path: str | Path, content: object) -> None:
    """Write JSON; DataError if the file cannot be written."""
    try:
        Path(path).write_text(json.dumps(content) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{printable(path)}: cannot be written: {error.strerror}: choose another --output") from error


def read_results(path: str | Path) -> list[Any]:
    """Read a JSON file of COCO results; `evaluate.truth` checks the items.

    Raises:
        DataError: no such file, broken JSON, or no list.
    """
    content = read_json(Path(path))
    if not isinstance(content, list):
        raise DataError(
            f"{printable(path)}: holds one {type(content).__name__}: COCO results are a list "
            "[{image_id, category_id, bbox, score, segmentation}, ...]"
        )
    return content
