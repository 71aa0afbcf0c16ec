"""Folding and tracing: the same numbers without batch norms, for the backbones people use."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from panet.model.backbone import timm_features
from panet.model.fold import fold_layers, layer_of, trace
from panet.model.layers import ConvBlock, LinearBlock, norm_factory


def randomise(module: nn.Module) -> nn.Module:
    """Give batch norms statistics that matter, and set eval mode."""
    generator = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, _BatchNorm):
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                assert tensor is not None
                tensor.data.uniform_(0.5, 1.5, generator=generator)
    module.eval()
    return module


def norms_called(traced: torch.fx.GraphModule) -> int:
    return sum(isinstance(layer_of(traced, node), _BatchNorm) for node in traced.graph.nodes)


@pytest.mark.parametrize("name", ["resnet10t", "tf_efficientnet_lite0", "test_efficientnet", "lcnet_035"])
def test_a_traced_backbone_gives_the_same_without_batch_norms(name: str) -> None:
    body = randomise(timm_features(name))
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = body(images)
        traced = trace(body)
        assert traced is not None
        for got, wanted in zip(traced(images), expected, strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
    assert norms_called(traced) == 0


def test_a_traced_backbone_takes_pictures_of_any_size() -> None:
    body = randomise(timm_features("lcnet_035"))
    traced = trace(body)
    assert traced is not None
    for height, width in ((32, 32), (160, 96)):
        assert traced(torch.zeros(1, 3, height, width))[-1].shape[-2:] == (height // 32, width // 32)


def test_what_cannot_be_traced_is_left_as_it_was() -> None:
    body = timm_features("swin_tiny_patch4_window7_224").eval()
    before = {name: tensor.clone() for name, tensor in body.state_dict().items()}
    assert trace(body) is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in body.state_dict().items())


class ReadTwice(nn.Module):
    """A conv whose result goes to a batch norm and past it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return self.norm(x) + x


class CalledTwice(nn.Module):
    """A conv that is called once before a batch norm and once not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.norm(self.conv(self.conv(x)))
        return y


@pytest.mark.parametrize("kind", [ReadTwice, CalledTwice])
def test_a_conv_that_others_read_too_keeps_its_batch_norm(kind: type[nn.Module]) -> None:
    body = randomise(kind())
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = body(x)
    traced = trace(body)
    assert traced is not None
    torch.testing.assert_close(traced(x), expected)
    assert norms_called(traced) == 1


def test_the_models_own_layers_lose_batch_norms_and_keep_group_norms() -> None:
    batch, group = norm_factory("batch", 4), norm_factory("group", 4)
    layers = nn.Sequential(
        ConvBlock(3, 8, norm=batch, bias=True), ConvBlock(8, 8, norm=group), nn.AvgPool2d(4), LinearBlock(32, 6, batch)
    )
    randomise(layers)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = layers(x)
    fold_layers(layers)
    torch.testing.assert_close(layers(x), expected, rtol=1e-5, atol=1e-5)
    kinds = [type(layer).__name__ for layer in layers.modules()]
    assert (kinds.count("BatchNorm2d"), kinds.count("BatchNorm1d"), kinds.count("GroupNorm")) == (0, 0, 1)
