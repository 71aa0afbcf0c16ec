"""Begin a PANet with the weights of a Mask R-CNN: not the same function, a start of its training."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from panet.config import ModelConfig
from panet.model.build import build_model

__all__ = ["WarmStart", "warm_start"]

_COPY_OF = re.compile(r"(box_head|mask_head)\.pooling\.fuse\.adapt\.\d\.")
_FC = "mask_head.fc_path.fc"
# Not 0: there the path's ReLU has no gradient, and the path would never be trained.
_INERT_BIAS = 1e-6


@dataclass(frozen=True)
class WarmStart:
    """A started model.

    Args:
        config: its settings.
        state: all its tensors.
        copied: our names whose tensors came from the other model.
        new: our names with random first weights, or those of an inert path.
        left: names of the other model that have no place here.
    """

    config: ModelConfig
    state: dict[str, Tensor]
    copied: tuple[str, ...]
    new: tuple[str, ...]
    left: tuple[str, ...]


def warm_start(state: Mapping[str, Tensor], config: ModelConfig, target: ModelConfig, seed: int = 0) -> WarmStart:
    """Copy what has a place: single-level first layers into each of the per-level copies (PANet, Sec. 3.2).

    The mask head's fully connected path adds a constant of 1e-6 at first.

    Args:
        state: of a Mask or Faster R-CNN, under our names.
        config: its settings; classes, pixels and backbone are taken from it,
        target: and all others from here.
        seed: of the random weights.
    """
    kept = {"num_classes": config.num_classes, "pixels": config.pixels, "backbone": config.backbone}
    target = target.model_copy(update=kept)
    started, copied, used = build_model(target, seed, load_backbone=False).state_dict(), [], set()
    for name, tensor in started.items():
        source = _COPY_OF.sub(r"\1.pooling.layer.", name)
        if source in state and state[source].shape == tensor.shape:
            started[name] = state[source]
            copied.append(name)
            used.add(source)
    if f"{_FC}.weight" in started and f"{_FC}.weight" not in copied:
        started[f"{_FC}.weight"] = torch.zeros_like(started[f"{_FC}.weight"])
        started[f"{_FC}.bias"] = torch.full_like(started[f"{_FC}.bias"], _INERT_BIAS)
    new = tuple(name for name in started if name not in set(copied))
    return WarmStart(target, started, tuple(copied), new, tuple(name for name in state if name not in used))
