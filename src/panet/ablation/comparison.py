"""What runs tell apart: scores with intervals over pictures, paired differences, a verdict."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from panet.evaluate.bootstrap import Interval, draw_pictures, interval_of, match_pictures
from panet.evaluate.coco import KINDS

__all__ = ["MIN_PICTURES", "Difference", "RunScores", "Score", "compare", "sample_scores", "summarise"]

MIN_PICTURES = 10
"""With fewer, drawing pictures again says too little about others."""

Verdict = Literal["higher", "lower", "cannot be told apart", "too few pictures"]

_AVERAGES: dict[str, Callable[[NDArray[np.float64]], float]] = {
    "AP": lambda by_iou: float(by_iou.mean()),
    "AP50": lambda by_iou: float(by_iou[0]),
    "AP75": lambda by_iou: float(by_iou[5]),
}


@dataclass(frozen=True)
class RunScores:
    """What one run reaches.

    Args:
        scores: "mask/AP", AP50, AP75, and the same of "box/" -> the value on the pictures as they are.
        samples: metric -> (N,) its values on pictures drawn again, the same draws for every run.
    """

    scores: Mapping[str, float]
    samples: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Score:
    """A row's metric: mean over its seeds, the interval of that mean over pictures, and each seed's value."""

    mean: float
    interval: Interval
    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class Difference:
    """One row less another, seed by seed and draw by draw.

    Args:
        mean: over the seeds that both have.
        interval: of that mean, over pictures.
        by_seed: each seed's.
        verdict: "higher" or "lower" only if the interval leaves out 0 and no seed says otherwise.
    """

    mean: float
    interval: Interval
    by_seed: tuple[float, ...]
    verdict: Verdict


def sample_scores(
    document: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    kinds: Sequence[str],
    max_dets: int,
    num_draws: int,
    generator: np.random.Generator,
) -> RunScores:
    """Score a run on its pictures, and on pictures drawn again.

    Args:
        document: the ground truth, COCO.
        results: COCO results.
        kinds: what to compare, of `evaluate.coco.KINDS`; at least one.
        max_dets: best results of a picture and class that count.
        num_draws: N.
        generator: of the draws; runs to be compared need generators in the same state.

    Raises:
        DataError: the ground truth or a result cannot be used.
    """
    matches = {KINDS[kind]: match_pictures(document, results, kind, max_dets) for kind in kinds}
    num_pictures = next(iter(matches.values())).num_pictures
    scores: dict[str, float] = {}
    samples: dict[str, NDArray[np.float64]] = {}
    draws = draw_pictures(num_pictures, num_draws, generator)
    for prefix, matched in matches.items():
        once = matched.average_precision(np.ones(num_pictures, np.int64))
        drawn = [matched.average_precision(weights) for weights in draws]
        for name, part in _AVERAGES.items():
            scores[f"{prefix}/{name}"] = part(once)
            samples[f"{prefix}/{name}"] = np.array([part(by_iou) for by_iou in drawn])
    return RunScores(scores, samples)


def summarise(runs: Mapping[int, RunScores], metric: str) -> Score:
    """Average a metric over a row's runs, by seed; NaN where any of them has it undefined."""
    values = tuple(run.scores[metric] for run in runs.values())
    samples = np.stack([run.samples[metric] for run in runs.values()])
    return Score(float(np.mean(values)), interval_of(samples.mean(axis=0)), values)


def compare(
    runs: Mapping[int, RunScores], others: Mapping[int, RunScores], metric: str, num_pictures: int
) -> Difference:
    """Compare two rows by the seeds that both have; compare(r, r) is 0, with an interval of no width.

    Args:
        runs: of a row: seed -> scores.
        others: of the row that is subtracted.
        metric: such as "mask/AP".
        num_pictures: how many were scored.
    """
    seeds = [seed for seed in runs if seed in others]
    assert seeds
    values = tuple(runs[seed].scores[metric] - others[seed].scores[metric] for seed in seeds)
    samples = np.stack([runs[seed].samples[metric] - others[seed].samples[metric] for seed in seeds])
    interval = interval_of(samples.mean(axis=0))
    return Difference(float(np.mean(values)), interval, values, _judge(interval, values, num_pictures))


def _judge(interval: Interval, by_seed: Sequence[float], num_pictures: int) -> Verdict:
    if num_pictures < MIN_PICTURES:
        return "too few pictures"
    if math.isnan(interval.low):
        return "cannot be told apart"
    if interval.low > 0 and min(by_seed) > 0:
        return "higher"
    if interval.high < 0 and max(by_seed) < 0:
        return "lower"
    return "cannot be told apart"
