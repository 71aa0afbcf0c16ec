"""Overlays: outlines on the masks' edges, readable on any picture, the same each time."""

import numpy as np
import pytest

from panet.predict.draw import Drawn, overlay, scale_for


def drawn(left: int, top: int, height: int, width: int, caption: str = "") -> Drawn:
    return Drawn((np.ones((height, width), dtype=bool), left, top), caption)


@pytest.mark.parametrize(
    ("size", "factor"),
    [((1, 1), 4), ((256, 256), 4), ((360, 360), 3), ((512, 400), 2), ((1024, 10), 1), ((9, 4000), 1)],
)
def test_small_pictures_are_magnified(size: tuple[int, int], factor: int) -> None:
    assert scale_for(size) == factor


def test_no_objects_leave_the_picture_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(overlay(image, [])), image)


def test_an_outline_is_on_the_masks_edge_the_fill_inside_and_nothing_outside() -> None:
    image = np.zeros((800, 900, 3), np.uint8)
    result = np.asarray(overlay(image, [drawn(100, 200, 50, 60)])).sum(axis=2)
    edge, inside = result[200, 100], result[225, 130]
    assert edge > 2 * inside > 0
    for row, column in ((200, 159), (249, 100), (249, 159), (210, 100)):
        assert result[row, column] == edge
    assert result[201, 101] == inside
    result = result.copy()
    result[200:250, 100:160] = 0
    assert not result.any()


def test_an_outline_follows_a_hole() -> None:
    mask = np.ones((9, 9), dtype=bool)
    mask[4, 4] = False
    result = np.asarray(overlay(np.zeros((800, 900, 3), np.uint8), [Drawn((mask, 0, 0), "")])).sum(axis=2)
    assert result[4, 4] == 0
    assert result[4, 3] == result[3, 4] == result[0, 0] > result[2, 2]


def test_neighbours_have_different_colours_and_the_same_ones_each_time() -> None:
    objects = [drawn(10 * i, 0, 8, 8) for i in range(20)]
    image = np.zeros((800, 900, 3), np.uint8)
    first, second = (np.asarray(overlay(image, objects)) for _ in range(2))
    assert np.array_equal(first, second)
    colours = {tuple(first[0, 10 * i].tolist()) for i in range(20)}
    assert len(colours) == 20


def test_the_best_object_is_drawn_on_top() -> None:
    image = np.zeros((800, 900, 3), np.uint8)
    alone = np.asarray(overlay(image, [drawn(0, 0, 8, 8)]))
    both = np.asarray(overlay(image, [drawn(0, 0, 8, 8), drawn(0, 0, 8, 8)]))
    assert np.array_equal(alone[0, 0], both[0, 0])


def test_colours_are_darker_on_a_bright_picture() -> None:
    dark, bright = (
        np.asarray(overlay(np.full((800, 900, 3), value, np.uint8), [drawn(0, 0, 8, 8)]))[0, 0].max()
        for value in (20, 230)
    )
    assert bright < dark


def test_an_empty_mask_draws_nothing() -> None:
    image = np.zeros((800, 900, 3), np.uint8)
    empty = Drawn((np.zeros((0, 0), dtype=bool), 0, 0), "fig 90%")
    assert not np.asarray(overlay(image, [empty])).any()


def test_a_caption_stands_above_its_object_or_inside_it_at_the_top() -> None:
    image = np.zeros((800, 900, 3), np.uint8)
    above = np.asarray(overlay(image, [drawn(100, 100, 200, 300, "fig 90%")]))
    assert above[60:100, 100:200].any()
    inside = np.asarray(overlay(image, [drawn(100, 0, 200, 300, "fig 90%")]))
    assert (inside[:15, 103:140] != inside[100, 200]).any()


def test_captions_do_not_cover_one_another() -> None:
    image = np.zeros((800, 900, 3), np.uint8)
    one = np.asarray(overlay(image, [drawn(100, 100, 200, 300, "fig 90%"), drawn(100, 100, 200, 300)]))
    both = np.asarray(overlay(image, [drawn(100, 100, 200, 300, "fig 90%"), drawn(100, 100, 200, 300, "date 80%")]))
    assert np.array_equal(one[:100], both[:100])


def test_a_caption_much_wider_than_its_object_is_left_out() -> None:
    image = np.zeros((800, 900, 3), np.uint8)
    result = np.asarray(overlay(image, [drawn(100, 100, 9, 9, "a long name 90%")])).copy()
    result[100:109, 100:109] = 0
    assert not result.any()


def test_a_picture_as_thin_as_a_line_has_small_captions() -> None:
    image = np.zeros((1, 1_000_000, 3), np.uint8)
    assert overlay(image, [drawn(0, 0, 1, 500_000, "worm")]).size == (1_000_000, 1)


def test_many_objects_have_no_captions() -> None:
    image = np.zeros((800, 900, 3), np.uint8)
    objects = [drawn(25 * i, 300, 20, 20, "f") for i in range(31)]
    assert np.asarray(overlay(image, objects[:30]))[:300].any()
    assert not np.asarray(overlay(image, objects))[:300].any()
