"""A model over a data set: results, scores, and the model as it was."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from panet.config import DetectionConfig
from panet.data.coco import CocoDataset, read_coco
from panet.data.loading import Unreadable
from panet.errors import DataError
from panet.evaluate.runner import evaluate, predict_all, predict_most, score_all
from panet.model.build import build_model
from panet.model.detections import DetectionRule
from panet.structures import TTA, Batch, Detections, ImageBatch, LabelMap, Target, Views

ORIGINAL = (20, 40)
INPUT = (40, 80)  # the picture at twice its size


class Finder(nn.Module):
    """Finds the one object of every picture, 8..24 x 4..16 image px, with a copy at a low score."""

    max_detections = 1

    def __init__(self, *, masks: bool = True) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)
        self.masks = masks
        self.seen: list[tuple[bool, bool, int]] = []

    def forward(self, images: ImageBatch) -> list[Detections]:
        self.seen.append((self.training, torch.is_grad_enabled(), self.max_detections))
        boxes = torch.tensor([[16.0, 8.0, 48.0, 32.0]] * 2)
        found = Detections(boxes, torch.tensor([0.9, 0.2]), torch.tensor([2, 2]), torch.ones(2, 4, 4))
        if not self.masks:
            found = replace(found, mask_grids=None)
        return [found[: self.max_detections] for _ in range(len(images))]


@pytest.fixture
def dataset(tmp_path: Path) -> CocoDataset:
    annotations = []
    for number in (11, 12, 13):
        Image.fromarray(np.zeros((*ORIGINAL, 3), np.uint8)).save(tmp_path / f"{number}.png")
        polygon = [8, 4, 24, 4, 24, 16, 8, 16]
        annotations.append({"id": number, "image_id": number, "category_id": 70, "segmentation": [polygon]})
    document = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in (11, 12, 13)],
        "annotations": annotations,
        "categories": [{"id": 70, "name": "fig"}, {"id": 5, "name": "date"}],
    }
    (tmp_path / "val.json").write_text(json.dumps(document))
    return read_coco(tmp_path / "val.json", tmp_path)


def batch(*image_ids: int) -> Batch:
    none = Target(
        torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, *INPUT, dtype=torch.bool),
        torch.zeros(0, dtype=torch.bool), 0,
    )  # fmt: skip
    count = len(image_ids)
    images = ImageBatch(torch.zeros(count, 3, 64, 96), (INPUT,) * count, (ORIGINAL,) * count)
    return Batch(images, tuple(replace(none, image_id=image_id) for image_id in image_ids))


def test_no_pictures_are_an_error(dataset: CocoDataset) -> None:
    with pytest.raises(DataError, match="no pictures"):
        evaluate(Finder(), [], dataset, 100)  # type: ignore[arg-type]


def test_a_picture_that_can_no_longer_be_read_is_left_out_of_the_truth_too(dataset: CocoDataset) -> None:
    rot = Unreadable(DataError("12.png: is no picture"))
    told: list[DataError] = []
    predicted = predict_all(
        Finder(),  # type: ignore[arg-type]
        [batch(11), rot, batch(13)],
        dataset.label_map,
        100,
        on_unreadable=told.append,
    )
    assert told == [rot.why]
    assert predicted.results[1] is None
    assert score_all(dataset, predicted.results, ("bbox",), 100).metrics["box/AR"] == 1  # not two of three
    evaluation = evaluate(Finder(), [batch(11), rot, batch(13)], dataset, 100)  # type: ignore[arg-type]
    assert evaluation.num_images == 2
    assert {result["image_id"] for result in evaluation.results} == {11, 13}


def test_nothing_to_score_where_no_picture_can_be_read_any_more(dataset: CocoDataset) -> None:
    rot = Unreadable(DataError("is no picture"))
    with pytest.raises(DataError, match=r"val\.json: none of its pictures can be read any more: there is nothing"):
        evaluate(Finder(), [rot, rot, rot], dataset, 100)  # type: ignore[arg-type]


def test_a_model_that_finds_all_scores_one(dataset: CocoDataset) -> None:
    counts: list[int] = []
    evaluation = evaluate(Finder(), [batch(11, 12), batch(13)], dataset, 100, counts.append)  # type: ignore[arg-type]
    assert evaluation.metrics["box/AP"] == pytest.approx(1)
    assert evaluation.metrics["mask/AP"] == pytest.approx(1)
    assert evaluation.per_class["fig"]["mask/AP50"] == pytest.approx(1)
    assert [result["image_id"] for result in evaluation.results] == [11, 11, 12, 12, 13, 13]
    assert evaluation.results[0]["bbox"] == [8, 4, 16, 12]
    assert evaluation.results[0]["category_id"] == 70
    assert (evaluation.num_images, counts) == (3, [2, 1])
    assert evaluation.seconds > 0


def test_without_masks_only_boxes_are_scored(dataset: CocoDataset) -> None:
    evaluation = evaluate(Finder(masks=False), [batch(11)], dataset, 100)  # type: ignore[arg-type]
    assert evaluation.metrics["box/AR"] == pytest.approx(1 / 3)
    assert not any(key.startswith("mask/") for key in evaluation.metrics)


def test_the_model_predicts_in_eval_mode_without_gradients_and_with_room(dataset: CocoDataset) -> None:
    model = Finder()
    evaluate(model, [batch(11)], dataset, 400)  # type: ignore[arg-type]
    assert model.seen == [(False, False, 400)]


def test_the_models_modes_and_limit_are_as_before_also_after_an_error(dataset: CocoDataset) -> None:
    model = Finder()
    model.train()
    model.norm.eval()  # frozen
    evaluate(model, [batch(11)], dataset, 400)  # type: ignore[arg-type]
    with pytest.raises(DataError):
        evaluate(model, [], dataset, 400)  # type: ignore[arg-type]
    assert (model.training, model.norm.training, model.max_detections) == (True, False, 1)


def test_a_model_that_keeps_more_keeps_on_doing_so(dataset: CocoDataset) -> None:
    model = Finder()
    model.max_detections = 7
    evaluate(model, [batch(11)], dataset, 5)  # type: ignore[arg-type]
    assert model.seen[0][2] == 7


def test_labels_mean_what_the_models_map_says(dataset: CocoDataset) -> None:
    labels = LabelMap((70, 5), ("fig", "date"))
    evaluation = evaluate(Finder(), [batch(11)], dataset, 100, label_map=labels)  # type: ignore[arg-type]
    assert evaluation.results[0]["category_id"] == 5


def test_a_score_threshold_leaves_results_out_of_the_score_only(dataset: CocoDataset) -> None:
    model, pictures = Finder(), [batch(11, 12, 13)]
    evaluation = evaluate(model, pictures, dataset, 100, score_threshold=0.95)  # type: ignore[arg-type]
    assert evaluation.metrics["box/AP"] == 0
    assert len(evaluation.results) == 6


def test_views_are_detected_together_by_the_rule_of_the_augmentation(
    dataset: CocoDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, counts = Finder(), []
    rule = DetectionRule(max_detections=1)
    model.detection_rule = rule  # type: ignore[assignment]
    rules: list[object] = []

    def detect(model: Finder, views: Views) -> Detections:
        rules.append(model.detection_rule)
        return Detections(torch.tensor([[8.0, 4.0, 24.0, 16.0]]), torch.ones(1), torch.tensor([2]), torch.ones(1, 4, 4))

    monkeypatch.setattr("panet.evaluate.runner.detect_views", detect)
    image = ImageBatch(torch.zeros(1, 3, 64, 96), (INPUT,), (ORIGINAL,))
    loader = [Views((image, image), (False, True), number) for number in (11, 12, 13)]
    tta = TTA(soft_nms="linear", box_voting=0.7)
    evaluation = evaluate(model, loader, dataset, 100, counts.append, tta=tta)  # type: ignore[arg-type]
    assert evaluation.metrics["mask/AP"] == pytest.approx(1)
    assert [result["image_id"] for result in evaluation.results] == [11, 12, 13]
    assert (evaluation.num_images, counts) == (3, [1, 1, 1])
    assert rules == [replace(rule, soft_nms="linear", box_voting=0.7)] * 3
    assert model.detection_rule is rule


@pytest.mark.parametrize(("max_dets", "count"), [(1, 8), (8, 8), (50, 50), (1000, 60)])
def test_a_picture_costs_most_with_as_many_detections_as_are_kept(tiny_config, max_dets: int, count: int) -> None:
    """The model keeps 8 itself; of its 20 proposals and 3 classes no more than 60 detections can come."""
    model = build_model(
        tiny_config(detection=DetectionConfig(max_detections=8, score_threshold=0.9)), seed=0, load_backbone=False
    ).train()
    label_map = LabelMap((5, 7, 9), ("a", "b", "c"))
    picture = replace(batch(12), images=ImageBatch(torch.rand(1, 3, 64, 96), (INPUT,), (ORIGINAL,)))
    assert predict_all(model, [picture], label_map, max_dets).results == [[]]  # it has learnt nothing
    results = predict_most(model, picture, label_map, max_dets)
    assert len(results) == count
    assert all((each["image_id"], each["segmentation"]["size"]) == (12, list(ORIGINAL)) for each in results)
    assert (model.training, model.max_detections) == (True, 8)
    assert all(parameter.grad is None for parameter in model.parameters())
