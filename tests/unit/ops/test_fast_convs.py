"""The compiled conv trains as torch's does: its result, all three gradients, and what it leaves to torch."""

from contextlib import nullcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import conv2d

from panet.ops import native
from panet.ops.fast_convs import FastConvs, single_products
from panet.ops.winograd import can_convolve

PLAIN = torch.zeros(16, 16, 3, 3)
compiled = pytest.mark.skipif(not can_convolve(PLAIN, torch.float32), reason="needs a compiled conv that is faster")
bf16 = pytest.mark.skipif(not can_convolve(PLAIN, torch.bfloat16), reason="needs one that is faster in bfloat16")
pairs = pytest.mark.skipif(not native.has_pairs(), reason="needs a processor that multiplies bfloat16")


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layer(inputs: int, outputs: int, *, bias: bool = True, **geometry: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, 3, bias=bias, **({"padding": 1} | geometry))
    with torch.no_grad():
        for i, parameter in enumerate(conv.parameters()):
            parameter.copy_(draw(*parameter.shape, seed=i + 1) / (9 * inputs) ** 0.5)
    return conv


def learn(conv: nn.Conv2d, x: Tensor, gradient: Tensor, *, fast: bool) -> list[Tensor]:
    """Give the result and the gradients of map, weight and bias."""
    x = x.detach().requires_grad_()
    conv.zero_grad()
    if fast:
        with FastConvs():
            y = conv(x)
        assert type(y.grad_fn).__name__ == "_FastConvBackward"
    else:
        y = conv(x)
    y.backward(gradient.to(y.dtype))
    assert x.grad is not None
    return [y.detach(), x.grad, *(p.grad.clone() for p in conv.parameters() if p.grad is not None)]


@compiled
@given(
    batch=st.integers(1, 3),
    inputs=st.integers(1, 5).map(lambda n: 16 * n),
    outputs=st.integers(1, 5).map(lambda n: 16 * n),
    height=st.integers(32, 37),
    width=st.integers(32, 37),
    bias=st.booleans(),
)
def test_results_and_gradients_are_those_of_torch(
    batch: int, inputs: int, outputs: int, height: int, width: int, bias: bool
) -> None:
    conv = layer(inputs, outputs, bias=bias)
    x, gradient = draw(batch, inputs, height, width), draw(batch, outputs, height, width, seed=9)
    for found, expected in zip(learn(conv, x, gradient, fast=True), learn(conv, x, gradient, fast=False), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@bf16
@pairs
def test_under_autocast_they_round_about_one_percent_and_types_are_those_of_torch() -> None:
    conv, x, gradient = layer(64, 48), draw(2, 64, 33, 40), draw(2, 48, 33, 40, seed=9)
    exact = learn(conv.double(), x.double(), gradient.double(), fast=False)
    conv.float()
    with torch.autocast("cpu", torch.bfloat16):
        found, plain = (learn(conv, x, gradient, fast=fast) for fast in (True, False))
    for one, other, truth in zip(found, plain, exact, strict=True):
        assert one.dtype == other.dtype
        assert (one - truth).norm() < 0.015 * truth.norm()


@bf16
def test_single_products_round_as_torch_does() -> None:
    conv, x, gradient = layer(64, 48), draw(2, 64, 33, 40).bfloat16().float(), draw(2, 48, 33, 40, seed=9)
    exact = learn(conv.double(), x.double(), gradient.double(), fast=False)
    conv.float()
    with torch.autocast("cpu", torch.bfloat16):
        with single_products():
            found = learn(conv, x, gradient, fast=True)
        paired = learn(conv, x, gradient, fast=True)
    for one, truth in zip(found, exact, strict=True):
        assert (one - truth).norm() < 0.004 * truth.norm()
    assert torch.equal(found[0], paired[0]) != native.has_pairs(), "what is left again pairs as before"


@compiled
def test_a_second_pass_gives_the_same_bits_and_threads_change_none() -> None:
    conv, x, gradient = layer(32, 32), draw(1, 32, 40, 40), draw(1, 32, 40, 40, seed=9)
    num_threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 1, 2):
            torch.set_num_threads(count)
            found.append(learn(conv, x, gradient, fast=True)[:2])
    finally:
        torch.set_num_threads(num_threads)
    for each in found[1:]:
        assert all(map(torch.equal, each, found[0]))


@compiled
def test_a_frozen_weight_has_no_gradient_and_an_input_without_one_gets_none() -> None:
    conv, x = layer(16, 16), draw(1, 16, 32, 32)
    with FastConvs():
        conv(x).sum().backward()
        assert conv.weight.grad is not None
        assert x.grad is None
        conv.requires_grad_(False).zero_grad()
        conv(x.requires_grad_()).sum().backward()
    assert x.grad is not None
    assert conv.weight.grad is None


OTHERS = {
    "a stride": (layer(16, 16, stride=2), draw(1, 16, 64, 64)),
    "no padding": (layer(16, 16, padding=0), draw(1, 16, 64, 64)),
    "a dilation": (layer(16, 16, dilation=2, padding=2), draw(1, 16, 64, 64)),
    "groups": (layer(16, 16, groups=16), draw(1, 16, 64, 64)),
    "channels": (layer(16, 24), draw(1, 16, 64, 64)),
    "too few pixels": (layer(16, 16), draw(1, 16, 31, 32)),
    "nothing": (layer(16, 16), draw(0, 16, 64, 64)),
    "doubles": (layer(16, 16).double(), draw(1, 16, 64, 64).double()),
    "no batch": (layer(16, 16), draw(16, 64, 64)),
}


@bf16
def test_under_autocast_a_map_that_is_cast_already_is_taken() -> None:
    conv, x = layer(16, 16), draw(1, 16, 64, 64)
    with torch.autocast("cpu", torch.bfloat16), FastConvs():
        assert type(conv(conv(x)).grad_fn).__name__ == "_FastConvBackward"
        assert torch.equal(conv(x.bfloat16()), conv(x))


CAST = [case for case in OTHERS if case not in ("doubles", "no batch")]


@pytest.mark.parametrize("case", CAST)
@pytest.mark.parametrize("frozen", [False, True])
def test_under_autocast_other_convs_give_the_bits_of_torch_and_keep_no_cast_weights(case: str, frozen: bool) -> None:
    conv, x = OTHERS[case]
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    conv.weight.requires_grad_(not frozen)
    found = []
    try:
        for fast in (False, True):
            x = x.detach().requires_grad_()
            conv.zero_grad()
            kept.clear()
            with (
                torch.autocast("cpu", torch.bfloat16),
                torch.autograd.graph.saved_tensors_hooks(keep, lambda each: each),
                FastConvs() if fast else nullcontext(),
            ):
                y = conv(x)
            (y * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum().backward()
            found.append((y, x.grad, *(p.grad for p in conv.parameters() if p.requires_grad)))
    finally:
        conv.weight.requires_grad_()
    for one, other in zip(*found, strict=True):
        assert one is not None
        assert other is not None
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    cast = [each for each in kept if each.shape == conv.weight.shape and each.dtype == torch.bfloat16]
    assert bool(cast) == frozen


@pytest.mark.parametrize("case", OTHERS)
def test_other_convs_are_left_to_torch(case: str) -> None:
    conv, x = OTHERS[case]
    with FastConvs():
        y = conv(x)
    assert type(y.grad_fn).__name__ != "_FastConvBackward"
    assert torch.equal(y, conv(x))


@compiled
def test_arguments_may_have_names() -> None:
    x, weight = draw(1, 16, 32, 32), layer(16, 16).weight
    with FastConvs():
        y = conv2d(input=x, weight=weight, padding=1)
    assert type(y.grad_fn).__name__ == "_FastConvBackward"


def test_the_meta_device_is_left_to_torch() -> None:
    with FastConvs():
        assert layer(16, 16).to("meta")(draw(1, 16, 64, 64).to("meta")).shape == (1, 16, 64, 64)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("stride", [1, 2])
def test_types_that_do_not_match_are_refused_as_by_torch(dtype: torch.dtype, autocast: bool, stride: int) -> None:
    conv, x = layer(16, 16, stride=stride), draw(1, 16, 64, 64).to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        if autocast and dtype == torch.bfloat16:
            with FastConvs():
                assert conv(x).dtype == torch.bfloat16
            return
        with pytest.raises(RuntimeError) as expected:
            conv(x)
        with FastConvs(), pytest.raises(RuntimeError) as found:
            conv(x)
    assert str(found.value) == str(expected.value)


def test_a_wrong_call_has_the_message_of_torch() -> None:
    with FastConvs(), pytest.raises(RuntimeError, match="to have 16 channels"):
        layer(16, 16)(draw(1, 32, 64, 64))
