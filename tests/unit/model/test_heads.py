"""Box head and mask head: shapes, parts, the fully connected path."""

from functools import partial

import pytest
import torch
from torch import nn

from panet.model.box_head import BoxHead, four_conv_one_fc, two_fc
from panet.model.fusion import AdaptivePooling
from panet.model.layers import norm_factory
from panet.model.mask_head import FullyConnectedPath, MaskHead

LEVELS = (2, 3, 4, 5)
BOXES = [torch.tensor([[3.0, 4, 40, 50], [0, 0, 90, 60]]), torch.zeros(0, 4)]
NOTHING = [torch.zeros(0, 4)] * 2
NORM = norm_factory("group", 4)


def pooling(size):
    return partial(AdaptivePooling, LEVELS, size=size, samples=2)


def pyramid():
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(2, 8, 64 >> k, 96 >> k, generator=generator) for k in LEVELS}


def box_head(kind, norm=NORM):
    parts = {
        "2fc": lambda: two_fc(pooling(7), 8, 16, 7, norm),
        "4conv1fc": lambda: four_conv_one_fc(pooling(7), 8, 12, 16, 7, norm),
    }[kind]()
    return BoxHead(*parts, 16, 3)


def mask_head(**options):
    return MaskHead(pooling(14), inputs=8, channels=8, num_classes=3, size=14, norm=NORM, **options)


@pytest.mark.parametrize("kind", ["2fc", "4conv1fc"])
def test_a_box_head_gives_logits_and_deltas_of_every_class_and_background(kind):
    head = box_head(kind)
    for boxes, count in ((BOXES, 2), (NOTHING, 0)):
        output = head(pyramid(), boxes)
        assert output.class_logits.shape == (count, 4)
        assert output.deltas.shape == (count, 4, 4)


def test_deltas_run_class_by_class():
    head, n = box_head("2fc"), pyramid()
    flat = head.deltas(head.shared(head.pooling(n, BOXES)))
    assert torch.equal(head(n, BOXES).deltas[1, 2], flat[1, 8:12])


def names(module):
    return [type(m).__name__ for m in module.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.GroupNorm)]


def test_the_heavier_head_has_a_conv_per_level_three_shared_ones_and_one_fc():
    head = box_head("4conv1fc")
    assert names(head.pooling) == ["Conv2d", "GroupNorm"] * 4
    assert names(head.shared) == ["Conv2d", "GroupNorm"] * 3 + ["Linear"]


def test_the_light_head_has_an_fc_per_level_and_one_shared():
    head = box_head("2fc")
    assert names(head.pooling) == ["Linear", "GroupNorm"] * 4
    assert names(head.shared) == ["Linear", "GroupNorm"]


def test_a_mask_head_gives_a_grid_of_twice_the_side_for_every_class_and_background():
    for head in (mask_head(), mask_head(fc_path=False)):
        assert head(pyramid(), BOXES).shape == (2, 4, 28, 28)
        assert head(pyramid(), NOTHING).shape == (0, 4, 28, 28)


def test_the_mask_of_one_class_is_that_channel_of_all():
    labels = torch.tensor([2, 3])
    for head in (mask_head(), mask_head(fc_path=False)):
        with torch.no_grad():
            head.deconv.bias.normal_()
            head.mask_logits.bias.normal_()
        expected = head(pyramid(), BOXES)[torch.arange(2), labels]
        torch.testing.assert_close(head.of_labels(pyramid(), BOXES, labels), expected, rtol=1e-5, atol=1e-5)
        assert head.of_labels(pyramid(), NOTHING, labels[:0]).shape == (0, 28, 28)


def test_masks_are_computed_for_few_numbers_of_rois_and_each_is_what_it_is_alone():
    seen = set()
    head = mask_head()
    head.conv2.register_forward_pre_hook(lambda _, inputs: seen.add(len(inputs[0])))
    boxes = torch.tensor([[0.0, 0, 8, 8]]) + torch.arange(21)[:, None]
    labels = torch.arange(21) % 3 + 1
    with torch.no_grad():
        alone = torch.cat([head.of_labels(pyramid(), [boxes[i : i + 1]], labels[i : i + 1]) for i in range(21)])
        for count in range(1, 22):
            together = head.of_labels(pyramid(), [boxes[:count]], labels[:count])
            torch.testing.assert_close(together, alone[:count], rtol=1e-5, atol=1e-5)
        of_two_pictures = head.of_labels(pyramid(), [boxes[:9], boxes[:0]], labels[:9])
        torch.testing.assert_close(of_two_pictures, alone[:9], rtol=1e-5, atol=1e-5)
    assert seen == {8, 16, 24}


def test_the_fully_connected_path_halves_the_channels_and_has_one_map_for_all_classes():
    path = FullyConnectedPath(8, 14, NORM)
    assert path.conv5.conv.out_channels == 4
    assert (path.fc.in_features, path.fc.out_features) == (4 * 14 * 14, 28 * 28)
    assert path(torch.randn(3, 8, 14, 14)).shape == (3, 1, 28, 28)


def test_the_fully_connected_path_is_at_least_0_so_it_only_raises_logits():
    head, n = mask_head(), pyramid()
    with torch.no_grad():
        head.fc_path.fc.weight.mul_(30)
        both = head(n, BOXES)
        path, head.fc_path = head.fc_path, None
        alone = head(n, BOXES)
    raised = both - alone
    assert raised.min() >= 0
    assert raised.max() > 0.1
    assert (raised < 1e-6).any()  # the ReLU after the fc
    torch.testing.assert_close(raised, raised[:, :1].expand_as(raised), rtol=0, atol=1e-5)  # every class alike
    assert path is not None


def test_the_map_of_the_fully_connected_path_runs_row_by_row():
    path = FullyConnectedPath(8, 2, NORM)
    with torch.no_grad():
        path.fc.weight.zero_()
        path.fc.bias.copy_(torch.arange(16.0))
    assert path(torch.randn(1, 8, 2, 2))[0, 0].tolist() == torch.arange(16.0).reshape(4, 4).tolist()


def test_the_fully_connected_path_starts_from_conv3():
    head, n = mask_head(), pyramid()
    with torch.no_grad():
        head.mask_logits.weight.zero_()  # silences the convolutional path
        before = head(n, BOXES)
        head.conv4.conv.weight.normal_()
        assert torch.equal(head(n, BOXES), before)
        head.conv3.conv.weight.normal_()
        assert not torch.equal(head(n, BOXES), before)
