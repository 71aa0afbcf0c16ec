"""What leaves the data set is sound, or the run ends: each promise is broken once."""

from dataclasses import replace

import pytest
import torch
from torchvision import tv_tensors

from panet.data.contract import assert_sound
from panet.data.transforms import Sample


def sample(**changes):
    """Two objects of labels 1 and 2 in a picture of 6 x 8."""
    masks = torch.zeros(2, 6, 8, dtype=torch.bool)
    masks[:, 1:3, 2:5] = True
    whole = Sample(
        image=tv_tensors.Image(torch.zeros(3, 6, 8, dtype=torch.uint8)),
        boxes=boxes([[2, 1, 5, 3], [0, 0, 8, 6]]),
        labels=torch.tensor([1, 2]),
        masks=tv_tensors.Mask(masks),
        crowd=torch.tensor([False, True]),
        image_id=1,
        original_size=(6, 8),
        factor=None,
        late_size=None,
    )
    return replace(whole, **changes)


def boxes(rows):
    return tv_tensors.BoundingBoxes(torch.tensor(rows, dtype=torch.float32), format="XYXY", canvas_size=(6, 8))


def masks(*shape, dtype=torch.bool):
    return tv_tensors.Mask(torch.zeros(*shape, dtype=dtype))


def test_no_object_is_sound():
    empty = sample(
        boxes=tv_tensors.wrap(torch.zeros(0, 4), like=boxes([[0, 0, 1, 1]])),
        labels=torch.zeros(0, dtype=torch.int64),
        masks=masks(0, 6, 8),
        crowd=torch.zeros(0, dtype=torch.bool),
    )
    assert_sound(empty, 2)


def test_boxes_and_masks_of_the_whole_picture_are_sound():
    assert_sound(sample(), 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"boxes": boxes([[2, 1, 5, 3]])},
        {"boxes": boxes([[2, 1, 5, 3], [2, 1, float("nan"), 3]])},
        {"boxes": boxes([[2, 1, 5, 3], [2, 1, 2, 3]])},
        {"boxes": boxes([[2, 1, 5, 3], [2, 3, 5, 1]])},
        {"boxes": boxes([[2, 1, 5, 3], [-1, 1, 5, 3]])},
        {"boxes": boxes([[2, 1, 5, 3], [2, -1, 5, 3]])},
        {"boxes": boxes([[2, 1, 5, 3], [2, 1, 9, 3]])},
        {"boxes": boxes([[2, 1, 5, 3], [2, 1, 5, 7]])},
        {"boxes": boxes([[2, 1, 5, 3], [2, 1, float("inf"), 3]])},
        {"labels": torch.tensor([0, 1])},
        {"labels": torch.tensor([1, 3])},
        {"labels": torch.tensor([1, 2, 1])},
        {"masks": masks(1, 6, 8)},
        {"masks": masks(2, 8, 6)},
        {"masks": masks(2, 6, 8, dtype=torch.uint8)},
        {"crowd": torch.tensor([False])},
        {"crowd": torch.tensor([0, 1])},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_broken_promise_ends_the_run(changes):
    with pytest.raises(AssertionError):
        assert_sound(sample(**changes), 2)
