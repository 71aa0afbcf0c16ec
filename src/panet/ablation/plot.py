"""An ablation as a picture: each row's AP and its difference to the row that it adds to, with intervals."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from panet.ablation.comparison import Difference
from panet.ablation.report import Report, main_metric
from panet.evaluate.bootstrap import Interval

__all__ = ["draw_report"]

_ROW, _TOP, _BOTTOM, _LABELS, _PANEL, _GAP = 44, 84, 64, 330, 430, 40  # px
_INK, _FAINT, _SEED = (30, 30, 30), (205, 205, 205), (120, 150, 190)
_SCORE, _TOLD, _UNTOLD = (25, 80, 160), (20, 120, 60), (150, 150, 150)
_TICKS = 5


class _Mark(NamedTuple):
    mean: float
    interval: Interval
    by_seed: tuple[float, ...]
    colour: tuple[int, int, int]


def draw_report(report: Report) -> Image.Image:
    """Draw two panels, a line a row: dot and bar are the mean and its 95 % interval, small ticks the seeds.

    Differences that can be told apart are green, the others grey.
    """
    rows, metric = list(report.rows.values()), main_metric(report)
    height = _TOP + _ROW * len(rows) + _BOTTOM
    picture = Image.new("RGB", (_LABELS + 2 * (_PANEL + _GAP), height), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    for index, row in enumerate(rows):
        pen.text((16, _TOP + _ROW * (index + 0.5)), row.row.label, _INK, font, anchor="lm")
    scores = [_Mark(each.mean, each.interval, each.by_seed, _SCORE) for each in (row.scores[metric] for row in rows)]
    changes = [_mark_change(row.to_before.get(metric)) for row in rows]
    name = metric.replace("/", " ")
    seeds = max((len(row.scores[metric].by_seed) for row in rows), default=0)
    below = f"{report.num_pictures} pictures, {seeds} seed{'s' if seeds != 1 else ''}; bars: 95 % over pictures"
    _draw_panel(pen, _LABELS, f"{name}", scores, with_zero=False)
    _draw_panel(pen, _LABELS + _PANEL + _GAP, f"{name}, less the row it adds to", changes, with_zero=True)
    pen.text((16, height - 14), below, _INK, font, anchor="ls")
    return picture


def _mark_change(change: Difference | None) -> _Mark | None:
    if change is None:
        return None
    colour = _TOLD if change.verdict in ("higher", "lower") else _UNTOLD
    return _Mark(change.mean, change.interval, change.by_seed, colour)


def _draw_panel(
    pen: ImageDraw.ImageDraw, left: int, title: str, marks: Sequence[_Mark | None], *, with_zero: bool
) -> None:
    font = ImageFont.load_default(13)
    pen.text((left + _PANEL / 2, 30), title, _INK, ImageFont.load_default(16), anchor="mm")
    shown = [mark for mark in marks if mark is not None and not math.isnan(mark.mean)]
    values = [value for mark in shown for value in (*mark.by_seed, mark.mean, mark.interval.low, mark.interval.high)]
    values = [value for value in values if not math.isnan(value)] + ([0.0] if with_zero else [])
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    margin = max(0.06 * (high - low), 1e-3)
    low, high = low - margin, high + margin

    def x(value: float) -> float:
        return left + _PANEL * (value - low) / (high - low)

    top, bottom = _TOP - 8, _TOP + _ROW * len(marks) + 8
    for tick in _ticks(low, high):
        pen.line((x(tick), top, x(tick), bottom), _FAINT)
        pen.text((x(tick), top - 6), f"{tick:+.3f}" if with_zero else f"{tick:.3f}", _INK, font, anchor="ms")
    if with_zero:
        pen.line((x(0), top, x(0), bottom), _INK, 2)
    for index, mark in enumerate(marks):
        if mark is None or math.isnan(mark.mean):
            continue
        y = _TOP + _ROW * (index + 0.5)
        for value in mark.by_seed:
            pen.line((x(value), y - 11, x(value), y - 5), _SEED, 2)
        if not math.isnan(mark.interval.low):
            pen.line((x(mark.interval.low), y, x(mark.interval.high), y), mark.colour, 3)
        pen.ellipse((x(mark.mean) - 5, y - 5, x(mark.mean) + 5, y + 5), mark.colour)


def _ticks(low: float, high: float) -> list[float]:
    """Give round numbers between two, about _TICKS of them."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]
