"""What is compared computes the same where it should, and the stages are those of `PANet.forward`."""

import pytest
import torch

from panet.bench.candidates import Workload, naive_form, panet_run, prepare, torchvision_run
from panet.bench.stages import timed_forward
from panet.bench.training import draw_batch, panet_step, torchvision_step
from panet.config import ObjectiveConfig
from panet.data.batching import Normalise
from panet.model.build import build_model
from panet.model.fast import optimise
from panet.objective.build import build_objective

PIXELS = Normalise((0.0, 0.0, 0.0), (255.0, 255.0, 255.0), bgr=False)
WORKLOAD = Workload((64, 90), num_proposals=30)


@pytest.fixture(scope="module")
def model(tiny_config):
    model = build_model(tiny_config(), seed=3).eval()
    prepare(model, WORKLOAD, PIXELS)
    return model


def assert_same(found, expected):
    assert torch.equal(found.labels, expected.labels)
    torch.testing.assert_close(found.boxes, expected.boxes, rtol=0, atol=1e-3)
    torch.testing.assert_close(found.mask_grids, expected.mask_grids, rtol=0, atol=1e-4)


def test_a_workload_sets_how_many_proposals_are_kept_and_lets_random_weights_find_things(model):
    assert (model.proposal_rule.num_before_nms, model.proposal_rule.num_after_nms) == (30, 30)
    assert len(panet_run(model, WORKLOAD, PIXELS)()) > 0


def test_the_naive_and_the_fast_form_find_what_the_plain_one_finds(model, tiny_config):
    expected = panet_run(model, WORKLOAD, PIXELS)()
    naive = build_model(tiny_config(), seed=3).eval()
    prepare(naive, WORKLOAD, PIXELS)
    assert_same(panet_run(naive_form(naive), WORKLOAD, PIXELS, naive=True)(), expected)
    assert_same(panet_run(optimise(model), WORKLOAD, PIXELS)(), expected)


@pytest.mark.parametrize("changes", [{}, {"mask_head": None}])
def test_the_timed_stages_are_those_of_forward(tiny_config, make_batch, changes):
    model = build_model(tiny_config(**changes), seed=3).eval()
    prepare(model, WORKLOAD, PIXELS)
    images = make_batch().images
    with torch.inference_mode():
        found, seconds = timed_forward(model, images)
        for one, expected in zip(found, model(images), strict=True):
            assert torch.equal(one.boxes, expected.boxes)
            assert (one.mask_grids is None) == (expected.mask_grids is None)
    assert ("masks" in seconds) == (changes == {})
    assert all(value > 0 for value in seconds.values())


def test_steps_of_training_have_losses(tiny_config):
    config = tiny_config()
    batch = draw_batch(1, (96, 128), config.num_classes)
    objective = build_objective(build_model(config), ObjectiveConfig(), config.rpn).train()
    for dtype in (torch.float32, torch.bfloat16):
        assert panet_step(objective, batch, dtype)() > 0


@pytest.mark.slow
def test_torchvisions_models_run_and_train():
    assert len(torchvision_run("v1", WORKLOAD)()["boxes"]) > 0
    assert torchvision_step("v1", draw_batch(1, (96, 128), 3), 3)() > 0
