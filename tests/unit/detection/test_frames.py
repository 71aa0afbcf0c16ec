"""Sizes, pixels, boxes and masks from image px to input px and back."""

import pytest
import torch
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from panet.detection.frames import as_prediction, resize_image, resize_target, size_of
from panet.errors import DataError
from panet.structures import Detections, Target


def target_of(mask, box, size=None):
    boxes = torch.tensor([box], dtype=torch.float32).reshape(-1, 4)
    ones = torch.ones(len(boxes), dtype=torch.int64)
    return Target(boxes, ones, mask, torch.zeros(len(boxes), dtype=torch.bool), 1)


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (37, 211), (480, 641), (5, 5), (64, 64)])
def test_sizes_and_pixels_are_torchvisions(size):
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    transform = GeneralizedRCNNTransform(64, 100, [0.0] * 3, [1.0] * 3).eval()
    expected = transform([image])[0]
    got = resize_image(image, 64, 100)
    assert size_of(got) == expected.image_sizes[0]
    assert torch.equal(got, expected.tensors[0, :, : got.shape[1], : got.shape[2]])


def test_a_picture_that_would_vanish_is_refused():
    with pytest.raises(DataError, match=r"picture of 2000 x 1 px: too narrow: .*; cut it into parts"):
        resize_image(torch.zeros(3, 1, 2000), 800, 1333)


def test_no_objects_stay_none():
    moved = resize_target(target_of(torch.zeros(0, 4, 6).bool(), ()), (4, 6), (8, 12))
    assert moved.boxes.shape == (0, 4)
    assert moved.masks.shape == (0, 8, 12)


def test_masks_that_are_not_read_take_the_size():
    assert resize_target(target_of(torch.zeros(1, 0, 0).bool(), (1, 1, 2, 2)), (4, 6), (8, 12)).masks.shape == (
        1,
        8,
        12,
    )


def test_boxes_and_masks_grow_together():
    mask = torch.zeros(1, 4, 6, dtype=torch.bool)
    mask[0, 1:3, 2:5] = True
    moved = resize_target(target_of(mask, (2, 1, 5, 3)), (4, 6), (8, 18))
    assert moved.boxes.tolist() == [[6, 2, 15, 6]]
    expected = torch.zeros(8, 18, dtype=torch.bool)
    expected[2:6, 6:15] = True
    assert torch.equal(moved.masks[0], expected)


def test_a_shrunken_mask_takes_the_pixel_under_each_centre():
    # 6 px to 2: centres 0.5 and 1.5 of 3 px each, pixels 1 and 4. torchvision would take 0 and 3.
    mask = torch.tensor([[[False, True, False, False, False, False]]])
    assert resize_target(target_of(mask, (1, 0, 2, 1)), (1, 6), (1, 2)).masks.tolist() == [[[True, False]]]


def test_a_prediction_is_in_the_pictures_own_px():
    found = Detections(
        torch.tensor([[0.0, 0, 8, 4], [4, 2, 8, 4]]),
        torch.tensor([0.9, 0.5]),
        torch.tensor([2, 1]),
        torch.ones(2, 3, 3),
    )
    got = as_prediction(found, (4, 8), (8, 24))
    assert list(got) == ["boxes", "labels", "scores", "masks"]
    assert got["boxes"].tolist() == [[0, 0, 24, 8], [12, 4, 24, 8]]
    assert got["masks"].shape == (2, 1, 8, 24)
    assert got["masks"].flatten(1).sum(1).tolist() == [24 * 8, 12 * 4]


def test_nothing_found_gives_shaped_empties():
    nothing = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 28, 28))
    got = as_prediction(nothing, (4, 8), (8, 24))
    assert {key: tuple(value.shape) for key, value in got.items()} == {
        "boxes": (0, 4),
        "labels": (0,),
        "scores": (0,),
        "masks": (0, 1, 8, 24),
    }
    assert got["labels"].dtype == torch.int64
