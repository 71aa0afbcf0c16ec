"""AP of pictures drawn again: the evaluator's own if each comes once, that of copies if one comes twice."""

import math
from typing import Any

import numpy as np
import pytest

from panet.evaluate.bootstrap import Interval, draw_pictures, interval_of, match_pictures
from panet.evaluate.coco import KINDS, score
from panet.ops import rle

SIZE = (120, 150)
NUM_PICTURES = 6


def make_objects(draw: np.random.Generator, count: int) -> list[dict[str, Any]]:
    """Rectangles in six pictures and three classes, often over one another."""
    objects = []
    for _ in range(count):
        height, width = (int(side) for side in draw.integers(4, 100, 2))
        left, top = int(draw.integers(0, SIZE[1] - width)), int(draw.integers(0, SIZE[0] - height))
        objects.append(
            {
                "image_id": int(draw.integers(0, NUM_PICTURES)),
                "category_id": int(draw.integers(1, 4)),
                "bbox": [left, top, width, height],
                "segmentation": rle.encode_window(np.ones((height, width), dtype=bool), left, top, SIZE),
            }
        )
    return objects


def make_case(seed: int, num_truth: int = 40, num_noise: int = 60) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ground truth, some of it crowds, and results: much of it again, moved, and noise; scores often equal."""
    draw = np.random.default_rng(seed)
    truth = make_objects(draw, num_truth)
    results = [dict(each) for each in truth if draw.random() < 0.7] + make_objects(draw, num_noise)
    for result in results:
        x, y, width, height = result["bbox"]
        result["bbox"] = [float(x + 2 * draw.normal()), float(y + 2 * draw.normal()), width, height]
        result["score"] = float(draw.integers(1, 40)) / 40
    for number, annotation in enumerate(truth, 1):
        annotation.update(id=number, iscrowd=int(draw.random() < 0.15))
    images = [{"id": number, "height": SIZE[0], "width": SIZE[1]} for number in range(NUM_PICTURES)]
    categories = [{"id": number, "name": f"class {number}"} for number in (1, 2, 3)]
    return {"images": images, "annotations": truth, "categories": categories}, results


def copies(rows: list[dict[str, Any]], counts: np.ndarray, key: str) -> list[dict[str, Any]]:
    """Give rows of each picture as often as it counts, in pictures of their own."""
    return [{**row, key: row[key] * 100 + copy} for row in rows for copy in range(counts[row[key]])]


ONES = np.ones(NUM_PICTURES, np.int64)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("seed", range(8))
def test_each_picture_once_is_the_evaluators_ap(kind: str, seed: int) -> None:
    document, results = make_case(seed)
    for max_dets in (2, 100):
        metrics = score(document, results, (kind,), max_dets).metrics
        by_iou = match_pictures(document, results, kind, max_dets).average_precision(ONES)
        assert by_iou.mean() == pytest.approx(metrics[f"{KINDS[kind]}/AP"], abs=1e-9)
        assert by_iou[0] == pytest.approx(metrics[f"{KINDS[kind]}/AP50"], abs=1e-9)
        assert by_iou[5] == pytest.approx(metrics[f"{KINDS[kind]}/AP75"], abs=1e-9)


def distinct(results: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Give scores no two of which are equal: else the order of a picture's copies among others would matter."""
    ranks = np.random.default_rng(seed).permutation(len(results))
    return [
        {**result, "score": (1 + int(rank)) / (1 + len(ranks))} for result, rank in zip(results, ranks, strict=True)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_a_picture_that_comes_twice_counts_as_its_copies_do(seed: int) -> None:
    document, results = make_case(seed)
    results = distinct(results, seed)
    matches = match_pictures(document, results, "segm", 100)
    for counts in draw_pictures(NUM_PICTURES, 5, np.random.default_rng(seed)):
        copied = {
            "images": copies(document["images"], counts, "id"),
            "annotations": copies(document["annotations"], counts, "image_id"),
            "categories": document["categories"],
        }
        expected = score(copied, copies(results, counts, "image_id"), ("segm",)).metrics["mask/AP"]
        assert matches.average_precision(counts).mean() == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_no_results_score_zero_and_no_objects_nothing() -> None:
    document, results = make_case(0)
    assert match_pictures(document, [], "bbox", 100).average_precision(ONES).tolist() == [0.0] * 10
    empty = {**document, "annotations": []}
    by_iou = match_pictures(empty, results, "bbox", 100).average_precision(ONES)
    assert by_iou.shape == (10,)
    assert np.isnan(by_iou).all()


def test_a_class_without_objects_in_the_draw_is_left_out() -> None:
    document, results = make_case(0)
    for annotation in document["annotations"]:
        annotation["image_id"] = 0 if annotation["category_id"] == 1 else 1
    matches = match_pictures(document, results, "bbox", 100)
    first_only = np.eye(NUM_PICTURES, dtype=np.int64)[0]
    kept = {**document, "annotations": [row for row in document["annotations"] if row["category_id"] == 1]}
    alone = match_pictures(kept, [row for row in results if row["category_id"] == 1], "bbox", 100)
    assert matches.average_precision(first_only) == pytest.approx(alone.average_precision(first_only))


def test_draws_are_those_of_the_seed_and_as_many_as_there_are_pictures() -> None:
    first, again, other = (draw_pictures(7, 50, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()
    assert (first.sum(axis=1) == 7).all()
    assert (first == 0).any()


def test_one_picture_has_an_interval_of_no_width() -> None:
    document, results = make_case(1)
    document = {**document, "images": document["images"][:1]}
    document["annotations"] = [{**row, "image_id": 0} for row in document["annotations"]]
    matches = match_pictures(document, [{**row, "image_id": 0} for row in results], "bbox", 100)
    draws = draw_pictures(1, 20, np.random.default_rng(0))
    interval = interval_of(np.array([matches.average_precision(draw).mean() for draw in draws]))
    assert interval.low == interval.high > 0


def test_an_interval_covers_95_percent_of_what_is_defined() -> None:
    """0 .. 1000: the quantiles are 25 and 975."""
    samples = np.concatenate([np.arange(1001.0), [math.nan]])
    assert interval_of(samples) == Interval(25.0, 975.0)
    assert math.isnan(interval_of(np.array([math.nan])).low)
