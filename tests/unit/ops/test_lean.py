import gc
import weakref

import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from panet.ops.lean import LeanNorms, lean_linear


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_lean_linear_layer_has_the_gradients_of_a_linear_layer():
    x, weight, bias = numbers(5, 3), numbers(4, 3, seed=1), numbers(4, seed=2)
    inputs = [each.requires_grad_() for each in (x, weight, bias)]
    assert torch.equal(lean_linear(*inputs), linear(*inputs))
    torch.autograd.gradcheck(lean_linear, inputs)
    torch.autograd.gradcheck(lambda x, weight: lean_linear(x, weight, None), inputs[:2])


def test_what_a_lean_linear_layer_reads_is_made_again_and_not_kept():
    weight = numbers(4, 3, seed=1).requires_grad_()
    x = numbers(5, 3)
    reference, calls = weakref.ref(x), []
    result = lean_linear(x, weight, None, lambda: calls.append(1) or numbers(5, 3))
    del x
    gc.collect()
    assert reference() is None
    assert not calls
    result.sum().backward()
    assert len(calls) == 1
    torch.testing.assert_close(weight.grad, numbers(5, 3).sum(0).expand(4, 3))


def test_a_lean_linear_layer_that_does_not_train_makes_nothing_again():
    x = numbers(5, 3).requires_grad_()
    lean_linear(x, numbers(4, 3, seed=1), None, lambda: pytest.fail("made again")).sum().backward()
    torch.testing.assert_close(x.grad, numbers(4, 3, seed=1).sum(0).expand(5, 3))


def test_under_autocast_a_lean_linear_layer_multiplies_in_bfloat16_and_trains_float32_weights():
    x, weight, bias = (each.float() for each in (numbers(5, 3), numbers(4, 3, seed=1), numbers(4, seed=2)))
    pairs = []
    for apply in (linear, lean_linear):
        inputs = [each.clone().requires_grad_() for each in (x, weight, bias)]
        with torch.autocast("cpu", torch.bfloat16):
            result = apply(*inputs)
        assert result.dtype == torch.bfloat16
        result.float().square().sum().backward()
        pairs.append((result, *(each.grad for each in inputs)))
    for plain, lean in zip(*pairs, strict=True):
        assert lean.dtype == plain.dtype
        torch.testing.assert_close(lean, plain, rtol=0.02, atol=0.05)


def test_a_lean_linear_layer_has_shapes_alone_on_the_meta_device():
    x, weight = torch.zeros(5, 3, device="meta"), torch.zeros(4, 3, device="meta", requires_grad=True)
    result = lean_linear(x, weight, None, lambda: x)
    assert result.shape == (5, 4)
    result.sum().backward()
    assert weight.grad.shape == (4, 3)


def frozen_norm() -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(3).double().eval().requires_grad_(False)
    norm.weight.copy_(numbers(3, seed=3))
    norm.bias.copy_(numbers(3, seed=4))
    norm.running_mean.copy_(numbers(3, seed=5))
    norm.running_var.copy_(numbers(3, seed=6).square() + 0.1)
    return norm


def kept_inputs(norm: nn.Module, x: torch.Tensor) -> int:
    """Count what autograd keeps that is as large as the input."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda each: kept.append(each.shape) or each, lambda each: each):
        norm(x)
    return sum(shape == x.shape for shape in kept)


def test_a_fixed_batch_norm_keeps_no_input_and_has_the_same_gradient():
    norm, x = frozen_norm(), numbers(2, 3, 4, 4).requires_grad_()
    assert kept_inputs(norm, x) == 1
    expected = norm(x)
    (gradient,) = torch.autograd.grad(expected.square().sum(), x)
    with LeanNorms():
        assert kept_inputs(norm, x) == 0
        found = norm(x)
    assert torch.equal(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found.square().sum(), x)[0], gradient)


@pytest.mark.parametrize("trains", ["weight", "bias", "statistics"])
def test_a_batch_norm_that_trains_is_left_alone(trains):
    norm, x = frozen_norm(), numbers(2, 3, 4, 4).requires_grad_()
    if trains == "statistics":
        norm.train()
    else:
        getattr(norm, trains).requires_grad_()
    with LeanNorms():
        result = norm(x)
    assert "FrozenNorm" not in type(result.grad_fn).__name__
