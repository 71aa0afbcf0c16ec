"""The costliest batches of a data set."""

import numpy as np
import pytest

from panet.data.extremes import find_extremes


def find(sizes, counts=None, batch_size: int = 2, group: bool = False, scale: int = 1):
    sizes = np.array(sizes, dtype=np.int64).reshape(-1, 2)
    counts = np.ones(len(sizes), dtype=np.int64) if counts is None else np.array(counts)
    return find_extremes(sizes, counts, lambda size: (size[0] * scale, size[1] * scale), batch_size, group)


def test_one_picture_is_all_of_them() -> None:
    found = find([(30, 40)], [0])
    assert (found.largest, found.crowded, found.empty, found.size) == ((0,), (0,), (0,), (30, 40))


def test_a_high_and_a_wide_picture_pad_each_other() -> None:
    found = find([(50, 50), (10, 90), (80, 10)])
    assert sorted(found.largest) == [1, 2]
    assert found.size == (80, 90)


def test_the_rest_of_the_batch_is_filled_by_area() -> None:
    assert find([(5, 5), (10, 90), (60, 60), (80, 10), (50, 50)], batch_size=4).largest == (3, 1, 2, 4)


def test_alone_the_picture_of_most_pixels_is_the_largest() -> None:
    found = find([(10, 90), (50, 50), (80, 10)], batch_size=1)
    assert (found.largest, found.size) == ((1,), (50, 50))


@pytest.mark.parametrize(("num_wide", "size"), [(2, (30, 90)), (3, (80, 90))])
def test_groups_by_aspect_meet_only_in_what_is_left_over(num_wide: int, size: tuple[int, int]) -> None:
    sizes = [(30, 90)] * num_wide + [(80, 20)] * 3
    assert find(sizes, group=True).size == size


def test_sizes_are_those_that_are_shown() -> None:
    assert find([(30, 40)], scale=3).size == (90, 120)


def test_the_most_crowded_have_the_most_objects_and_the_empty_is_the_smallest_without() -> None:
    found = find([(9, 9), (8, 8), (7, 7), (6, 6), (5, 5)], [4, 0, 9, 0, 7])
    assert found.crowded == (2, 4)
    assert found.empty == (3,)


def test_without_an_empty_picture_there_is_none() -> None:
    assert find([(9, 9), (8, 8)]).empty == ()
