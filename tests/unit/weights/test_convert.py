"""Foreign names -> ours: what is renamed, what is reported, what is refused; the tables themselves."""

import pytest
import torch
from torch import nn

from panet.errors import CheckpointError
from panet.weights.convert import convert
from panet.weights.tables import official, torchvision


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1, bias=False)
        self.norm = nn.BatchNorm2d(3, eps=1e-3)
        self.out = nn.Linear(3, 4)


TABLE = {"theirs.c": "conv", "theirs.n": "norm", "theirs.o": "out", "theirs.gone": "gone"}


def foreign():
    return {
        "theirs.c.weight": torch.rand(3, 2, 1, 1),
        "theirs.n.weight": torch.rand(3),
        "theirs.n.bias": torch.rand(3),
        "theirs.n.running_mean": torch.rand(3),
        "theirs.n.running_var": torch.rand(3),
        "theirs.o.weight": torch.rand(4, 3),
        "theirs.o.bias": torch.rand(4),
    }


def test_nothing_gives_nothing_and_all_is_missing():
    converted = convert({}, TABLE, Network())
    assert converted.state == {}
    assert converted.unused == []
    assert converted.missing == list(Network().state_dict())


def test_every_tensor_gets_its_name_and_the_model_loads_it_strictly():
    given, network = foreign(), Network()
    converted = convert(given, TABLE, network)
    assert converted.unused == converted.missing == []
    assert converted.state["norm.running_var"] is given["theirs.n.running_var"]
    network.load_state_dict(converted.state, strict=True)
    assert torch.equal(network.out.weight, given["theirs.o.weight"])


def test_what_no_row_maps_to_a_tensor_of_the_model_is_reported():
    extra = {"other.weight": torch.rand(1), "theirs.gone.weight": torch.rand(1), "theirs.c.bias": torch.rand(3)}
    converted = convert({**foreign(), **extra}, TABLE, Network())
    assert converted.unused == list(extra)
    assert not set(converted.state) - set(Network().state_dict())


def test_what_nothing_gave_is_reported():
    given = foreign()
    del given["theirs.o.bias"]
    assert convert(given, TABLE, Network()).missing == ["out.bias"]


def test_a_frozen_affine_layer_gets_statistics_under_which_it_stays_the_same():
    given, network = foreign(), Network().eval()
    del given["theirs.n.running_mean"], given["theirs.n.running_var"]
    converted = convert(given, TABLE, network)
    assert not converted.missing
    network.load_state_dict(converted.state, strict=True)
    x = torch.randn(2, 3, 4, 4)
    weight, bias = (given[f"theirs.n.{leaf}"][:, None, None] for leaf in ("weight", "bias"))
    torch.testing.assert_close(network.norm(x), weight * x + bias)


def test_a_tensor_of_another_shape_is_refused_by_both_names():
    with pytest.raises(CheckpointError, match=r"theirs.o.weight: shape \(5, 3\) does not fit out.weight, .* \(4, 3\)"):
        convert({**foreign(), "theirs.o.weight": torch.rand(5, 3)}, TABLE, Network())


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        # From coarse to fine: lateral and output convs; from fine to coarse: the rest.
        ("Conv_Body.conv_top.0", "top_down.lateral.5.conv"),
        ("Conv_Body.topdown_lateral_modules.0.conv_lateral.1", "top_down.lateral.4.norm"),
        ("Conv_Body.topdown_lateral_modules.2.conv_lateral", "top_down.lateral.2.conv"),
        ("Conv_Body.posthoc_modules.0.0", "top_down.output.5.conv"),
        ("Conv_Body.posthoc_modules.3.1", "top_down.output.2.norm"),
        ("Conv_Body.panet_buttomup_conv1_modules.0.0", "bottom_up.down.3.conv"),
        ("Conv_Body.panet_buttomup_conv2_modules.2.1", "bottom_up.fuse.5.norm"),
        ("Box_Head.conv1_head.0.0", "box_head.pooling.fuse.adapt.2.conv"),
        ("Box_Head.fc1.3.1", "box_head.pooling.fuse.adapt.5.norm"),
        ("Mask_Head.mask_conv1.2.0", "mask_head.pooling.fuse.adapt.4.conv"),
        ("Mask_Head.conv_fcn.3", "mask_head.conv3.conv"),
        ("Mask_Head.mask_conv5_fc.1", "mask_head.fc_path.conv5.norm"),
        ("Conv_Body.conv_body.res1.bn1", "backbone.body.bn1"),
        ("Conv_Body.conv_body.res4.5.conv3", "backbone.body.layer3.5.conv3"),
        ("Conv_Body.conv_body.res2.0.downsample.1", "backbone.body.layer1.0.downsample.1"),
    ],
)
def test_a_row_of_the_official_table_is_as_published(theirs, ours):
    assert official()[theirs] == ours


def test_torchvision_counts_from_fine_to_coarse():
    table = torchvision()
    assert table["backbone.fpn.inner_blocks.0.0"] == "top_down.lateral.2.conv"
    assert table["backbone.fpn.layer_blocks.3.0"] == "top_down.output.5.conv"
    assert table["backbone.body.layer4.2.bn3"] == "backbone.body.layer4.2.bn3"


def test_a_table_follows_the_blocks_of_its_resnet():
    short, long = torchvision((1, 1, 1, 1)), torchvision((3, 4, 23, 3))
    assert "backbone.body.layer3.1.conv1" not in short
    assert "backbone.body.layer3.22.conv1" in long
    assert len(set(official((1, 1, 1, 1)))) == len(official((1, 1, 1, 1)))
