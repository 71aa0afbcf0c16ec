"""A trained PANet -> the same network as the hardware likes it. `PANet` stays the form to read, train and save."""

import copy
import operator
import time
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, fx, nn
from torch.nn.functional import group_norm

from panet.errors import ConfigError, nearest
from panet.model.fold import fold_layers, layer_of, trace
from panet.model.fused import (
    NO_ACTIVATION,
    FusedConv,
    FusedDeconv,
    FusedLinear,
    activation_of,
    can_fuse,
    can_take,
    fuse_conv,
)
from panet.model.layers import ConvBlock, LinearBlock
from panet.model.mask_head import Deconv
from panet.model.panet import PANet
from panet.structures import ImageBatch

__all__ = ["Precision", "compile_stages", "in_precision", "optimise", "pick_dtype"]

Precision: TypeAlias = Literal["auto", "fp32", "bf16", "reference"]
"""bf16, or fp32; auto: bf16 where the hardware has it; reference: fp32 by the layers as they were trained."""

_SUMS = (operator.add, operator.iadd, torch.add)

# Kind of device -> whether this machine's multiplies bfloat16 itself; one that does not is slower with it than without.
_HAS_BF16: dict[str, Callable[[], bool]] = {
    "cpu": lambda: torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported(),
    "cuda": lambda: torch.cuda.is_bf16_supported(including_emulation=False),
}


def pick_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Give the type of weights and features; "auto" is bfloat16 where the device computes with it in hardware.

    Raises:
        ConfigError: there is no such precision.
    """
    has_bf16 = device.type in _HAS_BF16 and _HAS_BF16[device.type]()
    known = {"fp32": torch.float32, "bf16": torch.bfloat16, "auto": torch.bfloat16 if has_bf16 else torch.float32}
    known["reference"] = torch.float32
    if precision not in known:
        raise ConfigError(
            f"precision {precision!r} is unknown{nearest(precision, known)}: choose fp32, bf16, auto or reference"
        )
    return known[precision]


def in_precision(model: PANet, precision: Precision) -> PANet:
    """Give a network for inference, on its device: `optimise`d, or by "reference" the model itself in eval mode.

    Raises:
        ConfigError: there is no such precision.
    """
    dtype = pick_dtype(precision, next(model.parameters()).device)
    return model.eval() if precision == "reference" else optimise(model, dtype)


def optimise(model: PANet, dtype: torch.dtype = torch.float32) -> PANet:
    """Give a copy for inference whose detections are the same: in float32 up to rounding, in bfloat16 up to its own.

    Batch norms are folded into the convs before them, and maps lie channels last. On a CPU, convs and linear layers
    have their weights laid out for oneDNN, once, and take along bias, sum and ReLU. Group norms stay. The classes'
    logits, the boxes' deltas, and all that comes after them are float32 in any case.

    Args:
        model: on its device; it is left as it is.
        dtype: of weights and features.
    Returns:
        A network for `forward` in eval mode: without gradients, with no state to save; it stays on its device.
    """
    device = next(model.parameters()).device
    fast = copy.deepcopy(model).requires_grad_(False)
    fast.eval()
    fold_layers(fast)
    traced = trace(fast.backbone.body)
    if can_fuse(device):
        if traced is not None:
            fuse_graph(traced, dtype)
        _fuse_network(fast, dtype)
    fast.backbone.body = _Entry(fast.backbone.body if traced is None else traced, dtype)
    fast.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types one of the two
    for name in ("class_logits", "deltas"):
        setattr(fast.box_head, name, _InFloat32(getattr(model.box_head, name)))
    fast.eval()  # the new modules too
    return fast


def compile_stages(model: PANet, side: int) -> float:
    """Have torch.compile take over the stages that see whole maps, for pictures of any size.

    Args:
        model: for inference, `optimise`d or not; it is changed.
        side: of a blank picture that it is compiled by, input px.
    Returns:
        The seconds that it took.

    Raises:
        ConfigError: torch cannot compile here.
    """
    start = time.perf_counter()
    for stage in (model.backbone, model.top_down, model.bottom_up, model.rpn):
        if stage is not None:
            stage.compile(dynamic=True)
    blank = torch.zeros(1, side, side, 3, device=next(model.parameters()).device).permute(0, 3, 1, 2)
    try:
        with torch.inference_mode():
            model(ImageBatch(blank, ((side, side),), ((side, side),)))
    except RuntimeError as error:  # all of torch's own that come from its compiler
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"--compile: torch.compile fails here: {reason}; it needs a C++ compiler") from error
    return time.perf_counter() - start


class _Entry(nn.Module):
    """Normalised float32 pixels -> the type and layout of the network."""

    def __init__(self, body: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.body = body
        self.dtype = dtype

    def forward(self, images: Tensor) -> Any:
        return self.body(images.to(self.dtype, memory_format=torch.channels_last))


class _InFloat32(nn.Module):
    """An output layer whose rounding would be seen in scores and boxes."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer).float().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x.float())
        return y


class _GridNorm(nn.Module):
    """Group norm of bfloat16 RoI grids, in float32: torch takes three times as long over them in bfloat16 (CPU)."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        return group_norm(x.float(), norm.num_groups, norm.weight.float(), norm.bias.float(), norm.eps).to(x.dtype)


def _fuse_network(model: PANet, dtype: torch.dtype) -> None:
    """Exchange every layer after the backbone, but those that stay as they are for their weights are read elsewhere."""
    rpn, relu = cast("Any", model.rpn), activation_of(model.rpn.relu) or NO_ACTIVATION
    rpn.conv = fuse_conv(rpn.conv, dtype, relu)
    rpn.more_convs = nn.ModuleList(fuse_conv(conv, dtype, relu) for conv in rpn.more_convs)
    rpn.relu = nn.Identity()
    for stage in (model.top_down, model.bottom_up, rpn):
        if stage is not None:
            _fuse_children(stage, dtype)
    box_head, mask_head = model.box_head, model.mask_head
    side = int(cast("Any", box_head.pooling).size)
    _fuse_children(box_head.pooling, dtype, side)
    if isinstance(box_head.shared, LinearBlock):
        box_head.shared = _fused(box_head.shared, dtype, 0)  # fc2 reads vectors
    else:
        _fuse_children(box_head.shared, dtype, side)
    if mask_head is not None:
        mask_logits = mask_head.mask_logits
        _fuse_children(mask_head, dtype, int(cast("Any", mask_head.pooling).size))
        mask_head.mask_logits = mask_logits  # `MaskHead.of_labels` reads the rows of its weights


def _fuse_children(module: nn.Module, dtype: torch.dtype, side: int = 0) -> None:
    """Exchange the layers in a module; linear layers in it read grids of `side` where that is not 0."""
    for name, child in module.named_children():
        exchanged = _fused(child, dtype, side)
        if exchanged is child:
            _fuse_children(child, dtype, side)
        else:
            setattr(module, name, exchanged)


def _fused(layer: nn.Module, dtype: torch.dtype, side: int) -> nn.Module:
    if isinstance(layer, Deconv):
        return FusedDeconv(layer, dtype)
    if isinstance(layer, nn.Conv2d):
        return fuse_conv(layer, dtype) if can_take(layer) else layer
    if isinstance(layer, nn.Linear):
        return FusedLinear(layer.weight, layer.bias, dtype, side=0)
    if not isinstance(layer, ConvBlock | LinearBlock):
        return layer
    norm, relu = getattr(layer, "norm", None), getattr(layer, "relu", None)
    activation = (activation_of(relu) if norm is None else None) or NO_ACTIVATION
    first: nn.Module
    if isinstance(layer, ConvBlock):
        first = fuse_conv(layer.conv, dtype, activation)
    else:
        first = FusedLinear(layer.linear.weight, layer.linear.bias, dtype, activation, side=side)
    if side and dtype == torch.bfloat16 and isinstance(norm, nn.GroupNorm):
        norm = _GridNorm(norm)
    rest = [] if norm is None else [norm, *([] if relu is None else [nn.ReLU(inplace=True)])]
    return nn.Sequential(first, *rest)


def fuse_graph(traced: fx.GraphModule, dtype: torch.dtype) -> None:
    """Exchange the convs of a traced backbone, each with the sum and the activation that follow it and it alone."""
    for node in list(traced.graph.nodes):
        conv = layer_of(traced, node)
        if not isinstance(conv, nn.Conv2d) or not can_take(conv):
            continue
        last, addend = node, None
        after = _only_reader(last)
        # Convs of groups sum in another pass: oneDNN's own way of it does not know bfloat16.
        if after is not None and after.target in _SUMS and not after.kwargs and conv.groups == 1:
            others = [each for each in after.args if each is not node]
            if len(others) == 1 and isinstance(others[0], fx.Node) and others[0].op in ("call_module", "call_function"):
                last, addend = after, others[0]
                after = _only_reader(last)
        activation = None if after is None else activation_of(layer_of(traced, after))
        if activation is not None:
            assert after is not None
            last = after
        # A backbone's convs follow one another too closely for what `WinogradConv` rounds in bfloat16.
        make = fuse_conv if dtype == torch.float32 else FusedConv
        _exchange(traced, node, last, addend, make(conv, dtype, activation or NO_ACTIVATION))
    traced.delete_all_unused_submodules()
    traced.graph.lint()
    traced.recompile()


def _exchange(traced: fx.GraphModule, first: fx.Node, last: fx.Node, addend: fx.Node | None, fused: nn.Module) -> None:
    """Put one layer in the place of the nodes from `first`, a conv, to `last`, what reads its result last."""
    name = f"fused_{first.name}"
    traced.add_submodule(name, fused)
    with traced.graph.inserting_before(last):
        put = traced.graph.call_module(name, (first.args[0], addend))
    last.replace_all_uses_with(put)
    node: fx.Node | None = last
    while node is not None:
        before = node.args[0] if node is not first else None
        before = first if node.target in _SUMS else before
        traced.graph.erase_node(node)
        node = cast("fx.Node | None", before)


def _only_reader(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None
