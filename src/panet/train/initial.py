"""Start from the weights of a model file instead of random ones."""

from torch import nn

from panet.config import Config, ModelConfig
from panet.errors import CheckpointError
from panet.settings import differences
from panet.weights.checkpoint import ModelFile, check_fit

__all__ = ["load_initial"]

_OUTPUTS = ("box_head.class_logits.", "box_head.deltas.", "mask_head.mask_logits.")
"""The layers whose size is the number of classes."""

_FREE = ("num_classes", "backbone.weights", "backbone.frozen_stages", "detection.", "short_side", "max_side")
"""Settings of a model that its weights do not depend on."""


def load_initial(
    model: nn.Module, config: ModelConfig, model_file: ModelFile, name: str, reset_head: bool
) -> list[str]:
    """Copy the weights of a file into a model; say what was done, a line each.

    Args:
        model: changed.
        config: the model's settings.
        model_file: whose weights.
        name: of the file, for messages.
        reset_head: leave the output layers as they are: the classes are others.

    Raises:
        CheckpointError: the file is of another architecture, or has another number of classes and `reset_head` is off.
    """
    num_classes = model_file.config.num_classes
    if num_classes != config.num_classes and not reset_head:
        raise CheckpointError(
            f"{name}: has {num_classes} classes, the data set has {config.num_classes}; "
            "add --reset-head to train new output layers"
        )
    state = model.state_dict()
    kept = [key for key in state if reset_head and key.startswith(_OUTPUTS)]
    given = {key: value for key, value in model_file.state.items() if key not in kept}
    check_fit(name, given, {key: value for key, value in state.items() if key not in kept})
    model.load_state_dict({**state, **given})
    lines = [f"init: {len(given)} of {len(state)} tensors from {name}"]
    if kept:
        lines.append(f"init: {len(kept)} tensors of the output layers start anew")
    return lines + [
        f"init: careful: {key} was {old}, is {new}" for key, old, new in _changed(model_file.config, config)
    ]


def _changed(old: ModelConfig, new: ModelConfig) -> list[tuple[str, object, object]]:
    pairs = differences(Config(model=old), Config(model=new))
    return [(key, *pair) for key, pair in pairs.items() if not key.removeprefix("model.").startswith(_FREE)]
