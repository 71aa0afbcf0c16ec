"""The pyramid against the official FPN and bottom-up path (fixtures 01, 02, 03) and backbone (11)."""

from functools import partial

import pytest
import timm
import torch
from torch import nn

from panet.model.backbone import Backbone
from panet.model.bottom_up import BottomUpPath, with_coarser_level
from panet.model.layers import norm_factory
from panet.model.top_down import TopDownPath
from panet.weights.convert import convert
from panet.weights.tables import official


class Neck(nn.Module):
    def __init__(self, widths, channels, norm, *, bottom_up, relu):
        super().__init__()
        self.top_down = TopDownPath(widths, channels, norm)
        if bottom_up:
            self.bottom_up = BottomUpPath((2, 3, 4, 5), channels, norm, relu=relu)


def build_neck(oracle, *, norm, bottom_up=True, relu=True):
    c = oracle.pyramid("in.C")
    neck = Neck({k: x.shape[1] for k, x in c.items()}, 32, norm_factory(norm, 8), bottom_up=bottom_up, relu=relu)
    converted = convert(oracle.weights("Conv_Body."), official(), neck)
    assert not converted.unused
    assert not converted.missing
    neck.load_state_dict(converted.state)
    return neck, c


@pytest.mark.parametrize(("name", "norm", "relu"), [("01", "group", True), ("02", "none", False)])
def test_the_bottom_up_path_equals_the_official_one(oracle, same, name, norm, relu):
    recorded = oracle(name)
    neck, c = build_neck(recorded, norm=norm, relu=relu)
    check = partial(same, f"{name} bottom-up path, norm {norm}")
    p = neck.top_down(c)
    for k, expected in recorded.pyramid("out.P").items():
        check(f"P{k}", p[k], expected)
    for k, expected in recorded.pyramid("out.down").items():
        n = neck.bottom_up(p)
        check(f"down{k}", neck.bottom_up.down[str(k)](n[k - 1]), expected)
    n = with_coarser_level(neck.bottom_up(p))
    for k, expected in recorded.pyramid("out.N").items():
        check(f"N{k}", n[k], expected)


def test_the_plain_pyramid_equals_the_official_one(oracle, same):
    recorded = oracle("03")
    neck, c = build_neck(recorded, norm="group", bottom_up=False)
    p = with_coarser_level(neck.top_down(c))
    for k, expected in recorded.pyramid("out.out").items():
        same("03 plain FPN, GN", f"P{k}", p[k], expected)


def test_the_backbone_equals_the_official_one(oracle, same):
    """Stem and three small stages: stride on the first 1x1, batch norm frozen to w * x + b."""
    recorded = oracle("11")
    body = timm.create_model("resnet50", features_only=True, layers=(2, 2, 2, 1), channels=(8, 16, 32, 64))
    holder = nn.ModuleDict({"backbone": Backbone(body, stride_in_1x1=True)}).eval()
    weights = {f"Conv_Body.conv_body.{key}": value for key, value in recorded.weights().items()}
    converted = convert(weights, official((2, 2, 2)), holder)
    assert not converted.unused
    assert all("layer4" in key for key in converted.missing)  # recorded up to C4
    holder.load_state_dict(converted.state, strict=False)
    with torch.inference_mode():
        same("11 backbone", "C1", body.maxpool(body.act1(body.bn1(body.conv1(recorded["in.x"])))), recorded["out.C1"])
        c = holder["backbone"](recorded["in.x"])
        for k in (2, 3, 4):
            same("11 backbone", f"C{k}", c[k], recorded[f"out.C{k}"])
