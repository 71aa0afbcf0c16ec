"""Starting from a model file: everything fits, or it is said what does not."""

import pytest
import torch
from torch import nn

from panet.config import ModelConfig, NeckConfig
from panet.errors import CheckpointError
from panet.structures import LabelMap
from panet.train.initial import load_initial
from panet.weights.checkpoint import ModelFile


class Model(nn.Module):
    """The names that matter, and nothing else."""

    def __init__(self, num_classes: int, width: int = 2) -> None:
        super().__init__()
        self.neck = nn.Linear(3, width)
        self.box_head = nn.ModuleDict({"class_logits": nn.Linear(width, num_classes + 1)})


def file_of(model: Model, num_classes: int, config: ModelConfig | None = None) -> ModelFile:
    names = tuple("abc"[:num_classes])
    config = config or ModelConfig(num_classes=num_classes)
    return ModelFile(config, LabelMap(tuple(range(num_classes)), names), model.state_dict(), {})


def test_all_weights_are_copied() -> None:
    old, new = Model(2), Model(2)
    lines = load_initial(new, ModelConfig(num_classes=2), file_of(old, 2), "old.safetensors", False)
    assert lines == ["init: 4 of 4 tensors from old.safetensors"]
    assert all(torch.equal(value, new.state_dict()[key]) for key, value in old.state_dict().items())


def test_another_number_of_classes_needs_a_word() -> None:
    with pytest.raises(CheckpointError, match="has 2 classes, the data set has 3; add --reset-head"):
        load_initial(Model(3), ModelConfig(num_classes=3), file_of(Model(2), 2), "old", False)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_reset_head_stays_as_it_was_built(num_classes: int) -> None:
    old, new = Model(2), Model(num_classes)
    before = new.box_head["class_logits"].weight.detach().clone()
    lines = load_initial(new, ModelConfig(num_classes=num_classes), file_of(old, 2), "old", True)
    assert lines == ["init: 2 of 4 tensors from old", "init: 2 tensors of the output layers start anew"]
    assert torch.equal(new.neck.weight, old.neck.weight)
    assert torch.equal(new.box_head["class_logits"].weight, before)


def test_another_architecture_is_refused_by_the_first_tensor() -> None:
    with pytest.raises(CheckpointError, match=r"old: .* misshapen neck\.weight \(2, 3\), not \(4, 3\)"):
        load_initial(Model(2, width=4), ModelConfig(num_classes=2), file_of(Model(2), 2), "old", False)


def test_missing_and_needless_tensors_are_refused() -> None:
    given = file_of(Model(2), 2)
    del given.state["neck.bias"]
    with pytest.raises(CheckpointError, match=r"missing neck\.bias"):
        load_initial(Model(2), ModelConfig(num_classes=2), given, "old", False)
    given = file_of(Model(2), 2)
    given.state["tail"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match="unexpected tail"):
        load_initial(Model(2), ModelConfig(num_classes=2), given, "old", False)


def test_settings_that_changed_without_changing_a_shape_are_told() -> None:
    given = file_of(Model(2), 2, ModelConfig(num_classes=2, neck=NeckConfig(bottom_up_relu=False), short_side=640))
    lines = load_initial(Model(2), ModelConfig(num_classes=2), given, "old", False)
    assert lines[1:] == ["init: careful: model.neck.bottom_up_relu was False, is True"]
