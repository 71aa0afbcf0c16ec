"""Found, missed, invented."""

import numpy as np
import pytest

from panet.evaluate.matches import Matches, match_masks
from panet.ops import rle


def square(left: int, side: int) -> rle.Rle:
    return rle.encode_window(np.ones((side, side), dtype=bool), left, 0, (50, 50))


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [
        ([], [], Matches(0, 0, 0)),
        ([], [square(0, 4)], Matches(0, 0, 1)),
        ([square(0, 4)], [], Matches(0, 1, 0)),
        ([square(0, 4), square(10, 4)], [square(10, 4), square(30, 4)], Matches(1, 1, 1)),
        # 10 x 10 moved by 3: IoU 70 / 130; by 4: 60 / 140.
        ([square(0, 10)], [square(3, 10)], Matches(1, 0, 0)),
        ([square(0, 10)], [square(4, 10)], Matches(0, 1, 1)),
        # The second one is as good, but the object is taken.
        ([square(0, 10)], [square(0, 10), square(0, 10)], Matches(1, 0, 1)),
        # The first takes the object it overlaps most and leaves the other.
        ([square(0, 10), square(3, 10)], [square(2, 10), square(0, 10)], Matches(2, 0, 0)),
    ],
)
def test_each_prediction_takes_one_free_object(
    truth: list[rle.Rle], predicted: list[rle.Rle], expected: Matches
) -> None:
    assert match_masks(truth, predicted) == expected
