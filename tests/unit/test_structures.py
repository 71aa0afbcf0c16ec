"""The values between the stages refuse what does not fit together."""

import dataclasses

import pytest
import torch

from panet.errors import ConfigError
from panet.structures import TTA, Batch, Detections, ImageBatch, LabelMap, Target, Views

CPU = torch.device("cpu")


def target(count=2, **changes):
    parts = {
        "boxes": torch.rand(count, 4),
        "labels": torch.ones(count, dtype=torch.int64),
        "masks": torch.zeros(count, 5, 6, dtype=torch.bool),
        "crowd": torch.zeros(count, dtype=torch.bool),
        "image_id": 7,
    }
    return Target(**{**parts, **changes})


def images(num=2, sizes=None):
    sizes = ((20, 30),) * num if sizes is None else sizes
    return ImageBatch(torch.zeros(num, 3, 32, 32), sizes, ((40, 60),) * num)


def detections(count=3, **changes):
    parts = {
        "boxes": torch.rand(count, 4),
        "scores": torch.rand(count),
        "labels": torch.arange(count) + 1,
        "mask_grids": torch.rand(count, 2, 2),
    }
    return Detections(**{**parts, **changes})


def test_nothing_is_as_good_as_something():
    assert len(target(0)) == len(detections(0)) == 0
    assert len(detections(0)[torch.zeros(0, dtype=torch.int64)]) == 0
    assert len(target()) == len(images()) == 2
    assert len(LabelMap((), ())) == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: images(sizes=((20, 30),)),  # one size for two pictures
        lambda: images(sizes=((33, 30), (20, 30))),  # larger than the tensor
        lambda: ImageBatch(torch.zeros(3, 32, 32), ((20, 30),) * 3, ((20, 30),) * 3),
        lambda: target(boxes=torch.rand(2, 5)),
        lambda: target(labels=torch.ones(3, dtype=torch.int64)),
        lambda: target(crowd=torch.zeros(1, dtype=torch.bool)),
        lambda: target(crowd=torch.zeros(2)),
        lambda: target(masks=torch.zeros(2, 5, 6)),
        lambda: target(masks=torch.zeros(3, 5, 6, dtype=torch.bool)),
        lambda: target(masks=torch.zeros(2, 30, dtype=torch.bool)),
        lambda: Batch(images(2), (target(),)),
        lambda: detections(boxes=torch.rand(4)),
        lambda: detections(scores=torch.rand(2)),
        lambda: detections(labels=torch.ones(4)),
        lambda: detections(mask_grids=torch.rand(2, 2, 2)),
        lambda: detections(mask_grids=torch.rand(3, 4)),
        lambda: Views((), ()),
        lambda: Views((images(1),) * 2, (False,)),
        lambda: Views((images(1),), (True,)),  # the first view is the picture's own
        lambda: Views((images(2),), (False,)),
        lambda: Views((images(1), ImageBatch(torch.zeros(1, 3, 32, 32), ((20, 30),), ((9, 9),))), (False, True)),
        lambda: LabelMap((1, 2), ("a",)),
        lambda: LabelMap((1, 1), ("a", "b")),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(make):
    with pytest.raises(AssertionError):
        make()


@pytest.mark.parametrize("value", [images(), target(), detections(), Batch(images(), (target(),) * 2)])
def test_values_are_frozen(value):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, None)


def test_a_batch_moves_whole_and_names_its_pictures():
    batch = Batch(images(), (target(), target(image_id="b")))
    moved = batch.to(CPU)
    assert moved.image_ids == batch.image_ids == [7, "b"]
    assert len(moved) == 2
    assert torch.equal(moved.targets[0].boxes, batch.targets[0].boxes)
    assert moved.images.sizes == batch.images.sizes


@pytest.mark.parametrize("index", [torch.tensor([2, 0]), [2, 0], slice(1, None)])
def test_detections_are_picked_together(index):
    every = detections()
    picked = every[index]
    for name in ("boxes", "scores", "labels", "mask_grids"):
        assert torch.equal(getattr(picked, name), getattr(every, name)[index])


def test_detections_without_masks_stay_without():
    alone = detections(mask_grids=None)
    assert alone[:1].mask_grids is None
    assert alone.to(CPU).mask_grids is None
    assert torch.equal(detections().to(CPU).labels, alone.labels)


def test_labels_and_category_ids_go_both_ways():
    labels = LabelMap((3, 17, 90), ("cat", "dog", "door"))
    assert [labels.category_id(label) for label in (1, 2, 3)] == [3, 17, 90]
    assert [labels.label(i) for i in (3, 17, 90)] == [1, 2, 3]
    assert labels.name(2) == "dog"
    with pytest.raises(KeyError, match="4"):
        labels.label(4)


def test_views_move_whole_and_know_their_picture():
    moved = Views((images(1),) * 2, (False, True), 7).to(CPU)
    assert (len(moved), moved.mirrored, moved.image_id, moved.original_size) == (2, (False, True), 7, (40, 60))


def test_augmentation_is_the_papers_by_default():
    assert TTA() == TTA(scales=(0.6, 0.8, 1.0, 1.2), flip=True, soft_nms=None, box_voting=0.8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ()}, "TTA scales: none: give at least one"),
        ({"scales": (1, 600)}, "TTA scale 600: expected 0.1 to 10, a factor on the model's size, not px"),
        ({"scales": (float("nan"),)}, "TTA scale nan"),
        ({"soft_nms": "gausian"}, r"soft-NMS 'gausian' is unknown \(did you mean 'gaussian'\?\): choose linear or"),
        ({"box_voting": 0.0}, "box voting 0.0: expected an IoU above 0 and up to 1"),
        ({"box_voting": 80}, "box voting 80"),
    ],
)
def test_augmentation_that_cannot_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        TTA(**options)
