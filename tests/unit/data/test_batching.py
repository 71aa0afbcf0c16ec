"""Batches: padding, normalisation and the plan of who comes when."""

import itertools

import pytest
import torch
from torchvision import tv_tensors
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from panet.config import ModelConfig
from panet.data.batching import BatchPlan, Normalise, StepSampler, collate, make_image_batch
from panet.data.build import build_normalise
from panet.data.transforms import Sample, apply_view, view_for_test

PIXELS = Normalise(mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 5.0), bgr=False)


def picture(height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


def test_pixels_are_normalised_by_channel():
    image = torch.tensor([12, 28, 45], dtype=torch.uint8).view(3, 1, 1)
    assert PIXELS(image).flatten().tolist() == [1, 2, 3]
    assert PIXELS(image).dtype == torch.float32
    assert image.flatten().tolist() == [12, 28, 45]


def test_bgr_turns_the_channels_before_the_mean_is_taken():
    image = torch.tensor([45, 28, 12], dtype=torch.uint8).view(3, 1, 1)
    assert Normalise(PIXELS.mean, PIXELS.std, bgr=True)(image).flatten().tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("sizes", "padded"),
    [([(1, 1)], (32, 32)), ([(32, 64)], (32, 64)), ([(33, 20), (10, 65)], (64, 96))],
)
def test_pictures_are_padded_after_normalising_with_zeros_right_and_below(sizes, padded):
    images = [picture(*size) for size in sizes]
    batch = make_image_batch(images, [(7, 8)] * len(sizes), PIXELS)
    assert batch.tensor.shape == (len(sizes), 3, *padded)
    assert batch.tensor.is_contiguous(memory_format=torch.channels_last)
    assert batch.sizes == tuple(sizes)
    assert batch.original_sizes == ((7, 8),) * len(sizes)
    for row, image, (height, width) in zip(batch.tensor, images, sizes, strict=True):
        assert torch.equal(row[:, :height, :width], PIXELS(image))
        assert row[:, height:].abs().sum() == 0
        assert row[:, :, width:].abs().sum() == 0


def test_targets_keep_their_own_pictures_size():
    samples = [
        Sample(
            image=tv_tensors.Image(picture(*size)),
            boxes=tv_tensors.BoundingBoxes(torch.zeros(count, 4), format="XYXY", canvas_size=size),
            labels=torch.ones(count, dtype=torch.int64),
            masks=tv_tensors.Mask(torch.zeros(count, *size, dtype=torch.bool)),
            crowd=torch.zeros(count, dtype=torch.bool),
            image_id=f"picture {count}",
            original_size=(1, 2),
        )
        for size, count in (((20, 30), 0), ((40, 10), 3))
    ]
    batch = collate(samples, PIXELS)
    assert batch.image_ids == ["picture 0", "picture 3"]
    assert [tuple(target.masks.shape) for target in batch.targets] == [(0, 20, 30), (3, 40, 10)]
    for target in batch.targets:
        assert type(target.boxes) is type(target.masks) is torch.Tensor


@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("num_images", [1, 2, 7, 16, 33])
@pytest.mark.parametrize("batch_size", [1, 2, 4, 50])
def test_every_picture_comes_once_an_epoch(group, num_images, batch_size):
    aspects = [0.5 + (i % 3) * 0.5 for i in range(num_images)]
    plan = BatchPlan(aspects, batch_size, group, seed=1)
    for epoch in range(3):
        batches = plan.epoch(epoch)
        assert len(batches) == len(plan) == -(-num_images // batch_size)
        assert sorted(index for batch in batches for index in batch) == list(range(num_images))
        assert sum(len(batch) < batch_size for batch in batches) <= 1


def test_grouped_batches_mix_wide_and_high_in_the_left_overs_only():
    aspects = [1.5] * 21 + [0.7] * 18 + [1.0] * 4
    batches = BatchPlan(aspects, 4, True, seed=0).epoch(0)
    mixed = [batch for batch in batches if len({index < 21 for index in batch}) == 2]
    assert len(mixed) == 1  # 1 wide and 2 others are left over
    plain = BatchPlan(aspects, 4, False, seed=0).epoch(0)
    assert sum(len({index < 21 for index in batch}) == 2 for batch in plain) > 3


def test_the_order_is_drawn_from_seed_and_epoch_alone():
    aspects = [1.0] * 12
    plan = BatchPlan(aspects, 2, True, seed=0)
    first = plan.epoch(0)
    assert plan.epoch(0) == first == BatchPlan(aspects, 2, True, seed=0).epoch(0)
    assert plan.epoch(1) != first
    assert BatchPlan(aspects, 2, True, seed=1).epoch(0) != first


def test_batches_of_one_kind_do_not_come_in_a_row():
    batches = BatchPlan([1.5] * 40 + [0.5] * 40, 2, True, seed=0).epoch(0)
    kinds = [batch[0] < 40 for batch in batches]
    assert sum(a != b for a, b in itertools.pairwise(kinds)) > 8


@pytest.mark.parametrize("start_step", range(12))
def test_resuming_gives_the_rest_of_the_uninterrupted_run(start_step):
    plan = BatchPlan([1.0] * 9, 2, True, seed=4)  # 5 steps an epoch
    whole = list(StepSampler(plan, 0, 12))
    assert list(StepSampler(plan, start_step, 12)) == whole[start_step:]
    assert len(StepSampler(plan, start_step, 12)) == 12 - start_step
    assert [keys[0][0] for keys in whole] == [0] * 5 + [1] * 5 + [2] * 2


def test_a_finished_run_has_no_steps_left():
    plan = BatchPlan([1.0] * 9, 2, True, seed=4)
    assert list(StepSampler(plan, 12, 12)) == []
    assert len(StepSampler(plan, 13, 12)) == 0


@pytest.mark.parametrize("size", [(48, 64), (37, 53), (100, 301), (33, 40), (20, 20)])
def test_by_torchvisions_arithmetic_the_network_input_is_torchvisions_to_the_bit(size):
    image = torch.randint(256, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = ModelConfig(arithmetic="torchvision")
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    expected, _ = GeneralizedRCNNTransform(33, 57, mean, std).eval()([image / 255])
    view = view_for_test(size, 33, 57, "torchvision")
    got = make_image_batch([apply_view(image, view)], [size], build_normalise(model), [None], [view.late_size])
    assert list(got.sizes) == expected.image_sizes
    assert torch.equal(got.tensor, expected.tensors)


@pytest.mark.parametrize("num_shares", [2, 3])
def test_processes_take_turns_and_leave_no_batch_out(num_shares: int) -> None:
    plan = BatchPlan([1.0] * 7, 2, group=False, seed=0)
    whole = list(StepSampler(plan, 6, 18))
    shares = [StepSampler(plan, 6, 18, (number, num_shares)) for number in range(num_shares)]
    assert [len(share) for share in shares] == [12 // num_shares] * num_shares
    assert [keys for turn in zip(*shares, strict=True) for keys in turn] == whole
