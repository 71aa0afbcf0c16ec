"""Our Mask R-CNN -> torchvision's: the import's table, read backwards."""

from collections.abc import Mapping

from torch import Tensor

from panet.config import ModelConfig
from panet.errors import CheckpointError
from panet.weights.tables import torchvision

__all__ = ["to_torchvision"]


def to_torchvision(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Give a state dict that torchvision's Faster or Mask R-CNN loads strictly; the values are the same tensors.

    Raises:
        CheckpointError: the model has a part that torchvision's has not.
    """
    theirs = {layer: name for name, layer in torchvision((3, 8, 36, 3)).items()}
    if config.backbone.stride_in_1x1 or config.pixels.channels != "rgb":
        raise CheckpointError("--to torchvision: it wants RGB pixels and the stride in the 3x3 conv")
    exported = {}
    for name, tensor in state.items():
        layer, _, leaf = name.rpartition(".")
        if layer not in theirs:
            raise CheckpointError(f"--to torchvision: it has no place for {name}: only Mask and Faster R-CNN fit")
        exported[f"{theirs[layer]}.{leaf}"] = tensor
    return exported
