"""Views, flips and colours: image, boxes and masks stay in step."""

import pytest
import torch
from torchvision import tv_tensors
from torchvision.ops import masks_to_boxes

from panet.data.transforms import (
    ColourJitter,
    HorizontalFlip,
    RandomCrop,
    ResizeShortSide,
    Sample,
    ScaleJitter,
    VerticalFlip,
    View,
    apply_view,
    view_for_test,
)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def sample(num_objects=2, size=(5, 7)):
    draws = torch.Generator().manual_seed(1)
    masks = torch.zeros(num_objects, *size, dtype=torch.bool)
    for i, mask in enumerate(masks):
        mask[i : i + 2, 1 : 4 + i] = True
    boxes = masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1]) if num_objects else torch.zeros(0, 4)
    return Sample(
        image=tv_tensors.Image(torch.randint(0, 256, (3, *size), generator=draws, dtype=torch.uint8)),
        boxes=tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
        labels=torch.arange(1, num_objects + 1),
        masks=tv_tensors.Mask(masks),
        crowd=torch.zeros(num_objects, dtype=torch.bool),
        image_id=1,
        original_size=size,
    )


@pytest.mark.parametrize("size", [(20, 31), (64, 100), (90, 130)])
def test_a_picture_is_resized_to_the_same_bytes_however_it_lies(size):
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, 64, 90), generator=generator, dtype=torch.uint8)
    view = View(0, 0, 64, 90, size)
    resized = apply_view(image.permute(1, 2, 0).contiguous().permute(2, 0, 1), view)
    assert torch.equal(resized, apply_view(image, view))


@pytest.mark.parametrize(
    ("size", "short_side", "max_side", "expected"),
    [
        ((480, 640), 800, 1333, (800, 1067)),
        ((640, 480), 800, 1333, (1067, 800)),
        ((100, 300), 800, 1333, (444, 1333)),  # the longer side limits: 4.443 x
        ((1, 2000), 800, 1333, (1, 1333)),
        ((2000, 1), 32, 64, (64, 1)),
        ((1, 1), 5, 9, (5, 5)),
        ((512, 512), 512, 1024, (512, 512)),
    ],
)
def test_the_size_at_test_follows_the_shorter_side_up_to_the_longer_ones_limit(size, short_side, max_side, expected):
    image = torch.zeros(3, *size, dtype=torch.uint8)
    resized = apply_view(image, view_for_test(size, short_side, max_side))
    assert resized.shape == (3, *expected)
    assert resized.dtype == torch.uint8


def test_resizing_to_the_same_size_changes_nothing():
    image = sample().image
    assert torch.equal(apply_view(image, view_for_test((5, 7), 5, 7)), image)


def test_shrinking_averages_what_it_drops():
    stripes = torch.tensor([255, 0, 0, 0], dtype=torch.uint8).repeat(3, 32, 8)
    inner = apply_view(stripes, view_for_test((32, 32), 8, 8))[:, 1:-1, 1:-1].float()
    assert (inner - 255 / 4).abs().max() < 3


def test_one_of_the_short_sides_is_drawn_and_every_one_comes(generator):
    rule = ResizeShortSide((10, 20, 30), 1000)
    views = [rule((50, 100), generator) for _ in range(60)]
    assert {view.size for view in views} == {(10, 20), (20, 40), (30, 60)}
    assert all((view.top, view.left, view.height, view.width) == (0, 0, 50, 100) for view in views)


@pytest.mark.parametrize("size", [(40, 60), (300, 200), (33, 500), (1, 9)])
@pytest.mark.parametrize("crop", [(64, 64), (48, 80)])
def test_jittered_views_lie_in_the_picture_and_fit_the_crop(generator, size, crop):
    rule = ScaleJitter(ResizeShortSide((64,), 400), (0.5, 2.0), crop)
    whole = view_for_test(size, 64, 400).size
    for _ in range(50):
        view = rule(size, generator)
        assert 0 <= view.top <= size[0] - view.height
        assert 0 <= view.left <= size[1] - view.width
        for side in (0, 1):
            assert 1 <= view.size[side] <= crop[side]
            scale = view.size[side] / (view.height, view.width)[side]
            base = whole[side] / size[side]
            slack = 1 / (view.height, view.width)[side] + 1.5 / view.size[side]
            assert 0.5 * base * (1 - slack) - slack <= scale <= 2 * base * (1 + slack) + slack


def test_jitter_reaches_both_ends_and_every_corner(generator):
    rule = ScaleJitter(ResizeShortSide((100,), 100), (0.5, 2.0), (100, 100))
    views = [rule((100, 100), generator) for _ in range(200)]
    assert min(view.size[0] for view in views) < 55
    assert min(view.height for view in views) < 55
    assert max(view.height for view in views) == 100
    ends = {(view.top == 0, view.top + view.height == 100) for view in views}
    assert (True, True) in ends
    assert max(view.top for view in views) > 30


def test_a_crop_keeps_the_scale(generator):
    rule = RandomCrop((30, 50))
    views = [rule((40, 60), generator) for _ in range(300)]
    assert all(view.size == (view.height, view.width) == (30, 50) for view in views)
    assert {view.top for view in views} == set(range(11))
    assert {view.left for view in views} == set(range(11))
    small = rule((20, 80), generator)
    assert (small.top, small.size) == (0, (20, 50))


def test_a_view_without_a_change_of_size_is_the_window_itself():
    image = sample().image
    assert torch.equal(apply_view(image, View(1, 2, 3, 4, (3, 4))), image[:, 1:4, 2:6])


@pytest.mark.parametrize("flip", [HorizontalFlip, VerticalFlip])
@pytest.mark.parametrize("num_objects", [0, 2])
def test_flipping_twice_is_the_identity(generator, flip, num_objects):
    before = sample(num_objects)
    once = flip(1.0)(before, generator)
    twice = flip(1.0)(once, generator)
    for name in ("image", "boxes", "masks"):
        assert torch.equal(getattr(twice, name), getattr(before, name))
    if num_objects:
        assert not torch.equal(once.image, before.image)
        expected = masks_to_boxes(once.masks) + torch.tensor([0, 0, 1, 1])
        torch.testing.assert_close(once.boxes.as_subclass(torch.Tensor), expected)


@pytest.mark.parametrize(("flip", "dim"), [(HorizontalFlip, -1), (VerticalFlip, -2)])
def test_a_flip_turns_the_axis_it_names(generator, flip, dim):
    before = sample()
    after = flip(1.0)(before, generator)
    assert torch.equal(after.image, before.image.flip(dim))
    assert torch.equal(after.masks, before.masks.flip(dim))


@pytest.mark.parametrize("flip", [HorizontalFlip, VerticalFlip])
def test_the_probability_is_kept(generator, flip):
    before = sample()
    flipped = sum(flip(0.25)(before, generator) is not before for _ in range(400))
    assert 70 < flipped < 130  # 3.5 standard deviations around 100


def test_colour_changes_pixels_alone_and_only_with_strength(generator):
    before = sample()
    after = ColourJitter(0.5)(before, generator)
    assert after.image.dtype == torch.uint8
    assert not torch.equal(after.image, before.image)
    assert after.boxes is before.boxes
    assert after.masks is before.masks
    assert torch.equal(ColourJitter(0.0)(before, generator).image, before.image)


def test_inputs_are_not_written_to(generator):
    before = sample()
    copies = [kept.clone() for kept in (before.image, before.masks, before.boxes)]
    for transform in (HorizontalFlip(1.0), VerticalFlip(1.0), ColourJitter(0.9)):
        transform(before, generator)
    for copy, kept in zip(copies, (before.image, before.masks, before.boxes), strict=True):
        assert torch.equal(kept, copy)


@pytest.mark.parametrize(
    "draw",
    [
        ResizeShortSide((10, 20, 30), 90),
        ScaleJitter(ResizeShortSide((20, 30), 90), (0.5, 2.0), (16, 16)),
        RandomCrop((8, 8)),
    ],
)
def test_views_depend_on_the_generator_alone(draw):
    def views(seed):
        generator = torch.Generator().manual_seed(seed)
        return [draw((40, 60), generator) for _ in range(8)]

    torch.manual_seed(5)
    first = views(3)
    torch.manual_seed(6)
    assert views(3) == first
    assert views(4) != first
