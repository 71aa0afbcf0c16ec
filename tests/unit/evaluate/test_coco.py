"""COCO's figures: its own printed ones, those of pycocotools, and cases worked out by hand."""

import contextlib
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panet.errors import DataError
from panet.evaluate.coco import KINDS, kinds_of, score
from panet.ops import rle

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR", "ARs", "ARm", "ARl")  # in COCO's order


def square(left: int, top: int, side: int, size: tuple[int, int] = (64, 64)) -> dict[str, Any]:
    """An object, as annotation or (with a score) as result."""
    mask = np.ones((side, side), dtype=bool)
    return {
        "image_id": 7,
        "category_id": 3,
        "bbox": [left, top, side, side],
        "segmentation": rle.encode_window(mask, left, top, size),
    }


def document(*annotations: dict[str, Any]) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "height": 64, "width": 64}, {"id": 2, "height": 64, "width": 64}],
        "annotations": [{"id": number, **annotation} for number, annotation in enumerate(annotations)],
        "categories": [{"id": 3, "name": "fig"}, {"id": 1, "name": "date"}],
    }


TRUTH = (square(0, 0, 10), square(20, 20, 10), square(40, 8, 20))


def test_no_results_score_zero() -> None:
    metrics = score(document(*TRUTH), []).metrics
    assert metrics["box/AP"] == metrics["mask/AP"] == metrics["mask/AR"] == 0


def test_nothing_to_find_is_not_a_number() -> None:
    metrics = score(document(), [{**square(0, 0, 10), "score": 0.5}]).metrics
    assert all(math.isnan(value) for value in metrics.values())


def test_perfect_results_score_one_whatever_the_annotation_ids() -> None:
    """COCO's reference code takes a match with id 0 for none, and mixes up repeated ids."""
    results = [{**annotation, "score": 0.5 + number / 10} for number, annotation in enumerate(TRUTH)]
    for ids in ((0, 1, 2), (5, 5, 5), (None, None, None)):
        truth = document()
        truth["annotations"] = [
            {**annotation, **({} if i is None else {"id": i})} for i, annotation in zip(ids, TRUTH, strict=True)
        ]
        metrics = score(truth, results).metrics
        assert metrics["box/AP"] == pytest.approx(1)
        assert metrics["mask/AP"] == pytest.approx(1)


def test_half_of_the_objects_found_is_half_of_the_score() -> None:
    """Recall 0.5 at precision 1: 51 of COCO's 101 recall points (0, 0.01 .. 0.5) have precision 1."""
    metrics = score(document(*TRUTH[:2]), [{**TRUTH[0], "score": 0.9}]).metrics
    assert metrics["mask/AP"] == pytest.approx(51 / 101)
    assert metrics["mask/AR"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "box",
    [
        *([10, 10, -5, -5], [10, 10, -5, 5], [10, 10, 5, -5], [10, 10, 0, 0]),
        *([0, 0, 1e308, 1e308], [-1e308, 0, 1e308, 5], [1e308, 1e308, 1e308, 1e308]),
    ],
)
def test_a_box_with_a_negative_or_a_huge_side_is_a_false_positive(box: list[float]) -> None:
    """Its area would be negative or above 1e10, and COCO leaves out what is outside the range of areas."""
    good = {**TRUTH[0], "score": 0.5}
    bad = {**TRUTH[0], "bbox": box, "score": 0.9}
    assert score(document(TRUTH[0]), [good, bad], ("bbox",)).metrics["box/AP"] == pytest.approx(0.5)


def test_an_empty_mask_is_a_false_positive() -> None:
    empty = {**TRUTH[0], "segmentation": {"size": [64, 64], "counts": [64 * 64]}, "score": 0.9}
    good = {**TRUTH[0], "score": 0.5}
    assert score(document(TRUTH[0]), [good, empty], ("segm",)).metrics["mask/AP"] == pytest.approx(0.5)


def test_a_result_given_twice_is_found_once() -> None:
    results = [{**annotation, "score": number} for annotation in TRUTH for number in (0.9, 0.8)]
    metrics = score(document(*TRUTH), results).metrics
    assert metrics["mask/AR"] == pytest.approx(1)
    assert metrics["mask/AP"] == pytest.approx(1)  # the second ones lie below all the first
    first = [{**annotation, "score": number} for annotation in TRUTH[:1] for number in (0.9, 0.8)]
    rest = [{**annotation, "score": 0.7} for annotation in TRUTH[1:]]
    assert score(document(*TRUTH), first + rest).metrics["mask/AP"] < 0.9


def test_low_scores_do_not_push_the_good_ones_out() -> None:
    noise = [{**square(40, 40, 2 + k % 9), "score": 0.01} for k in range(150)]
    results = [*noise, *({**annotation, "score": 0.9} for annotation in TRUTH)]
    assert score(document(*TRUTH), results, max_dets=100).metrics["mask/AP"] == pytest.approx(1)


def test_any_integer_and_any_text_is_an_id() -> None:
    images, categories = (2**70, "a.png", -1, 0), ("fig", 10**30, 0, "")
    truth, results = document(), []
    truth["images"] = [{"id": identity, "height": 64, "width": 64} for identity in images]
    truth["categories"] = [{"id": identity, "name": f"class {identity}"} for identity in categories]
    for image, category in zip(images, categories, strict=True):
        annotation = {**TRUTH[0], "image_id": image, "category_id": category}
        truth["annotations"].append({"id": 0, **annotation})
        results.append({**annotation, "score": 0.5})
    found = score(truth, results)
    assert found.metrics["mask/AP"] == found.metrics["box/AP"] == pytest.approx(1)
    assert all(values["mask/AP"] == pytest.approx(1) for values in found.per_class.values())


def test_the_order_of_annotations_does_not_matter_even_where_a_result_fits_two_alike() -> None:
    """The wide result overlaps both objects by 0.6; the other result is one of them."""
    first, second = ({**square(0, 0, 12), "bbox": [left, 0, 12, 10], "area": 120} for left in (0, 6))
    results = [{**first, "bbox": [3, 0, 12, 10], "score": 0.9}, {**first, "score": 0.8}]
    values = [score(document(*order), results, ("bbox",)).metrics for order in ((first, second), (second, first))]
    assert values[0] == pytest.approx(values[1], nan_ok=True)


def test_no_limit_of_detections_is_too_large() -> None:
    results = [{**annotation, "score": 0.9} for annotation in TRUTH]
    assert score(document(*TRUTH), results, max_dets=2**70).metrics["box/AP"] == pytest.approx(1)


def test_masks_of_a_large_picture_are_compared_encoded() -> None:
    """300 masks of 20,000 x 20,000 px would be 120 GB; their runs are a few MB."""
    import resource

    side = 20_000
    masks = [rle.encode_window(np.ones((500, 500), dtype=bool), 60 * k, 60 * k, (side, side)) for k in range(300)]
    truth = document()
    truth["images"] = [{"id": 7, "height": side, "width": side}]
    plain = [{"image_id": 7, "category_id": 3, "segmentation": mask} for mask in masks]
    truth["annotations"] = [{"id": 1, **each} for each in plain]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    metrics = score(truth, [{**each, "score": 0.5} for each in plain], ("segm",), max_dets=300).metrics
    assert metrics["mask/AP"] == pytest.approx(1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # kB


def test_the_order_of_results_does_not_matter_even_with_equal_scores() -> None:
    results = [{**square(left, 20, 10), "score": 0.5} for left in range(10, 30)]
    forward = score(document(*TRUTH), results).metrics
    assert score(document(*TRUTH), results[::-1]).metrics == forward
    assert 0 < forward["mask/AP"] < 1


def test_scores_are_taken_at_the_last_max_dets() -> None:
    """150 wrong results above one right one: it counts at 200, not at 100."""
    results = [{**square(40, 40, 2 + k % 9), "score": 0.9 - k / 1000} for k in range(150)]
    results.append({**TRUTH[0], "score": 0.1})
    assert score(document(TRUTH[0]), results, max_dets=100).metrics["mask/AP"] == 0
    assert score(document(TRUTH[0]), results, max_dets=200).metrics["mask/AP"] == pytest.approx(1 / 151)


def test_few_max_dets_leave_no_recall_above_them() -> None:
    metrics = score(document(*TRUTH), [{**TRUTH[0], "score": 0.9}], ("bbox",), max_dets=5).metrics
    assert "box/AR1" in metrics
    assert "box/AR10" not in metrics


def test_results_below_the_threshold_are_left_out() -> None:
    results = [{**TRUTH[0], "score": 0.4}]
    assert score(document(TRUTH[0]), results, score_threshold=0.4).metrics["mask/AP"] == pytest.approx(1)
    assert score(document(TRUTH[0]), results, score_threshold=0.5).metrics["mask/AP"] == 0


def test_each_class_has_its_own_score() -> None:
    per_class = score(document(*TRUTH), [{**annotation, "score": 0.9} for annotation in TRUTH]).per_class
    assert list(per_class) == ["date", "fig"]
    assert per_class["fig"]["mask/AP"] == pytest.approx(1)
    assert math.isnan(per_class["date"]["box/AP50"])


def test_classes_of_one_name_are_told_apart() -> None:
    truth = document(*TRUTH)
    truth["categories"] = [{"id": 3, "name": "fig"}, {"id": 1, "name": "fig"}]
    assert list(score(truth, [], ("bbox",)).per_class) == ["fig (1)", "fig (3)"]


def test_no_class_is_taken_for_another_whatever_their_names() -> None:
    truth = document(*TRUTH)
    truth["categories"] = [
        {"id": i, "name": name} for i, name in ((1, "fig"), (3, "fig"), ("1", "fig"), (4, "fig (1)"))
    ]
    per_class = score(truth, [{**annotation, "score": 0.9} for annotation in TRUTH], ("bbox",)).per_class
    assert list(per_class) == ["fig (1) (1)", "fig (3)", "fig (1) (4)", "fig ('1')"]
    assert [math.isnan(values["box/AP"]) for values in per_class.values()] == [True, False, True, True]


def test_ten_thousand_classes_cost_no_table_of_them_all() -> None:
    """COCO's tables of them, for precision and for scores, would be 2 GB."""
    import resource

    truth = document(*TRUTH)
    truth["categories"] = [{"id": number, "name": f"class {number}"} for number in range(10_000)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = score(truth, [{**annotation, "score": 0.9} for annotation in TRUTH], ("bbox",))
    assert (found.metrics["box/AP"], found.per_class["class 3"]["box/AP"]) == pytest.approx((1, 1))
    assert len(found.per_class) == 10_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # kB


def test_classes_are_counted_a_part_at_a_time_with_the_same_figures() -> None:
    truth = document()
    truth["categories"] = [{"id": number, "name": f"class {number}"} for number in range(150)]
    truth["annotations"] = [{**TRUTH[0], "category_id": number} for number in range(149, 0, -1)]
    results = [{**TRUTH[0], "category_id": number, "score": 0.5} for number in range(0, 150, 2)]
    found = score(truth, results)
    assert [found.metrics[name] for name in ("mask/AP", "box/AR")] == pytest.approx([74 / 149] * 2)
    for number in range(1, 150):
        assert found.per_class[f"class {number}"]["mask/AP"] == pytest.approx(1 - number % 2)
    assert math.isnan(found.per_class["class 0"]["box/AP"])


def test_arguments_are_not_written_to() -> None:
    truth, results = document(*TRUTH), [{**TRUTH[0], "score": 0.9}]
    before = json.dumps([truth, results])
    score(truth, results)
    assert json.dumps([truth, results]) == before


@pytest.mark.parametrize(
    ("results", "kinds"),
    [
        ([], ("bbox", "segm")),
        ([{"bbox": []}], ("bbox",)),
        ([{"segmentation": {}}, {}], ("segm",)),
        ([{"bbox": [], "segmentation": {}}], ("bbox", "segm")),
        ([3], ("bbox", "segm")),
    ],
)
def test_results_are_compared_by_what_they_have(results: list[Any], kinds: tuple[str, ...]) -> None:
    assert kinds_of(results) == kinds


def test_an_error_names_the_result() -> None:
    with pytest.raises(DataError, match="result 2: score is nan: expected a number from 0 to 1"):
        score(document(*TRUTH), [{**TRUTH[0], "score": 0.9}, {**TRUTH[0], "score": math.nan}])


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def pycocotools_stats(truth: dict[str, Any], results: list[dict[str, Any]], kind: str) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        annotations = COCO()
        annotations.dataset = truth
        annotations.createIndex()
        evaluation = COCOeval(annotations, annotations.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.shared
@pytest.mark.parametrize(("kind", "part"), [("segm", 0), ("bbox", 1)])
def test_cocos_own_test_gives_cocos_printed_figures_and_those_of_pycocotools(
    shared_data: Path, kind: str, part: int
) -> None:
    folder = shared_data / "coco_eval"
    printed = re.findall(r"= (\d\.\d{3})$", (folder / "val2014_fake_eval_res.txt").read_text(), re.MULTILINE)
    truth = read(folder / "instances_val2014_100.json")
    results = read(folder / f"instances_val2014_fake{kind}100_results.json")
    metrics = score(truth, results, (kind,)).metrics
    values = [metrics[f"{KINDS[kind]}/{name}"] for name in NAMES]
    assert [f"{value:.3f}" for value in values] == printed[12 * part : 12 * part + 12]
    assert values == pytest.approx(pycocotools_stats(truth, results, kind), abs=1e-9)
