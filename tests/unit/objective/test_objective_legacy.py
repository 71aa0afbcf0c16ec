import pytest
import torch

from panet.model.build import build_model
from panet.objective import objective as module
from panet.objective.build import build_objective
from panet.ops.boxes import area
from panet.presets import preset
from panet.structures import Batch, ImageBatch, Target


def judge(arithmetic, monkeypatch=None, seen=None):
    config = preset("panet_lite")
    model_config = config.model.model_copy(update={"arithmetic": arithmetic, "num_classes": 2})
    objective = build_objective(build_model(model_config, load_backbone=False), config.objective, config.model.rpn)
    if monkeypatch is not None:
        sample_rois = module.sample_rois
        monkeypatch.setattr(module, "sample_rois", lambda *args: seen.append(args) or sample_rois(*args))
    boxes = torch.tensor([[8.0, 8.0, 40.0, 32.0]])
    masks = torch.zeros(1, 64, 64, dtype=torch.bool)
    masks[0, 8:32, 8:40] = True
    target = Target(boxes, torch.tensor([1]), masks, torch.tensor([False]), 1)
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    batch = Batch(ImageBatch(pixels, ((64, 64),), ((32, 32),)), (target,))
    return objective, objective(batch, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("arithmetic", ["modern", "legacy"])
def test_both_arithmetics_train(arithmetic):
    objective, losses = judge(arithmetic)
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert objective.model.box_head.deltas.weight.grad.abs().sum() > 0
    rules = objective.proposal_rule, objective.anchor_rule, objective.roi_rule
    assert {rule.inclusive for rule in rules} == {arithmetic == "legacy"}


def test_the_last_pixel_of_an_object_is_one_of_the_picture(monkeypatch):
    seen = []
    judge("legacy", monkeypatch, seen)
    ((_, targets, *_),) = seen
    # Two input px an image px: 8 .. 40 is image px 4 .. 19, the last one at 38.
    assert targets[0].boxes.tolist() == [[8.0, 8.0, 38.0, 30.0]]
    assert area(targets[0].boxes / 2, inclusive=True).tolist() == [16 * 12]
