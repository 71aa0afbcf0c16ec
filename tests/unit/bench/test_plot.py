"""A picture of growth shows every line, and copes with one place and with equal values."""

import pytest

from panet.bench.plot import draw_growth

COLOURS = {(0, 114, 178), (86, 180, 233)}


def colours(picture) -> set[tuple[int, int, int]]:
    return {colour for _, colour in picture.getcolors(10**6)}


@pytest.mark.parametrize("places", [[0.5], [0.25, 1.0, 4.0]])
def test_every_line_is_there(places: list[float]) -> None:
    lines = {"one": [0.2 * place for place in places], "other": [0.3] * len(places)}
    assert colours(draw_growth("seconds", places, lines)) >= COLOURS


def test_a_higher_value_lies_higher() -> None:
    picture = draw_growth("seconds", [1.0, 2.0], {"one": [1.0, 1.0], "other": [3.0, 3.0]})
    rows = {colour: [y for y in range(60, 470) if picture.getpixel((400, y)) == colour] for colour in COLOURS}
    assert max(rows[(86, 180, 233)]) < min(rows[(0, 114, 178)])
