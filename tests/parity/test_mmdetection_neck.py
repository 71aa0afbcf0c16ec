"""The neck against mmdetection's PAFPN, plain (fixture 14a), and with batch norm and ReLU everywhere (14b)."""

import pytest
import torch

from panet.model.bottom_up import BottomUpPath, with_coarser_level
from panet.model.layers import norm_factory
from panet.model.top_down import TopDownPath
from panet.weights.convert import fit, rename
from panet.weights.sources import add_neck_biases
from panet.weights.tables import mmdetection


@pytest.mark.parametrize(("fixture", "norm", "relu"), [("14a", "none", False), ("14b", "batch", True)])
def test_the_neck_equals_mmdetections(oracle, same, fixture, norm, relu):
    recorded = oracle(fixture)
    widths = {k: recorded[f"in.C{k}"].shape[1] for k in (2, 3, 4, 5)}
    factory = norm_factory(norm, 8)
    neck = torch.nn.ModuleDict(
        {
            "top_down": TopDownPath(widths, 32, factory, relu=relu),
            "bottom_up": BottomUpPath((2, 3, 4, 5), 32, factory, relu=relu, chain_on_presum=True),
        }
    ).eval()
    renamed = rename(recorded.weights("neck."), mmdetection())
    converted = fit(renamed._replace(state=add_neck_biases(renamed.state)), neck)
    assert not converted.unused
    assert not converted.missing
    neck.load_state_dict(converted.state)
    with torch.inference_mode():
        p = neck["top_down"](recorded.pyramid("in.C"))
        n = with_coarser_level(neck["bottom_up"](p))
    for k in (2, 3, 4, 5):
        same(f"{fixture} mmdetection's neck", f"P{k}", p[k], recorded[f"out.P{k}"])
    for k in (2, 3, 4, 5, 6):
        same(f"{fixture} mmdetection's neck", f"N{k}", n[k], recorded[f"out.N{k}"])
