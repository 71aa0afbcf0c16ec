"""Scores with intervals, paired differences, and when two rows count as told apart."""

import math

import numpy as np
import pytest

from panet.ablation.comparison import RunScores, compare, sample_scores, summarise
from panet.evaluate.bootstrap import Interval
from panet.evaluate.coco import score

AP = "mask/AP"


def run_of(value: float, samples: list[float]) -> RunScores:
    return RunScores({AP: value}, {AP: np.array(samples)})


def rows_that_differ_by(*by_seed: float, spread: float = 0.0) -> tuple[dict[int, RunScores], dict[int, RunScores]]:
    """Give two rows whose pictures vary much, in the same way, and whose difference varies by `spread`."""
    pictures = np.linspace(0.2, 0.8, 101)
    wobble = spread * np.cos(np.arange(101.0))
    others = {seed: RunScores({AP: 0.5}, {AP: pictures}) for seed in range(len(by_seed))}
    own = {seed: RunScores({AP: 0.5 + gain}, {AP: pictures + gain + wobble}) for seed, gain in enumerate(by_seed)}
    return own, others


def test_a_run_less_itself_is_zero_with_an_interval_of_no_width() -> None:
    own, _ = rows_that_differ_by(0.1, 0.2, spread=0.3)
    difference = compare(own, own, AP, 50)
    assert difference.mean == 0
    assert difference.interval == Interval(0.0, 0.0)
    assert difference.verdict == "cannot be told apart"


def test_differences_are_taken_draw_by_draw() -> None:
    """The rows' own intervals overlap widely; what the pictures share falls out."""
    own, others = rows_that_differ_by(0.02, 0.04, spread=0.01)
    assert summarise(own, AP).interval.low < summarise(others, AP).interval.high
    difference = compare(own, others, AP, 50)
    assert difference.mean == pytest.approx(0.03)
    assert difference.by_seed == pytest.approx((0.02, 0.04))
    assert 0.019 < difference.interval.low < difference.interval.high < 0.041
    assert difference.verdict == "higher"
    assert compare(others, own, AP, 50).verdict == "lower"


def test_an_interval_with_zero_in_it_tells_nothing_apart() -> None:
    own, others = rows_that_differ_by(0.02, 0.02, spread=0.1)
    assert compare(own, others, AP, 50).verdict == "cannot be told apart"


def test_a_seed_that_disagrees_leaves_it_open() -> None:
    own, others = rows_that_differ_by(0.3, -0.01, 0.3)
    difference = compare(own, others, AP, 50)
    assert difference.interval.low > 0
    assert difference.verdict == "cannot be told apart"


def test_a_handful_of_pictures_tells_nothing() -> None:
    own, others = rows_that_differ_by(0.3, 0.3)
    assert compare(own, others, AP, 9).verdict == "too few pictures"
    assert compare(own, others, AP, 10).verdict == "higher"


def test_rows_are_compared_by_the_seeds_that_both_have() -> None:
    own = {0: run_of(0.5, [0.5]), 1: run_of(0.9, [0.9])}
    others = {1: run_of(0.6, [0.6]), 2: run_of(0.0, [0.0])}
    assert compare(own, others, AP, 50).by_seed == pytest.approx((0.3,))


def test_an_undefined_score_is_undefined_everywhere() -> None:
    own = {0: run_of(math.nan, [math.nan, math.nan])}
    assert math.isnan(summarise(own, AP).mean)
    assert compare(own, own, AP, 50).verdict == "cannot be told apart"


def test_a_rows_score_is_the_mean_of_its_seeds_and_its_interval_that_of_the_mean() -> None:
    """Of draws that go opposite ways in two seeds, the mean stays where it is."""
    own = {0: run_of(0.4, [0.3, 0.5]), 1: run_of(0.6, [0.7, 0.5])}
    summary = summarise(own, AP)
    assert summary.mean == pytest.approx(0.5)
    assert summary.by_seed == (0.4, 0.6)
    assert summary.interval.low == pytest.approx(summary.interval.high) == pytest.approx(0.5)


def test_sampled_scores_are_the_evaluators_and_those_of_the_seed() -> None:
    images = [{"id": number, "height": 40, "width": 40} for number in range(5)]
    boxes = [(number, [number, 2, 10 + number, 12]) for number in range(5)]
    rows = [{"image_id": image, "category_id": 1, "bbox": box} for image, box in boxes]
    document = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "fig"}]}
    results = [
        {**row, "bbox": [*row["bbox"][:3], 8 + image], "score": 0.1 * (1 + image)} for image, row in enumerate(rows)
    ]

    def sample(seed: int) -> RunScores:
        return sample_scores(document, results, ("bbox",), 100, 30, np.random.default_rng(seed))

    first, again, other = sample(0), sample(0), sample(1)
    metrics = score(document, results, ("bbox",)).metrics
    assert first.scores == pytest.approx({name: metrics[name] for name in ("box/AP", "box/AP50", "box/AP75")})
    assert 0 < first.scores["box/AP"] < first.scores["box/AP50"]
    assert (first.samples["box/AP"] == again.samples["box/AP"]).all()
    assert (first.samples["box/AP"] != other.samples["box/AP"]).any()
