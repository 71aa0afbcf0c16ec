"""Batch norms of fixed statistics -> the convs and linear layers before them: same numbers, fewer passes."""

from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

__all__ = ["fold_layers", "layer_of", "trace"]


def fold_layers(module: nn.Module) -> None:
    """Fold the batch norms of a model's own layers, `layers.ConvBlock` and `layers.LinearBlock`; group norms stay.

    Args:
        module: in eval mode; it is changed.
    """
    for block in module.modules():
        norm = getattr(block, "norm", None)
        layer = getattr(block, "conv", None) or getattr(block, "linear", None)
        if isinstance(norm, _BatchNorm) and isinstance(layer, nn.Conv2d | nn.Linear):
            _fold(layer, norm)
            del block.norm


def trace(body: nn.Module) -> fx.GraphModule | None:
    """Trace a backbone and fold its batch norms.

    Args:
        body: in eval mode; its layers are changed and shared with the result.
    Returns:
        A module of the same results; None where the backbone's Python cannot be traced (Swin), and nothing was changed.
    """
    try:
        traced = fx.GraphModule(body, _Tracer().trace(body))
    except (fx.proxy.TraceError, TypeError, RuntimeError):  # whatever Python code meets when its tensors are symbols
        return None
    for node in list(traced.graph.nodes):
        norm, conv = layer_of(traced, node), layer_of(traced, _source(node))
        if isinstance(norm, _BatchNorm) and isinstance(conv, nn.Conv2d) and _is_used_once(_source(node)):
            _fold(conv, norm)
            # timm's batch norms bring their activation along.
            traced.set_submodule(node.target, getattr(norm, "act", None) or nn.Identity())
    for node in list(traced.graph.nodes):
        if isinstance(layer_of(traced, node), nn.Identity):
            node.replace_all_uses_with(node.args[0])
            traced.graph.erase_node(node)
    traced.graph.lint()
    traced.recompile()
    return traced


class _Tracer(fx.Tracer):
    """Convs and batch norms are single nodes, also those that timm derives from torch's."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.Conv2d | _BatchNorm) or super().is_leaf_module(module, name)


def layer_of(traced: fx.GraphModule, node: Any) -> nn.Module | None:
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    return traced.get_submodule(cast("str", node.target))


def _source(node: fx.Node) -> Any:
    return node.args[0] if node.args else None


def _is_used_once(node: fx.Node) -> bool:
    """Tell whether nothing else reads a node's result, and nothing else calls its layer."""
    calls = [other for other in node.graph.nodes if other.op == "call_module" and other.target == node.target]
    return len(node.users) == 1 and len(calls) == 1


def _fold(layer: nn.Conv2d | nn.Linear, norm: _BatchNorm) -> None:
    assert not norm.training
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    fuse: Any = fuse_conv_bn_weights if isinstance(layer, nn.Conv2d) else fuse_linear_bn_weights
    weight = layer.weight.double()  # so that the fold itself rounds once
    bias = None if layer.bias is None else layer.bias.double()
    folded: tuple[Tensor, Tensor] = fuse(
        weight, bias, mean.double(), variance.double(), norm.eps, _double(norm.weight), _double(norm.bias)
    )
    dtype = layer.weight.dtype
    layer.weight = nn.Parameter(folded[0].detach().to(dtype), requires_grad=False)
    layer.bias = nn.Parameter(folded[1].detach().to(dtype), requires_grad=False)


def _double(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.to(torch.float64)
