"""The top-down path, the bottom-up path and the level above it."""

import pytest
import torch
from torch import nn

from panet.model.bottom_up import BottomUpPath, with_coarser_level
from panet.model.layers import norm_factory
from panet.model.top_down import TopDownPath

LEVELS = (2, 3, 4, 5)


def identity(path):
    """Make every 3x3 conv copy its input's channels, at its own stride; biases stay 0."""
    for module in path.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.dirac_(module.weight)
    return path


def pyramid(side=16, channels=2):
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(1, channels, side >> (k - 2), side >> (k - 2), generator=generator) for k in LEVELS}


def test_with_copying_convs_the_top_down_path_adds_what_is_above():
    path = identity(TopDownPath(dict.fromkeys(LEVELS, 1), 1, None))
    c = {k: torch.full((1, 1, 16 >> (k - 2), 16 >> (k - 2)), float(10**k)) for k in LEVELS}
    p = path(c)
    assert {k: set(x.flatten().tolist()) for k, x in p.items()} == {2: {111100}, 3: {111000}, 4: {110000}, 5: {1e5}}


def test_the_top_down_path_is_signed_and_copies_the_nearest_pixel():
    path = identity(TopDownPath(dict.fromkeys((2, 3), 1), 1, None))
    above = torch.tensor([[[[-1.0, 2.0]]]])
    p = path({2: torch.zeros(1, 1, 2, 4), 3: above})
    assert p[2].tolist() == [[[[-1, -1, 2, 2], [-1, -1, 2, 2]]]]
    assert p[3].tolist() == above.tolist()


def test_laterals_are_1_x_1_outputs_3_x_3_and_neither_has_a_relu():
    path = TopDownPath({2: 4, 3: 8, 4: 12, 5: 16}, 8, norm_factory("group", 2))
    assert {k: (m.conv.in_channels, m.conv.kernel_size) for k, m in path.lateral.items()} == {
        "2": (4, (1, 1)),
        "3": (8, (1, 1)),
        "4": (12, (1, 1)),
        "5": (16, (1, 1)),
    }
    assert {m.conv.kernel_size for m in path.output.values()} == {(3, 3)}
    assert not any(isinstance(module, nn.ReLU) for module in path.modules())


def test_with_copying_convs_the_bottom_up_path_is_the_papers_formula():
    path, p = identity(BottomUpPath(LEVELS, 2, None)), pyramid()
    n = path(p)
    assert n[2] is p[2]  # signed, untouched
    for k in (3, 4, 5):
        expected = (p[k] + n[k - 1][..., ::2, ::2].relu()).relu()
        torch.testing.assert_close(n[k], expected)


def test_without_its_relu_the_path_is_linear():
    path, p = BottomUpPath(LEVELS, 2, None, relu=False), pyramid()
    n, twice = path(p), path({k: -2 * x for k, x in p.items()})
    for k in LEVELS:
        torch.testing.assert_close(twice[k], -2 * n[k])


def test_the_convs_of_the_bottom_up_path_have_a_bias_also_before_a_norm():
    path = BottomUpPath(LEVELS, 8, norm_factory("group", 2))
    assert sorted(path.down) == sorted(path.fuse) == ["3", "4", "5"]
    for block in (*path.down.values(), *path.fuse.values()):
        assert [type(layer).__name__ for layer in block] == ["Conv2d", "GroupNorm", "ReLU"]
        assert block.conv.bias is not None


@pytest.mark.parametrize("norm", ["none", "group"])
def test_a_change_in_p5_leaves_n2_to_n4_alone(norm):
    path, p = BottomUpPath(LEVELS, 2, norm_factory(norm, 1)), pyramid()
    n, changed = path(p), path({**p, 5: p[5] + torch.randn_like(p[5])})
    assert all(torch.equal(n[k], changed[k]) for k in (2, 3, 4))
    assert not torch.equal(n[5], changed[5])


@pytest.mark.parametrize("norm", ["none", "group"])
def test_a_change_in_p2_reaches_n5(norm):
    path, p = BottomUpPath(LEVELS, 8, norm_factory(norm, 2)), pyramid(channels=8)
    n, changed = path(p), path({**p, 2: p[2] + torch.randn_like(p[2])})
    assert not any(torch.allclose(n[k], changed[k]) for k in LEVELS)


def test_the_level_above_is_every_second_pixel_and_the_rest_stays():
    n = {5: torch.arange(15.0).reshape(1, 1, 3, 5)}
    more = with_coarser_level(n)
    assert list(more) == [5, 6]
    assert more[5] is n[5]
    assert more[6].tolist() == [[[[0, 2, 4], [10, 12, 14]]]]
    assert list(n) == [5]
