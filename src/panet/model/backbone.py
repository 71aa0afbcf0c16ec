"""Image -> C2..C5: any timm model with `features_only`."""

from contextlib import nullcontext
from typing import Any, cast

import timm
import torch
from timm.layers.drop import DropPath
from timm.layers.format import Format
from timm.models._features import FeatureInfo
from timm.models.resnet import Bottleneck
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from panet.errors import ConfigError, nearest
from panet.ops.fast_convs import single_products
from panet.ops.lean import LeanNorms
from panet.structures import Pyramid

__all__ = ["LEVELS", "Backbone", "timm_features"]

LEVELS = (2, 3, 4, 5)


class Backbone(nn.Module):
    """Features at strides 4, 8, 16 and 32.

    Args:
        body: a timm model built with `features_only`.
        frozen_norm: batch norms keep their statistics, scale and shift, as in the released code.
        frozen_stages: how many stages do not train: 1 is all that comes before C2, 2 adds C2, ... 5 adds C5.
        stride_in_1x1: ResNets of 2018 stride on the first conv of a bottleneck, not on the 3x3.

    Raises:
        ConfigError: the body has no features at strides 4 to 32, or no telling where the frozen stages end.
    """

    def __init__(
        self, body: nn.Module, *, frozen_norm: bool = True, frozen_stages: int = 2, stride_in_1x1: bool = False
    ) -> None:
        super().__init__()
        features = _feature_info(body)
        strides, channels = features.reduction(), features.channels()
        if not set(strides) >= {2**k for k in LEVELS}:
            raise ConfigError(
                f"model.backbone.name: features at strides 4, 8, 16, 32 are needed, this one has them at {strides}"
            )
        self.index = {k: len(strides) - 1 - strides[::-1].index(2**k) for k in LEVELS}
        self.channels = {k: int(channels[i]) for k, i in self.index.items()}
        self.channels_last = getattr(body, "output_fmt", Format.NCHW) == Format.NHWC
        self.frozen_norm = frozen_norm
        self.body = body
        if stride_in_1x1:
            _move_stride_to_1x1(body)
        if frozen_norm:
            for norm in self._batch_norms():
                norm.requires_grad_(False)
        self._freeze(frozen_stages)
        self.train(self.training)

    def forward(self, images: Tensor) -> Pyramid:
        """Give {2..5: (B, C_k, H / 2**k, W / 2**k)} of (B, 3, H, W) normalised pixels."""
        lean = LeanNorms() if self.frozen_norm and torch.is_grad_enabled() else nullcontext()
        with lean, single_products():  # its convs follow one another too closely for coarser ones
            features = self.body(images)
        c = {k: features[i] for k, i in self.index.items()}
        return {k: x.permute(0, 3, 1, 2).contiguous() for k, x in c.items()} if self.channels_last else c

    def train(self, mode: bool = True) -> "Backbone":
        """Frozen batch norms stay in eval mode: their statistics never move."""
        super().train(mode)
        if self.frozen_norm:
            for norm in self._batch_norms():
                norm.eval()
        return self

    def _batch_norms(self) -> list[nn.Module]:
        return [module for module in self.body.modules() if isinstance(module, _BatchNorm)]

    def _freeze(self, stages: int) -> None:
        """Stop the training of every parameter registered up to the end of the last frozen stage."""
        if stages == 0:
            return
        names = [name for name, _ in self.body.named_parameters()]
        module = _feature_info(self.body).module_name()[self.index[max(stages, 2)]]
        # Children of the features are registered with underscores for dots ("layers_0" for "layers.0").
        prefix = module.replace(".", "_") + "_"
        stage = [i for i, name in enumerate(names) if name.replace(".", "_").startswith(prefix)]
        if not stage:
            raise ConfigError(
                f"model.backbone.frozen_stages: {stages}: where this backbone's stages end is not known; set it to 0"
            )
        end = stage[0] if stages == 1 else stage[-1] + 1
        for _, parameter in list(self.body.named_parameters())[:end]:
            parameter.requires_grad_(False)


def timm_features(name: str) -> nn.Module:
    """Build a timm model for its features, with random weights; Swin transformers take pictures of any size.

    Dropout and stochastic depth are off: they draw from the global generator, which no seed of a run reaches.

    Raises:
        ConfigError: timm has no such model, or no features of it.
    """
    if not timm.is_model(name):
        raise ConfigError(f"model.backbone.name: timm has no {name!r}{nearest(name, timm.list_models())}")
    # Swin transformers are built for one size of picture unless told otherwise.
    options: dict[str, Any] = {"strict_img_size": False} if name.startswith("swin") else {}
    try:
        body: nn.Module = timm.create_model(name, pretrained=False, features_only=True, **options)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise ConfigError(f"model.backbone.name: timm gives no features of {name!r}: {error}") from error
    for module in body.modules():
        if isinstance(module, DropPath):
            module.drop_prob = 0.0
        elif isinstance(module, nn.Dropout):
            module.p = 0.0
    return body


def _feature_info(body: nn.Module) -> FeatureInfo:
    return cast("FeatureInfo", body.feature_info)


def _move_stride_to_1x1(body: nn.Module) -> None:
    bottlenecks = [block for block in body.modules() if isinstance(block, Bottleneck)]
    if not bottlenecks:
        raise ConfigError("model.backbone.stride_in_1x1: this backbone has no ResNet bottlenecks; set it to false")
    for block in bottlenecks:
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
