"""What the README shows is what runs."""

import re
from pathlib import Path

import pytest
import torch
from torchvision.models import detection

import panet

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
SMALL = [
    "model.backbone.name=test_efficientnet",
    "model.backbone.weights=none",
    "model.backbone.norm=batch",
    "model.backbone.frozen_stages=0",
    "model.norm_groups=4",
    "model.neck.channels=16",
    "model.box_head={conv_channels: 16, fc_channels: 16}",
    "model.mask_head.channels=16",
    "model.rpn={num_before_nms_train: 20, num_after_nms_train: 20, num_before_nms_test: 20, num_after_nms_test: 20}",
    "objective.roi_samples=16",
]
SIZES = ((64, 96), (80, 64), (64, 64), (90, 70))  # (height, width) of the pictures


def script(sign):
    """Give one side of the README's only diff."""
    (diff,) = re.findall(r"^```diff\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return "\n".join(line[1:] for line in diff.splitlines() if line[:1] in ("", " ", sign))


@pytest.fixture
def dataset():
    """Rectangles of two classes; the last picture shows nothing."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for index, (height, width) in enumerate(SIZES):
        rectangles = [] if index == len(SIZES) - 1 else [(4, 6, 40, 50), (20, 30, 60, 62)]
        masks = torch.zeros(len(rectangles), height, width, dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, rectangles, strict=True):
            mask[y1:y2, x1:x2] = 1
        target = {
            "boxes": torch.tensor(rectangles, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.arange(1, len(rectangles) + 1),
            "masks": masks,
            "image_id": torch.tensor([index]),
            "area": masks.sum((1, 2)),
            "iscrowd": torch.zeros(len(rectangles), dtype=torch.int64),
        }
        samples.append((torch.rand(3, height, width, generator=generator), target))
    return samples


@pytest.fixture
def small_models(monkeypatch):
    """Let both constructors build without downloads, for pictures of 64 px."""
    theirs, ours = detection.maskrcnn_resnet50_fpn, panet.detection_model
    sizes = {"min_size": 64, "max_size": 96, "box_score_thresh": 0.0, "box_detections_per_img": 5}

    few = {f"rpn_{when}_nms_top_n_{mode}": 20 for when in ("pre", "post") for mode in ("train", "test")}

    def build_theirs(**options):
        return theirs(**options | sizes | few | {"weights_backbone": None, "box_batch_size_per_image": 16})

    def build_ours(name, **options):
        return ours(name, **options | sizes | {"weights_backbone": None, "settings": SMALL})

    monkeypatch.setattr(detection, "maskrcnn_resnet50_fpn", build_theirs)
    monkeypatch.setattr(panet, "detection_model", build_ours)


def test_the_lines_that_change_are_those_that_are_shown():
    theirs, ours = script("-").splitlines(), script("+").splitlines()
    assert len(set(theirs) - set(ours)) == 2
    assert [line for line in ours if "panet" in line] == [line for line in ours if line not in theirs]


@pytest.mark.parametrize("sign", ["-", "+"])
def test_torchvisions_script_runs_as_it_is_and_as_it_becomes(sign, dataset, small_models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    names = {"dataset": dataset}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        exec(compile(script(sign), "README.md", "exec"), names)
    assert isinstance(names["model"], panet.DetectionModel) == (sign == "+")
    assert set(names["losses"]) == {
        "loss_classifier",
        "loss_box_reg",
        "loss_mask",
        "loss_objectness",
        "loss_rpn_box_reg",
    }
    assert all(torch.isfinite(loss) for loss in names["losses"].values())
    assert len(names["predictions"]) == len(SIZES)
    for (height, width), found in zip(SIZES, names["predictions"], strict=True):
        count = len(found["boxes"])
        assert count <= 5
        assert count or sign == "-"  # what random weights find is the model's affair
        kinds = {key: (tuple(value.shape), value.dtype) for key, value in found.items()}
        assert kinds == {
            "boxes": ((count, 4), torch.float32),
            "labels": ((count,), torch.int64),
            "scores": ((count,), torch.float32),
            "masks": ((count, 1, height, width), torch.float32),
        }
    assert {path.name for path in tmp_path.iterdir()} == {"model.pth"} | (
        {"model.safetensors"} if sign == "+" else set()
    )


def test_the_model_that_the_script_saves_predicts(dataset, small_models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    exec(compile(script("+"), "README.md", "exec"), {"dataset": dataset[:2]})
    picture = (dataset[0][0].permute(1, 2, 0) * 255).byte().numpy()
    assert panet.load("model.safetensors", device="cpu").predict(picture).size == SIZES[0]
