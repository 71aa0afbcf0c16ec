"""Histograms as SVG: real axes, colours from the page's style, nothing but text and rectangles."""

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["bars", "histogram", "linear_bins", "octave_bins"]

_WIDTH, _HEIGHT = 460, 262
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 42, 44
_ROW, _NAMES = 22, 128  # a bar's height; room for names, px
_GAP, _DIGIT = 6, 9  # between a bar and its number; room for a character of that, as large as phones show it
_LONGEST_NAME = 18  # characters that fit there


def linear_bins(largest: float, most: int = 16) -> NDArray[np.float64]:
    """Give edges 0, s, 2s, ... beyond the largest value, with a round step s and at most `most` bins."""
    step = next(
        step for power in range(12) for step in (10**power, 2 * 10**power, 5 * 10**power) if largest < step * most
    )
    return np.arange(0, step * (math.floor(largest / step) + 2), step, dtype=np.float64)


def octave_bins(smallest: float, largest: float) -> NDArray[np.float64]:
    """Give edges at half powers of two around all values."""
    first = math.floor(2 * math.log2(max(smallest, 1)))
    last = max(math.floor(2 * math.log2(max(largest, 1))) + 1, first + 1)
    return np.exp2(np.arange(first, last + 1) / 2)


def histogram(
    title: str,
    values: Mapping[str, ArrayLike],
    edges: NDArray[np.float64],
    labels: tuple[str, str],
    marks: Mapping[float, str],
) -> str:
    """Draw the shares of one or two series, bar beside bar.

    Args:
        title: what a reader of the page hears.
        values: name of a series -> its numbers; the names are classes of the style, "train" and "val".
        edges: of the bins; those of `octave_bins` are spaced evenly, too.
        labels: of the axes x and y.
        marks: places on x that are marked by a line -> their text.
    """
    places = np.linspace(_LEFT, _WIDTH - _RIGHT, len(edges))
    shares = {name: 100 * np.histogram(series, edges)[0] / max(np.size(series), 1) for name, series in values.items()}
    ticks = linear_bins(max(float(share.max(initial=0)) for share in shares.values()) or 1.0, 5)
    floor = _HEIGHT - _BOTTOM
    rise = (floor - _TOP) / ticks[-1]
    drawn = [_line(_LEFT, floor - tick * rise, _WIDTH - _RIGHT, floor - tick * rise, "grid") for tick in ticks]
    drawn += [_text(_LEFT - 6, floor - tick * rise + 4, f"{tick:g}", "end") for tick in ticks]
    for turn, (name, share) in enumerate(shares.items()):
        for left, right, height in zip(places[:-1], places[1:], share * rise, strict=True):
            width = (right - left - 2) / len(shares)
            if height > 0:
                drawn.append(_bar(left + 1 + turn * width, floor - height, width, height, name))
    every = math.ceil(len(edges) / 9)
    drawn += [
        _text(x, floor + 16, _number(edge), "middle") for x, edge in list(zip(places, edges, strict=True))[::every]
    ]
    for mark, text in marks.items():
        x = float(np.interp(mark, edges, places))
        if edges[0] <= mark <= edges[-1]:
            drawn += [_line(x, _TOP - 6, x, floor, "mark"), _text(x, _TOP - 9, text, "middle", "marked")]
    drawn += [_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, labels[0], "middle", "label")]
    drawn += [_text(4, 12, labels[1], "start", "label")]
    return _svg(title, _HEIGHT, drawn)


def bars(title: str, counts: Mapping[str, Sequence[tuple[str, int]]]) -> str:
    """Draw a row of bars for each name, one bar a series.

    Args:
        title: what a reader of the page hears.
        counts: name -> (series, number) pairs.
    """
    largest = max((number for series in counts.values() for _, number in series), default=0) or 1
    room = _WIDTH - _NAMES - _GAP - _DIGIT * len(f"{largest:,}")
    drawn, y = [], 4.0
    for name, series in counts.items():
        short = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
        drawn.append(_text(_NAMES - 8, y + len(series) * _ROW / 2 + 1, short, "end"))
        for kind, number in series:
            length = room * number / largest
            drawn.append(_bar(_NAMES, y, max(length, 1), _ROW - 8, kind))
            drawn.append(_text(_NAMES + length + _GAP, y + 11, f"{number:,}", "start"))
            y += _ROW - 4
        y += 8
    return _svg(title, math.ceil(y), drawn)


def _number(edge: float) -> str:
    return f"{edge:.3g}" if edge < 1000 else f"{edge:.0f}"


def _svg(title: str, height: int, drawn: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {_WIDTH} {height}" role="img"><title>{escape(title)}</title>'
    return f"{head}{''.join(drawn)}</svg>"


def _bar(x: float, y: float, width: float, height: float, kind: str) -> str:
    shape = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{escape(kind)}" {shape}/>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
