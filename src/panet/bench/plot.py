"""How seconds grow, as a picture: a line for each candidate, from zero up."""

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

__all__ = ["draw_growth"]

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _NAMES = 560, 420, 60, 60, 50, 300  # px
_INK, _FAINT = (30, 30, 30), (215, 215, 215)
# Told apart by people who do not see all colours (Okabe and Ito).
_COLOURS = ((0, 114, 178), (86, 180, 233), (0, 158, 115), (213, 94, 0), (230, 159, 0), (204, 121, 167), (0, 0, 0))
_TICKS = 6


def draw_growth(title: str, places: Sequence[float], lines: Mapping[str, Sequence[float]]) -> Image.Image:
    """Draw lines over common places, both axes from zero; names stand beside the lines, in the order of their ends.

    Args:
        title: what is shown.
        places: at least one, above zero.
        lines: name -> a value at each place.
    """
    picture = Image.new("RGB", (_LEFT + _WIDTH + _NAMES, _TOP + _HEIGHT + _BOTTOM), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    pen.text((_LEFT, 24), title, _INK, ImageFont.load_default(17), anchor="lm")
    right = max(places) * 1.04
    highest = max((value for values in lines.values() for value in values), default=1.0) * 1.06

    def x(place: float) -> float:
        return _LEFT + _WIDTH * place / right

    def y(value: float) -> float:
        return _TOP + _HEIGHT * (1 - value / highest)

    for value in _ticks(highest):
        pen.line((_LEFT, y(value), _LEFT + _WIDTH, y(value)), _FAINT)
        pen.text((_LEFT - 8, y(value)), f"{value:g}", _INK, font, anchor="rm")
    for place in sorted(set(places)):
        pen.line((x(place), _TOP + _HEIGHT, x(place), _TOP + _HEIGHT + 5), _INK)
        shown = f"{place:.0f}" if place >= 100 else f"{place:.3g}"
        pen.text((x(place), _TOP + _HEIGHT + 9), shown, _INK, font, anchor="mt")
    pen.line((_LEFT, _TOP, _LEFT, _TOP + _HEIGHT, _LEFT + _WIDTH, _TOP + _HEIGHT), _INK)
    lowest_name = math.inf
    order = sorted(lines, key=lambda name: lines[name][-1])
    for name in order:
        colour = _COLOURS[list(lines).index(name) % len(_COLOURS)]
        points = sorted(zip(places, lines[name], strict=True))
        at = [(x(place), y(value)) for place, value in points]
        pen.line(at, colour, 3)
        for centre in at:
            pen.ellipse((centre[0] - 4, centre[1] - 4, centre[0] + 4, centre[1] + 4), colour)
        end = min(at[-1][1], lowest_name - 18)  # names do not overlap
        pen.line((*at[-1], _LEFT + _WIDTH + 14, end), _FAINT)
        pen.text((_LEFT + _WIDTH + 18, end), f"{name}  {points[-1][1]:.2f}", colour, font, anchor="lm")
        lowest_name = end
    return picture


def _ticks(highest: float) -> list[float]:
    """Give round numbers from 0 to the highest, about _TICKS of them."""
    rough = highest / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [number * step for number in range(math.floor(highest / step) + 1)]
