"""The compiled conv is the conv: of any size, with a sum and an activation, on one thread or several."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import conv2d

from panet.ops import native
from panet.ops.winograd import can_convolve, convolve, transform_weights

pytestmark = pytest.mark.skipif(native.LIBRARY is None, reason=f"needs the compiled kernels: {native.PROBLEM}")

ANY = -math.inf, math.inf


def draw(seed: int, batch: int, inputs: int, outputs: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, inputs, height, width, generator=generator).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(outputs, inputs, 3, 3, generator=generator) / (9 * inputs) ** 0.5
    return x, weight, torch.randn(outputs, generator=generator)


@pytest.mark.parametrize("batch", [0, 1])
def test_nothing_gives_nothing(batch: int) -> None:
    x, weight, bias = draw(0, batch, 16, 32, 0 if batch else 5, 7)
    assert convolve(x, transform_weights(weight, torch.float32), bias, None, *ANY).shape == (batch, 32, *x.shape[2:])


@given(
    seed=st.integers(0, 2**32),
    batch=st.integers(1, 3),
    inputs=st.integers(1, 9).map(lambda n: 16 * n),
    outputs=st.integers(1, 9).map(lambda n: 16 * n),
    height=st.integers(1, 14),
    width=st.integers(1, 14),
)
def test_it_is_the_conv_of_torch(seed: int, batch: int, inputs: int, outputs: int, height: int, width: int) -> None:
    x, weight, bias = draw(seed, batch, inputs, outputs, height, width)
    expected = conv2d(x.double(), weight.double(), bias.double(), padding=1)
    y = convolve(x, transform_weights(weight, torch.float32), bias, None, *ANY)
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y.double(), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_mirrored_weights_give_the_gradient_of_the_map(memory: torch.memory_format) -> None:
    x, weight, _ = draw(11, 2, 48, 32, 9, 13)
    gradient = draw(12, 2, 32, 16, 9, 13)[0]
    x.requires_grad_()
    (expected,) = torch.autograd.grad(conv2d(x, weight, padding=1), x, gradient)
    weights = transform_weights(weight.contiguous(memory_format=memory), torch.float32, mirrored=True)
    torch.testing.assert_close(convolve(gradient, weights, None, None, *ANY), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 3e-2)])
def test_the_sum_comes_before_the_activation(dtype: torch.dtype, tolerance: float) -> None:
    x, weight, bias = draw(1, 2, 32, 48, 9, 10)
    x = x.to(dtype)
    addend = draw(2, 2, 48, 16, 9, 10)[0].to(dtype)
    plain = conv2d(x.double(), weight.double(), bias.double(), padding=1) + addend.double()
    y = convolve(x, transform_weights(weight, torch.float32), bias, addend, 0.0, 1.5)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), plain.clamp(0.0, 1.5), rtol=tolerance, atol=tolerance)


def test_a_conv_without_a_bias_adds_none() -> None:
    x, weight, bias = draw(3, 1, 16, 16, 6, 6)
    weights = transform_weights(weight, torch.float32)
    without = convolve(x, weights, None, None, *ANY)
    difference = convolve(x, weights, bias, None, *ANY) - without
    torch.testing.assert_close(difference, bias[:, None, None].expand_as(without[0])[None])


@pytest.mark.skipif(not native.has_pairs(), reason="needs a processor that multiplies bfloat16")
def test_products_of_bfloat16_round_about_one_percent() -> None:
    x, weight, bias = draw(8, 1, 128, 112, 21, 22)
    x, weight = x.bfloat16(), weight.bfloat16().float()
    expected = conv2d(x.double(), weight.double(), bias.double(), padding=1)
    weights = transform_weights(weight, torch.bfloat16)
    error = convolve(x, weights, bias, None, *ANY).double() - expected
    assert weights.dtype == torch.bfloat16
    assert error.norm() < 0.012 * expected.norm()
    assert error.abs().max() < 0.1 * expected.abs().max()


@given(
    inputs=st.integers(1, 9).map(lambda n: 16 * n),
    outputs=st.integers(1, 9).map(lambda n: 16 * n),
    height=st.integers(1, 14),
)
@pytest.mark.skipif(not native.has_pairs(), reason="needs a processor that multiplies bfloat16")
def test_products_of_bfloat16_of_any_size_are_near(inputs: int, outputs: int, height: int) -> None:
    x, weight, bias = draw(9, 2, inputs, outputs, height, 9)
    expected = conv2d(x.double(), weight.double(), bias.double(), padding=1)
    y = convolve(x.bfloat16(), transform_weights(weight, torch.bfloat16), bias, None, *ANY)
    assert (y.double() - expected).abs().max() < 0.1 * expected.abs().max()


def test_bfloat16_rounds_only_its_maps() -> None:
    x, weight, bias = draw(4, 1, 64, 64, 12, 12)
    x = x.bfloat16()
    weights = transform_weights(weight, torch.float32)
    exact = convolve(x.float(), weights, bias, None, *ANY)
    assert torch.equal(convolve(x, weights, bias, None, *ANY), exact.bfloat16())


def test_threads_change_no_bit() -> None:
    x, weight, bias = draw(5, 2, 48, 80, 23, 31)
    weights, num_threads = transform_weights(weight, torch.float32), torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(convolve(x, weights, bias, None, 0.0, math.inf))
    finally:
        torch.set_num_threads(num_threads)
    assert all(torch.equal(result, results[0]) for result in results[1:])


def test_what_is_no_number_stays_in_its_tiles_and_is_not_cut_away() -> None:
    x, weight, bias = draw(6, 1, 16, 16, 12, 12)
    x[0, 3, 1, 1] = math.nan
    y = convolve(x, transform_weights(weight, torch.float32), bias, None, 0.0, math.inf)
    assert y[..., :3, :3].isnan().all()
    assert not y[..., 4:, 4:].isnan().any()


@pytest.mark.parametrize(("outputs", "inputs", "kernel"), [(16, 24, 3), (24, 16, 3), (16, 16, 1), (16, 16, 5)])
def test_what_the_kernel_does_not_take_is_said(outputs: int, inputs: int, kernel: int) -> None:
    assert not can_convolve(torch.zeros(outputs, inputs, kernel, kernel), torch.float32)


def test_half_precision_and_doubles_are_not_taken() -> None:
    assert not can_convolve(torch.zeros(16, 16, 3, 3), torch.float16)
    assert not can_convolve(torch.zeros(16, 16, 3, 3), torch.float64)


def test_the_operator_is_one_that_compilers_can_follow() -> None:
    x, weight, bias = draw(7, 1, 16, 32, 5, 6)
    torch.library.opcheck(convolve, (x, transform_weights(weight, torch.float32), bias, None, 0.0, 6.0))
