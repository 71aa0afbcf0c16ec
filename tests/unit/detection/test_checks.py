"""Every way in which a batch can be wrong, its message and its cure."""

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from panet.detection.checks import read_images, read_targets
from panet.errors import DataError

CPU = torch.device("cpu")
SIZES = [(60, 90), (70, 50)]


def read(targets, masks=True):
    return read_targets(targets, SIZES, 3, masks, CPU)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 5, 6)), r"images\[1\]: a ndarray: expected a tensor; torchvision's to_tensor makes one"),
        (torch.zeros(1, 5, 6), r"images\[1\]: shape \(1, 5, 6\): expected \(3, height, width\), RGB; expand a grey"),
        (torch.zeros(5, 6), r"images\[1\]: shape \(5, 6\).*give pictures as a list"),
        (torch.zeros(3, 0, 6), r"images\[1\]: shape \(3, 0, 6\)"),
        (torch.zeros(3, 5, 6, dtype=torch.uint8), r"images\[1\]: torch.uint8: .* 0..1; write image.float\(\) / 255"),
        (torch.full((3, 5, 6), 255.0), r"images\[1\]: values from 255 to 255: expected 0..1; divide by 255"),
        (torch.full((3, 5, 6), -1.0), r"images\[1\]: values from -1 to -1: .*; leave out Normalize, the model does it"),
        (torch.full((3, 5, 6), float("nan")), r"images\[1\]: values from nan to nan: .* look for NaN"),
        (torch.zeros(3, 5, 6, device="meta"), r"images\[1\]: on meta, the model is on cpu; move one of them"),
    ],
)
def test_a_wrong_picture_is_refused(image, message):
    with pytest.raises(DataError, match=message):
        read_images([torch.zeros(3, 5, 6), image], CPU)


def test_no_pictures_are_refused():
    with pytest.raises(DataError, match="images: an empty list: give at least one picture"):
        read_images([], CPU)


def test_pictures_may_be_a_tensor_a_tuple_or_tv_tensors():
    batch = torch.rand(2, 3, 5, 6, dtype=torch.float64)
    for images in (batch, tuple(batch), [tv_tensors.Image(image) for image in batch]):
        got = read_images(images, CPU)
        assert [type(image) for image in got] == [torch.Tensor] * 2
        assert torch.equal(torch.stack(got), batch.float())


def test_rounding_may_carry_a_pixel_a_little_out_of_its_range():
    assert len(read_images([torch.full((3, 2, 2), 1.0005), torch.full((3, 2, 2), -0.0005)], CPU)) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boxes": None}, r"targets\[0\].boxes: a NoneType: expected a tensor; use torch.as_tensor"),
        ({"boxes": torch.zeros(2, 5)}, r"targets\[0\].boxes: shape \(2, 5\): expected \(N, 4\)"),
        ({"boxes": torch.zeros(0)}, r"targets\[0\].boxes: shape \(0,\): .* of no object, torch.zeros\(0, 4\)"),
        ({"boxes": torch.ones(2, 4, dtype=torch.int64)}, r"targets\[0\].boxes: torch.int64: .* write boxes.float\(\)"),
        (
            {"boxes": torch.tensor([[1.0, 1, 2, 2], [5, 5, 5, 9]])},
            r"boxes\[1\]: \[5, 5, 5, 9\] has no area: .*not x, y",
        ),
        ({"boxes": torch.tensor([[1.0, 1, 2, 2], [5, 9, 8, 1]])}, r"boxes\[1\]: \[5, 9, 8, 1\] has no area"),
        ({"boxes": torch.tensor([[1.0, 1, 2, 2], [5, 5, 7, torch.nan]])}, r"boxes\[1\]: .*nan\] is not finite: remove"),
        ({"boxes": torch.tensor([[1.0, 1, torch.inf, 2], [5, 5, 7, 9]])}, r"boxes\[0\]: .*inf, 2\] is not finite"),
        (
            {"boxes": torch.tensor([[90.0, 1, 95, 2], [5, 5, 7, 9]])},
            r"boxes\[0\]: .* outside of the picture of 90 x 60",
        ),
        ({"boxes": torch.ones(2, 4, device="meta")}, r"targets\[0\].boxes: on meta, the model is on cpu"),
        ({"labels": torch.tensor([1, 0])}, r"labels\[1\]: 0: expected 1..3, 0 is the background; count classes from 1"),
        ({"labels": torch.tensor([-1, 1])}, r"targets\[0\].labels\[0\]: -1: expected 1..3"),
        ({"labels": torch.tensor([1, 4])}, r"labels\[1\]: 4: expected 1..3.* give num_classes with the background"),
        ({"labels": torch.tensor([1, 2], dtype=torch.int32)}, r"labels: torch.int32: .* labels.to\(torch.int64\)"),
        ({"labels": torch.tensor([1])}, r"targets\[0\].labels: shape \(1,\): expected \(2,\), one a box"),
        ({"masks": torch.zeros(1, 60, 90).bool()}, r"masks: shape \(1, 60, 90\): expected \(2, 60, 90\), one a box"),
        ({"masks": torch.zeros(2, 60, 91).bool()}, r"masks: shape \(2, 60, 91\): .* flip and crop them with the pict"),
        ({"masks": torch.zeros(2, 60, 90)}, r"masks: torch.float32: expected torch.uint8 or torch.bool; write masks"),
        (
            {"masks": torch.full((2, 60, 90), 255, dtype=torch.uint8)},
            r"masks: values up to 255: expected 0 and 1; write",
        ),
        ({"iscrowd": torch.zeros(3, dtype=torch.int64)}, r"iscrowd: torch.int64 \(3,\): expected \(2,\) whole numbers"),
        ({"iscrowd": torch.zeros(2)}, r"targets\[0\].iscrowd: torch.float32 \(2,\)"),
        ({"iscrowd": [0, 1]}, r"targets\[0\].iscrowd: a list: .* or leave it out"),
        ({"iscrowd": torch.tensor([0, 2])}, r"targets\[0\].iscrowd: expected 0 and 1, 1 for a crowd"),
        ({"iscrowd": torch.zeros(2, dtype=torch.int64, device="meta")}, r"targets\[0\].iscrowd: on meta"),
        ({"image_id": 1.5}, r"targets\[0\].image_id: a float: expected an int or a str, or leave it out"),
    ],
)
def test_a_wrong_target_is_refused(targets, changes, message):
    with pytest.raises(DataError, match=message):
        read([targets[0] | changes, targets[1]])


def test_boxes_of_another_format_are_refused(targets):
    boxes = tv_tensors.BoundingBoxes(targets[0]["boxes"], format="XYWH", canvas_size=(60, 90))
    with pytest.raises(DataError, match=r"boxes: format XYWH: expected XYXY; use v2.ConvertBoundingBoxFormat"):
        read([targets[0] | {"boxes": boxes}, targets[1]])


def test_no_targets_are_refused():
    with pytest.raises(DataError, match=r"targets: none: training needs them; .* call model.eval\(\) first"):
        read(None)


def test_too_few_targets_are_refused(targets):
    with pytest.raises(DataError, match="targets: 1 for 2 pictures: give one dict a picture, in their order"):
        read(targets[:1])


def test_a_target_that_is_no_dict_is_refused(targets):
    with pytest.raises(DataError, match=r"targets\[1\]: a list: expected a dict with boxes, labels, masks"):
        read([targets[0], []])


@pytest.mark.parametrize("key", ["boxes", "labels", "masks"])
def test_a_target_without_a_key_is_refused(targets, key):
    del targets[0][key]
    with pytest.raises(DataError, match=rf"targets\[0\]: no '{key}': expected boxes, labels, masks; a picture of noth"):
        read(targets)


def test_a_picture_of_nothing_has_shaped_empties(targets):
    nothing = read(targets)[1]
    assert nothing.boxes.shape == (0, 4)
    assert nothing.masks.shape == (0, 70, 50)
    assert nothing.image_id == 1  # its place in the batch, as none is given


def test_masks_are_not_read_where_none_are_needed(targets):
    del targets[0]["masks"]
    assert [target.masks.shape for target in read(targets, masks=False)] == [(2, 0, 0), (0, 0, 0)]


def test_what_is_given_arrives(targets):
    targets[0]["iscrowd"] = torch.tensor([0, 1])
    wrapped = targets[0] | {
        "boxes": tv_tensors.BoundingBoxes(targets[0]["boxes"].double(), format="XYXY", canvas_size=(60, 90)),
        "masks": tv_tensors.Mask(targets[0]["masks"]),
    }
    for target in (targets[0], wrapped):
        got = read([target, targets[1]])[0]
        assert type(got.boxes) is type(got.masks) is torch.Tensor
        assert torch.equal(got.boxes, targets[0]["boxes"])
        assert got.labels.tolist() == [1, 3]
        assert torch.equal(got.masks, targets[0]["masks"].bool())
        assert got.crowd.tolist() == [False, True]
        assert got.image_id == 7
