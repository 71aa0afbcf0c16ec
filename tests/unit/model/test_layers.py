"""Blocks, norms, and the three ways in which weights start."""

import math

import pytest
import torch
from torch import nn

from panet.model.layers import ConvBlock, LinearBlock, gaussian_fill, msra_fill, norm_factory, xavier_fill


def kinds(block):
    return [type(layer).__name__ for layer in block]


@pytest.mark.parametrize(
    ("norm", "layer"),
    [("group", "GroupNorm"), ("batch", "BatchNorm2d"), ("sync_batch", "SyncBatchNorm"), ("none", None)],
)
def test_a_conv_has_a_bias_where_no_norm_follows(norm, layer):
    block = ConvBlock(4, 8, norm=norm_factory(norm, 2))
    assert kinds(block) == [kind for kind in ("Conv2d", layer, "ReLU") if kind]
    assert (block.conv.bias is None) == (layer is not None)


def test_bias_and_relu_are_there_as_asked_for():
    block = ConvBlock(4, 8, norm=norm_factory("group", 2), relu=False, bias=True)
    assert kinds(block) == ["Conv2d", "GroupNorm"]
    assert block.conv.bias is not None


def test_a_norm_has_the_groups_asked_for():
    assert ConvBlock(4, 8, norm=norm_factory("group", 2)).norm.num_groups == 2


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 8)])
def test_stride_1_keeps_the_size_and_stride_2_halves_it_rounded_up(kernel, height, width):
    x = torch.zeros(1, 4, height, width)
    assert ConvBlock(4, 8, kernel)(x).shape == (1, 8, height, width)
    assert ConvBlock(4, 8, kernel, stride=2)(x).shape == (1, 8, (height + 1) // 2, (width + 1) // 2)


@pytest.mark.parametrize("norm", ["none", "group", "batch", "sync_batch"])
def test_a_linear_block_takes_grids_and_gives_vectors_of_at_least_0(norm):
    block = LinearBlock(3 * 2 * 2, 8, norm_factory(norm, 2))
    out = block(torch.randn(5, 3, 2, 2))
    assert out.shape == (5, 8)
    assert out.min() == 0
    assert block.linear.bias is not None


def layers():
    """A conv with fan_in 16 * 9 and fan_out 64 * 9; a deconv with fan 32 * 4; a linear layer 200 -> 100."""
    return nn.Sequential(nn.Conv2d(16, 64, 3), nn.ConvTranspose2d(32, 48, 2), nn.Linear(200, 100))


def check_biases(module):
    assert all((layer.bias == 0).all() for layer in module)


def test_xavier_is_uniform_within_the_square_root_of_3_by_fan_in():
    module = layers()
    xavier_fill(module)
    for layer, fan_in in ((module[0], 16 * 9), (module[2], 200)):
        limit = math.sqrt(3 / fan_in)
        assert 0.98 * limit < layer.weight.abs().max() <= limit
        assert layer.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.03)
    check_biases(module)


def test_msra_is_normal_with_the_square_root_of_2_by_fan_out():
    module = layers()
    msra_fill(module)
    # Caffe2 counts a deconv's fan from its inputs.
    for layer, fan_out in zip(module, (64 * 9, 32 * 4, 100), strict=True):
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.04)
        assert layer.weight.abs().max() > 3 * math.sqrt(2 / fan_out)  # not uniform
    check_biases(module)


def test_gaussian_has_the_deviation_asked_for():
    module = layers()
    gaussian_fill(module, std=0.02)
    for layer in module:
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.04)
    check_biases(module)


def test_filling_leaves_norms_alone():
    block = ConvBlock(4, 8, norm=norm_factory("group", 2))
    xavier_fill(block)
    assert (block.norm.weight == 1).all()
    assert (block.norm.bias == 0).all()
