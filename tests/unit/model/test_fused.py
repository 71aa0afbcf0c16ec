"""Fused layers compute what the layers they are made from compute, nothing to the empty batch included."""

import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from panet.model.fused import (
    FusedConv,
    FusedDeconv,
    FusedLinear,
    WinogradConv,
    activation_of,
    can_fuse,
    can_take,
    fuse_conv,
)
from panet.model.mask_head import Deconv
from panet.ops.winograd import can_convolve

DTYPES = [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)]
CONVS = [{"padding": 1}, {"padding": 1, "stride": 2, "bias": False}, {"dilation": 2, "groups": 2}]

pytestmark = [
    pytest.mark.skipif(not can_fuse(torch.device("cpu")), reason="needs a torch with oneDNN"),
    pytest.mark.usefixtures("no_gradients"),
]


@pytest.fixture
def no_gradients():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("options", CONVS)
@pytest.mark.parametrize("count", [0, 2])
def test_a_conv_takes_along_a_sum_and_an_activation(options, count, dtype, tolerance):
    conv = nn.Conv2d(8, 16, 3, **options)
    x = torch.randn(count, 8, 11, 13).to(dtype)
    expected = conv(x.float())
    addend = torch.randn_like(expected).to(dtype)
    activation = activation_of(nn.ReLU())
    fused = FusedConv(conv, dtype, activation)
    torch.testing.assert_close(FusedConv(conv, dtype)(x).float(), expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(fused(x).float(), relu(expected), rtol=tolerance, atol=tolerance)
    if conv.groups > 1:
        return  # takes no sum: oneDNN has none for such convs in bf16
    summed = relu(expected + addend.float())
    torch.testing.assert_close(fused(x, addend).float(), summed, rtol=tolerance, atol=tolerance)
    assert fused(x).is_contiguous(memory_format=torch.channels_last)
    assert fused(x).dtype == dtype


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("count", [0, 2])
def test_a_conv_with_fewer_multiplications_gives_the_same(count, dtype, tolerance):
    conv = nn.Conv2d(32, 48, 3, padding=1)
    if not can_convolve(conv.weight, dtype):
        pytest.skip("needs the compiled kernels, and a processor that gains from them")
    fused = fuse_conv(conv, dtype, activation_of(nn.ReLU6()))
    assert isinstance(fused, WinogradConv)
    x = torch.randn(count, 32, 11, 13).to(dtype)
    addend = torch.randn(count, 48, 11, 13).to(dtype)
    expected = (conv(x.float()) + addend.float()).clamp(0, 6)
    torch.testing.assert_close(fused(x, addend).float(), expected, rtol=tolerance, atol=2 * tolerance)
    assert fused(x).dtype == dtype


@pytest.mark.parametrize(
    "options", [{"stride": 2, "padding": 1}, {"padding": 0}, {"padding": 2, "dilation": 2}, {"padding": 1, "groups": 2}]
)
def test_a_conv_of_another_geometry_is_multiplied_out(options):
    assert isinstance(fuse_conv(nn.Conv2d(32, 32, 3, **options), torch.float32), FusedConv)


def test_a_wide_conv_of_single_pixels_leaves_the_others_out_first():
    conv = nn.Conv2d(528, 32, 1, stride=2)
    x = torch.randn(2, 528, 7, 8)
    torch.testing.assert_close(FusedConv(conv, torch.float32)(x), conv(x))


def test_a_relu6_is_cut_at_6():
    conv = nn.Conv2d(1, 1, 1)
    conv.weight.fill_(1)
    conv.bias.zero_()
    fused = FusedConv(conv, torch.float32, activation_of(nn.ReLU6()))
    assert fused(torch.tensor([-1.0, 5, 7]).view(1, 1, 1, 3)).flatten().tolist() == [0, 5, 6]


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("count", [0, 3])
def test_a_linear_layer_reads_vectors_or_grids(count, dtype, tolerance):
    linear = nn.Linear(5 * 9, 7)
    grids = torch.randn(count, 5, 3, 3).to(dtype)
    expected = linear(grids.float().flatten(1))
    of_vectors = FusedLinear(linear.weight, linear.bias, dtype)
    of_grids = FusedLinear(linear.weight, linear.bias, dtype, activation_of(nn.ReLU()), side=3)
    torch.testing.assert_close(of_vectors(grids.flatten(1)).float(), expected, rtol=tolerance, atol=tolerance)
    for laid in (grids, grids.contiguous(memory_format=torch.channels_last)):
        torch.testing.assert_close(of_grids(laid).float(), relu(expected), rtol=tolerance, atol=tolerance)


def test_a_deconv_gives_the_same_quarters():
    deconv = Deconv(6)
    pixels = torch.randn(2, 3, 4, 6)
    expected = deconv.quarters(pixels)
    torch.testing.assert_close(FusedDeconv(deconv, torch.float32).quarters(pixels), expected, rtol=1e-5, atol=1e-5)


def test_quarters_are_the_deconvs_output_row_by_row():
    deconv = Deconv(6)
    x = torch.randn(2, 6, 3, 4)
    quarters = deconv.quarters(x.permute(0, 2, 3, 1)).view(2, 3, 4, 2, 2, 6)
    laid = quarters.permute(0, 5, 1, 3, 2, 4).reshape(2, 6, 6, 8)
    torch.testing.assert_close(laid, relu(deconv(x)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{"padding": "same"}, {"padding": 1, "padding_mode": "reflect"}])
def test_a_conv_of_another_padding_is_not_taken(options):
    assert not can_take(nn.Conv2d(3, 3, 3, **options))
    assert can_take(nn.Conv2d(3, 3, 3))


def test_an_activation_that_onednn_is_not_asked_for_is_not_taken():
    assert activation_of(nn.Sigmoid()) is None
    assert activation_of(None) is None


def test_a_gpu_has_no_onednn():
    assert not can_fuse(torch.device("cuda"))
