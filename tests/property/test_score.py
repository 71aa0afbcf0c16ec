"""COCO scores: equal to pycocotools on anything; one for perfect results; only the order of scores counts."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from panet.evaluate.coco import KINDS, match, score
from panet.ops import rle

SIZE = (120, 150)
NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR", "ARs", "ARm", "ARl")  # in COCO's order
NEW_IDS = ("b", 2**70, -5)
AREAS = {"": 0, "s": 1, "m": 2, "l": 3}


def make_objects(draw: np.random.Generator, count: int) -> list[dict[str, Any]]:
    """Rectangles in 3 pictures and 3 classes, often over one another."""
    objects = []
    for _ in range(count):
        height, width = (int(side) for side in draw.integers(4, 100, 2))
        left, top = int(draw.integers(0, SIZE[1] - width)), int(draw.integers(0, SIZE[0] - height))
        mask = np.ones((height, width), dtype=bool)
        mask[draw.integers(0, height) :, draw.integers(0, width) :] = False
        mask[0, 0] = True
        segmentation = rle.encode_window(mask, left, top, SIZE)
        objects.append(
            {
                "image_id": int(draw.integers(1, 4)),
                "category_id": int(draw.integers(1, 4)),
                "bbox": [left, top, width, height],
                "segmentation": segmentation,
            }
        )
    return objects


def make_case(seed: int, num_truth: int, num_noise: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ground truth, some of it crowds, and results: it again, moved, and noise; no two of one score."""
    draw = np.random.default_rng(seed)
    truth = make_objects(draw, num_truth)
    results = [dict(each) for each in truth if draw.random() < 0.7] + make_objects(draw, num_noise)
    for result in results:
        x, y, width, height = result["bbox"]
        result["bbox"] = [float(x + draw.normal()), float(y + draw.normal()), width, height]
    for result, rank in zip(results, draw.permutation(len(results)), strict=True):
        result["score"] = (1 + int(rank)) / (1 + len(results))
    for number, annotation in enumerate(truth, 1):
        crowd, area = int(draw.random() < 0.15), rle.area(annotation["segmentation"])
        annotation.update(id=number, iscrowd=crowd, area=area)
    images = [{"id": number, "height": SIZE[0], "width": SIZE[1]} for number in (1, 2, 3)]
    categories = [{"id": number, "name": f"class {number}"} for number in (1, 2, 3)]
    return {"images": images, "annotations": truth, "categories": categories}, results


def reference(document: dict[str, Any], results: list[dict[str, Any]], kind: str, max_dets: int) -> Any:
    """Give pycocotools' evaluator, with its tables and, for its own limits, its 12 figures."""
    with contextlib.redirect_stdout(io.StringIO()):
        annotations = COCO()
        annotations.dataset = document
        annotations.createIndex()
        key = {"bbox": "bbox", "segm": "segmentation"}[kind]
        wanted = ("image_id", "category_id", "score", key)
        found = annotations.loadRes([{name: result[name] for name in wanted} for result in results])
        evaluation = COCOeval(annotations, found, kind)
        evaluation.params.maxDets = [1, 10, max_dets]
        evaluation.evaluate()
        evaluation.accumulate()
        if max_dets == 100:
            evaluation.summarize()
    return evaluation


def figures(tables: dict[str, Any], kind: str) -> dict[str, float]:
    """Average pycocotools' tables at the last limit: its summary fixes AP at 100 detections, whatever the limits."""
    precision, recall = tables["precision"], tables["recall"]
    parts = {f"AP{area}": precision[:, :, :, index, -1] for area, index in AREAS.items()}
    parts |= {"AP50": precision[0, :, :, 0, -1], "AP75": precision[5, :, :, 0, -1]}
    parts |= {f"AR{area}": recall[:, :, index, -1] for area, index in AREAS.items()}
    parts |= {"AR1": recall[:, :, 0, 0], "AR10": recall[:, :, 0, 1]}
    return {
        f"{KINDS[kind]}/{name}": part[part > -1].mean() if (part > -1).any() else np.nan for name, part in parts.items()
    }


@settings(deadline=None, max_examples=200, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_truth=st.integers(0, 40),
    num_noise=st.integers(1, 60),
    kind=st.sampled_from(["bbox", "segm"]),
    max_dets=st.sampled_from([11, 100, 100, 400]),
)
def test_scores_equal_those_of_pycocotools_bit_for_bit(
    seed: int, num_truth: int, num_noise: int, kind: str, max_dets: int
) -> None:
    """The 12 figures, and the tables that they are means of: precision, recall and score at every threshold."""
    document, results = make_case(seed, num_truth, num_noise)
    expected = reference(document, results, kind, max_dets)
    metrics = score(document, results, (kind,), max_dets).metrics
    np.testing.assert_equal(metrics, figures(expected.eval, kind))
    evaluator, _ = match(document, results, kind, [1, 10, max_dets])
    evaluator.accumulate()
    assert evaluator.eval is not None
    for table in ("precision", "recall", "scores"):
        np.testing.assert_array_equal(evaluator.eval[table], expected.eval[table])
    if max_dets == 100:
        ours = [metrics[f"{KINDS[kind]}/{name}"] for name in NAMES]
        np.testing.assert_array_equal(np.nan_to_num(ours, nan=-1), expected.stats)


@settings(deadline=None, max_examples=20, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_rising_map_of_the_scores_and_new_ids_change_nothing(seed: int) -> None:
    document, results = make_case(seed, 20, 20)
    mapped = [{**result, "score": result["score"] ** 3 / 2} for result in results]
    renumbered = [{**annotation, "id": 7 * index % 5} for index, annotation in enumerate(document["annotations"])]
    changed = {**document, "annotations": renumbered[::-1]}
    assert score(changed, mapped[::-1]).metrics == pytest.approx(score(document, results).metrics, nan_ok=True)


@settings(deadline=None, max_examples=20, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_wrong_result_below_all_others_never_raises_ap(seed: int) -> None:
    document, results = make_case(seed, 20, 20)
    worse = [*results, {**results[0], "bbox": [0.0, 0.0, 2.0, 2.0], "score": 1e-6}]
    before, after = (score(document, each, ("bbox",)).metrics["box/AP"] for each in (results, worse))
    assert after <= before + 1e-12


@settings(deadline=None, max_examples=20, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_new_ids_and_names_and_another_order_of_everything_change_nothing(seed: int) -> None:
    document, results = make_case(seed, 20, 20)
    draw = np.random.default_rng(seed)
    images, classes = (dict(zip((1, 2, 3), ids, strict=True)) for ids in (NEW_IDS, NEW_IDS[::-1]))

    def renamed(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        changed = [
            {**item, "image_id": images[item["image_id"]], "category_id": classes[item["category_id"]]}
            for item in items
        ]
        return [changed[index] for index in draw.permutation(len(changed))]

    other = {
        "images": [{**image, "id": images[image["id"]]} for image in document["images"][::-1]],
        "categories": [{"id": classes[each["id"]], "name": "another"} for each in document["categories"]],
        "annotations": [{**each, "id": 0} for each in renamed(document["annotations"])],
    }
    before, after = score(document, results).metrics, score(other, renamed(results)).metrics
    assert after == pytest.approx(before, abs=1e-12, nan_ok=True)  # a mean over classes in another order
