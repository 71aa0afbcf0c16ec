"""timm backbones of several families: levels, what is frozen, what is refused."""

import pytest
import timm
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from panet.errors import ConfigError
from panet.model.backbone import Backbone, timm_features
from panet.ops.fast_convs import FastConvs
from panet.ops.winograd import can_convolve

FAMILIES = ["resnet18", "convnext_atto", "swin_tiny_patch4_window7_224", "tf_efficientnet_lite0"]


@pytest.fixture(scope="module", params=FAMILIES)
def body(request):
    return timm_features(request.param)


def test_every_family_gives_levels_2_to_5_channels_first(body):
    backbone = Backbone(body, frozen_stages=0)
    with torch.inference_mode():
        c = backbone(torch.randn(2, 3, 64, 96))
    assert {k: tuple(x.shape) for k, x in c.items()} == {
        k: (2, backbone.channels[k], 64 >> k, 96 >> k) for k in (2, 3, 4, 5)
    }


def test_no_layer_draws_at_random_in_training(body):
    backbone, before = Backbone(body, frozen_stages=0).train(), torch.get_rng_state()
    with torch.inference_mode():
        first, second = (backbone(torch.ones(1, 3, 64, 64)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[k], second[k]) for k in first)


def frozen_after(body, stages):
    body.requires_grad_(True)
    Backbone(body, frozen_norm=False, frozen_stages=stages)
    return {name.replace(".", "_") for name, parameter in body.named_parameters() if not parameter.requires_grad}


# What precedes C2, and C2 to C5, by the first words of the names in timm.
STAGES = {
    "resnet18": ("conv1 bn1", "layer1", "layer2", "layer3", "layer4"),
    "convnext_atto": ("stem", "stages_0", "stages_1", "stages_2", "stages_3"),
    "swin_tiny_patch4_window7_224": ("patch_embed", "layers_0", "layers_1", "layers_2", "layers_3"),
    # Seven stages of blocks; the first has stride 2, the fourth and fifth share stride 16, the last two 32.
    "tf_efficientnet_lite0": (
        "conv_stem bn1 blocks_0",
        "blocks_1",
        "blocks_2",
        "blocks_3 blocks_4",
        "blocks_5 blocks_6",
    ),
}


@pytest.mark.parametrize("stages", range(6))
def test_the_first_stages_are_frozen_and_no_others(body, stages, request):
    words = [word for group in STAGES[request.node.callspec.params["body"]][:stages] for word in group.split()]
    names = {name.replace(".", "_") for name, _ in body.named_parameters()}
    expected = {name for name in names if name.startswith(tuple(f"{word}_" for word in words))}
    assert frozen_after(body, stages) == expected
    if stages == 5:
        assert expected == names


def test_frozen_batch_norms_neither_train_nor_move():
    backbone = Backbone(timm_features("test_resnet"), frozen_stages=0).train()
    norms = [module for module in backbone.modules() if isinstance(module, _BatchNorm)]
    assert norms
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    with torch.no_grad():
        backbone(torch.randn(2, 3, 64, 64) * 9)
    assert all(torch.equal(before[key], value) for key, value in backbone.state_dict().items())
    assert not any(parameter.requires_grad for norm in norms for parameter in norm.parameters())
    frozen = {parameter for norm in norms for parameter in norm.parameters()}
    assert all(parameter.requires_grad for parameter in set(backbone.parameters()) - frozen)


def test_compiled_convs_round_no_more_than_those_of_torch_in_bfloat16():
    torch.manual_seed(0)
    backbone = Backbone(timm_features("resnet18")).train()
    for module in backbone.modules():
        if isinstance(module, _BatchNorm):
            nn.init.ones_(module.weight)  # timm has zeros at the end of a block
    image = torch.randn(2, 3, 192, 192)
    with torch.no_grad():
        exact = backbone(image)
        with torch.autocast("cpu", torch.bfloat16):
            plain = backbone(image)
            with FastConvs():
                fast = backbone(image)
    assert torch.equal(fast[2], plain[2]) != can_convolve(torch.zeros(64, 64, 3, 3), torch.bfloat16)
    for k, truth in exact.items():
        assert (fast[k] - truth).norm() < 1.3 * (plain[k] - truth).norm()


def test_batch_norms_that_are_not_frozen_train_and_move():
    backbone = Backbone(timm_features("test_resnet"), frozen_norm=False, frozen_stages=0).train()
    before = backbone.body.bn1.running_mean.clone()
    with torch.no_grad():
        backbone(torch.randn(2, 3, 64, 64) * 9)
    assert not torch.equal(before, backbone.body.bn1.running_mean)
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_the_stride_moves_to_the_first_conv_of_a_bottleneck():
    late, early = (Backbone(timm_features("resnet26"), stride_in_1x1=flag) for flag in (False, True))
    strides = [
        [(block.conv1.stride[0], block.conv2.stride[0]) for block in backbone.body.layer3] for backbone in (late, early)
    ]
    assert strides == [[(1, 2), (1, 1)], [(2, 1), (1, 1)]]
    with torch.inference_mode():
        shapes = [{k: x.shape for k, x in b(torch.zeros(1, 3, 64, 64)).items()} for b in (late, early)]
    assert shapes[0] == shapes[1]


def refuses(make, *parts):
    with pytest.raises(ConfigError) as caught:
        make()
    message = str(caught.value)
    assert "\n" not in message
    assert all(part in message for part in parts), message


def test_a_backbone_without_bottlenecks_has_no_stride_to_move():
    refuses(lambda: Backbone(timm_features("resnet18"), stride_in_1x1=True), "model.backbone.stride_in_1x1", "false")


def test_an_unknown_name_is_refused_with_the_nearest_one():
    refuses(lambda: timm_features("resnet5O"), "model.backbone.name", "'resnet5O'", "did you mean 'resnet50'?")
    refuses(lambda: timm_features("zzzzqqq"), "model.backbone.name: timm has no 'zzzzqqq'")


def test_a_backbone_of_one_stride_is_refused():
    refuses(lambda: Backbone(timm_features("test_vit")), "model.backbone.name", "4, 8, 16, 32", "[16, 16, 16]")


def test_a_backbone_without_features_is_refused(monkeypatch):
    def create_model(name, **options):
        raise RuntimeError("features_only not implemented for this model")

    monkeypatch.setattr(timm, "create_model", create_model)
    refuses(lambda: timm_features("resnet18"), "gives no features of 'resnet18'", "features_only not implemented")


def test_stages_that_cannot_be_told_apart_are_refused_unless_none_is_frozen():
    body = nn.Sequential(nn.Conv2d(3, 4, 3))
    body.feature_info = timm_features("test_resnet").feature_info
    refuses(lambda: Backbone(body, frozen_stages=2), "model.backbone.frozen_stages: 2", "set it to 0")
    assert Backbone(body, frozen_stages=0).channels[5] == 96
