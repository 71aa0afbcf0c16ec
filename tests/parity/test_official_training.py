"""How training starts in the official code: its initial weights and its optimizer groups (fixtures 17, 18)."""

import json
import math
from pathlib import Path

import pytest
from torch import nn

from panet.model.build import build_model
from panet.presets import preset
from panet.train.optimizer import parameter_groups
from panet.weights.tables import official

ORACLE = Path(__file__).parent / "oracle"
PRESETS = [("mask", "panet_r50"), ("det", "panet_r50_det"), ("det_2fc", "panet_r50_det_2fc")]
BACKBONE = "Conv_Body.conv_body."  # its starting weights are ImageNet's, not drawn


@pytest.fixture(scope="module", params=PRESETS, ids=lambda pair: pair[1])
def start(request):
    """Give (official name, our model at its start, our name of each official one)."""
    name, ours = request.param
    table = official()
    names = json.loads((ORACLE / f"official_keys_{name}.json").read_text())
    return name, build_model(preset(ours).model), {key: _our_name(key, table) for key in names}


def _our_name(key, table):
    layer, _, leaf = key.rpartition(".")
    return f"{table[layer]}.{leaf}"


def recorded(file, name):
    return json.loads((ORACLE / file).read_text())[name]


def test_the_optimizer_groups_are_the_official_ones(start):
    name, model, names = start
    groups = recorded("18_official_param_groups.json", name)
    expected = {
        (1.0, 1e-4): groups["weight_lr1_wd1e-4"],
        (2.0, 0.0): groups["bias_lr2_wd0"],
        (1.0, 0.0): groups["gn_weight_lr1_wd0"],
    }
    of_parameter = {parameter: name for name, parameter in model.named_parameters()}
    got = {
        (group["lr"], group["weight_decay"]): sorted(of_parameter[parameter] for parameter in group["params"])
        for group in parameter_groups(model, rate=1.0, weight_decay=1e-4, bias_rate_factor=2.0)
    }
    assert got == {rates: sorted(names[key] for key in keys) for rates, keys in expected.items()}


def test_the_frozen_tensors_are_the_official_ones(start):
    name, model, names = start
    expected = {names[key] for key in recorded("18_official_param_groups.json", name)["frozen"]}
    assert {name for name, parameter in model.named_parameters() if not parameter.requires_grad} == expected


def test_the_first_weights_are_drawn_as_the_official_ones(start):
    name, model, names = start
    state = model.state_dict()
    for key, theirs in recorded("17_official_init_stats.json", name).items():
        if key.startswith(BACKBONE):
            continue
        ours = state[names[key]].double()
        assert list(ours.shape) == theirs["shape"], key
        if theirs["std"] == 0:
            assert (ours == theirs["mean"]).all(), key
            continue
        # Two samples of n values: their means differ by sqrt(2 / n) std, their stds by at most sqrt(1 / n) std.
        n, std = ours.numel(), theirs["std"]
        assert abs(float(ours.mean()) - theirs["mean"]) < 5 * math.sqrt(2 / n) * std, key
        assert abs(float(ours.std()) / std - 1) < 5 * math.sqrt(1 / n), key
        # The extreme tells a uniform fill from a normal one: 1.73 std against 3.5 and more.
        uniform = theirs["absmax"] < 1.75 * std
        assert (float(ours.abs().max()) < 1.75 * float(ours.std())) == uniform, key


def test_the_network_starts_without_a_parameter_the_official_code_has_not(start):
    _, model, names = start
    trained = {name for name, _ in model.named_parameters()}
    assert trained == set(names.values())
    assert not [layer for layer in model.modules() if isinstance(layer, nn.Dropout)]
