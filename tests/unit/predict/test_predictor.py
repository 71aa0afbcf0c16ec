"""Pictures in, results out: whatever form the picture has, and whatever comes before or after it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import panet
from panet.config import BackboneConfig, BoxHeadConfig, MaskHeadConfig, ModelConfig, NeckConfig
from panet.data.batching import Normalise
from panet.errors import CheckpointError, ConfigError, DataError
from panet.model.build import build_model
from panet.model.detections import DetectionRule
from panet.predict.predictor import Predictor, load, pick_device
from panet.predict.result import Result
from panet.structures import TTA, Detections, ImageBatch, LabelMap
from panet.weights.checkpoint import restore, save_model

CONFIG = ModelConfig(
    num_classes=2,
    norm="none",
    backbone=BackboneConfig(name="lcnet_035", frozen_stages=0),
    neck=NeckConfig(channels=8),
    box_head=BoxHeadConfig(kind="2fc", fc_channels=16),
    mask_head=MaskHeadConfig(channels=8),
    short_side=64,
    max_side=128,
)
LABELS = LabelMap((3, 90), ("fig", "date"))


class Corner(nn.Module):
    """Finds the left upper quarter of the input; keeps to its rule, and remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.detection_rule = DetectionRule()
        self.seen: list[ImageBatch] = []

    def forward(self, images: ImageBatch) -> list[Detections]:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.seen.append(images)
        ((height, width),) = images.sizes
        boxes = torch.tensor([[0.0, 0.0, width / 2, height / 2]] * 3)
        found = Detections(boxes, torch.tensor([0.9, 0.5, 0.02]), torch.tensor([1, 2, 1]), torch.ones(3, 4, 4))
        kept = found.scores > self.detection_rule.score_threshold
        return [found[kept.nonzero()[:, 0]][: self.detection_rule.max_detections]]


@pytest.fixture
def predictor() -> Predictor:
    normalise = Normalise((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), bgr=False)
    return Predictor(Corner(), LABELS, short_side=20, max_side=100, normalise=normalise)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, build_model(CONFIG, seed=1, load_backbone=False).state_dict(), CONFIG, LABELS)
    return path


def noise(height: int, width: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def assert_same(result: Result, other: Result) -> None:
    assert np.array_equal(result.boxes, other.boxes)
    assert np.array_equal(result.scores, other.scores)
    assert np.array_equal(result.labels, other.labels)
    assert result.to_coco() == other.to_coco()


def test_an_empty_list_gives_an_empty_list(predictor: Predictor) -> None:
    assert predictor.predict([]) == []


def test_boxes_are_in_px_of_the_picture(predictor: Predictor) -> None:
    result = predictor.predict(noise(40, 60))
    assert predictor.model.seen[0].sizes == ((20, 30),)
    assert result.boxes.tolist() == [[0, 0, 30, 20]] * 2
    assert result.size == (40, 60)


def test_a_file_a_picture_and_an_array_give_the_same(predictor: Predictor, tmp_path: Path) -> None:
    pixels = noise(40, 60)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    inputs = [pixels, path, str(path), Image.fromarray(pixels), Image.fromarray(pixels).convert("RGBA")]
    results = predictor.predict(inputs)
    first = predictor.model.seen[0].tensor
    for result, seen in zip(results, predictor.model.seen, strict=True):
        assert torch.equal(seen.tensor, first)
        assert np.array_equal(result.image, pixels)
    assert [result.source for result in results] == ["", str(path), str(path), "", ""]


def test_a_list_gives_a_list_and_a_picture_a_result(predictor: Predictor) -> None:
    assert isinstance(predictor.predict([noise(8, 8)]), list)
    assert isinstance(predictor.predict((noise(8, 8),)), list)
    assert isinstance(predictor.predict(noise(8, 8)), Result)


def test_the_picture_is_not_written_to(predictor: Predictor) -> None:
    image = Image.fromarray(noise(8, 8)).convert("P")
    image.info["transparency"] = bytes(range(8))
    predictor.predict(image)
    assert (image.mode, image.info["transparency"]) == ("P", bytes(range(8)))


def test_an_opened_picture_that_turns_out_damaged_is_refused(predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise(40, 60)).save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with Image.open(path) as image, pytest.raises(DataError, match="PIL picture of mode RGB: cannot be read"):
        predictor.predict(image)


def test_limits_hold_for_one_call_only(predictor: Predictor) -> None:
    pixels = noise(8, 8)
    assert len(predictor.predict(pixels)) == 2
    assert len(predictor.predict(pixels, score_threshold=0.01)) == 3
    assert len(predictor.predict(pixels, score_threshold=0.6)) == 1
    assert len(predictor.predict(pixels, score_threshold=0.01, max_detections=2)) == 2
    assert predictor.model.detection_rule == DetectionRule()


def test_limits_are_restored_after_an_error(predictor: Predictor) -> None:
    with pytest.raises(DataError):
        predictor.predict("absent.png", score_threshold=0.9)
    assert predictor.model.detection_rule == DetectionRule()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"score_threshold": 1.5}, "score threshold: 1.5"),
        ({"score_threshold": float("nan")}, "score threshold: nan"),
        ({"max_detections": 0}, "detections a picture: 0"),
        ({"tta": True}, r"tta: True: expected panet\.TTA\(\)"),
    ],
)
def test_limits_out_of_range_are_refused(predictor: Predictor, limits: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        predictor.predict(noise(8, 8), **limits)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((8, 8), np.uint8), r"array of uint8 \(8, 8\): expected uint8 \(height, width, 3\)"),
        (np.zeros((8, 8, 3)), "array of float64"),
        (np.zeros((3, 8, 8), np.uint8), "array of uint8"),
        (np.zeros((0, 8, 3), np.uint8), "array of uint8"),
        (7, "a int is no picture"),
    ],
)
def test_what_is_no_picture_is_refused(predictor: Predictor, picture: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        predictor.predict(picture)


def test_a_predictor_says_what_it_knows(predictor: Predictor) -> None:
    assert predictor.names == ("fig", "date")
    assert repr(predictor) == "Predictor(2 classes: fig, date)"


def test_a_loaded_model_finds_the_same_alone_and_among_others(model_path: Path) -> None:
    predictor = panet.load(model_path, device="cpu")
    pictures = [noise(64, 64, seed=1), noise(40, 90, seed=2), noise(64, 64, seed=3)]
    together = predictor.predict(pictures, score_threshold=0.0, max_detections=5)
    assert any(len(result) for result in together)
    for picture, result in zip(pictures, together, strict=True):
        assert_same(predictor.predict(picture, score_threshold=0.0, max_detections=5), result)


def test_by_default_a_model_computes_in_fp32_and_finds_what_the_plain_network_finds(model_path: Path) -> None:
    picture = noise(64, 90, seed=4)
    found = panet.load(model_path, device="cpu").predict(picture, score_threshold=0.0, max_detections=5)
    reference = panet.load(model_path, device="cpu", precision="reference")
    assert reference.model.state_dict().keys() == restore(model_path)[0].state_dict().keys()
    expected = reference.predict(picture, score_threshold=0.0, max_detections=5)
    assert len(found) == 5
    assert found.labels.tolist() == expected.labels.tolist()
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=0, atol=1e-5)


def test_a_model_computes_in_the_precision_it_was_loaded_with(model_path: Path) -> None:
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        predictor = panet.load(model_path, device="cpu", precision=precision)  # type: ignore[arg-type]
        assert predictor.model.features(torch.zeros(1, 3, 64, 64))[2].dtype == dtype
    with pytest.raises(ConfigError, match="precision 'half' is unknown"):
        panet.load(model_path, precision="half")  # type: ignore[arg-type]


@pytest.mark.parametrize("arithmetic", ["modern", "legacy"])
def test_augmentation_with_everything_off_changes_nothing(model_path: Path, tmp_path: Path, arithmetic: str) -> None:
    config = CONFIG.model_copy(update={"arithmetic": arithmetic})
    path = tmp_path / "model.safetensors"
    save_model(path, build_model(config, seed=1, load_backbone=False).state_dict(), config, LABELS)
    predictor, off = panet.load(path, device="cpu"), TTA(scales=(1,), flip=False, box_voting=None)
    for seed in range(3):
        limits: dict[str, Any] = {"score_threshold": 0.0, "max_detections": 30}
        plain = predictor.predict(noise(50, 70, seed), **limits)
        assert len(plain) > 5
        assert_same(predictor.predict(noise(50, 70, seed), tta=off, **limits), plain)


def test_a_mirrored_picture_has_mirrored_results_with_a_flip(model_path: Path) -> None:
    predictor, pixels = panet.load(model_path, device="cpu"), noise(50, 70)
    for tta in (TTA(scales=(1,), box_voting=None), TTA(soft_nms="gaussian")):
        one, other = predictor.predict([pixels, pixels[:, ::-1]], 0.0, 10, tta)
        assert len(one) > 5
        assert one.labels.tolist() == other.labels.tolist()
        np.testing.assert_allclose(other.scores, one.scores, atol=1e-5)
        x1, y1, x2, y2 = other.boxes.T
        np.testing.assert_allclose(np.stack((70 - x2, y1, 70 - x1, y2), axis=1), one.boxes, atol=1e-3)


def test_soft_nms_and_voting_do_not_need_several_views(model_path: Path) -> None:
    predictor, pixels = panet.load(model_path, device="cpu"), noise(64, 64)
    plain = predictor.predict(pixels, 0.0)
    voted = predictor.predict(pixels, 0.0, tta=TTA(scales=(1,), flip=False, box_voting=0.5))
    assert np.array_equal(voted.scores, plain.scores)
    assert not np.array_equal(voted.boxes, plain.boxes)
    softened = predictor.predict(pixels, 0.0, tta=TTA(scales=(1,), flip=False, soft_nms="linear", box_voting=None))
    assert softened.scores[0] == plain.scores[0]
    assert not np.array_equal(softened.scores, plain.scores)


def test_what_is_not_shown_has_a_vote_and_what_loses_its_score_is_not_shown(model_path: Path) -> None:
    predictor, pixels = panet.load(model_path, device="cpu"), noise(64, 64)
    whole = predictor.predict(pixels, 0.0, tta=TTA(scales=(1,), soft_nms="linear"))
    rule = predictor.model.detection_rule
    limit = float(whole.scores[4])
    predictor.model.detection_rule = DetectionRule(score_threshold=0.0)
    part = predictor.predict(pixels, limit, tta=TTA(scales=(1,), soft_nms="linear"))
    assert part.scores.tolist() == whole.scores[:4].tolist()
    assert np.array_equal(part.boxes, whole.boxes[:4])
    assert predictor.model.detection_rule == DetectionRule(score_threshold=0.0)
    predictor.model.detection_rule = rule


def test_weights_that_are_not_finite_are_refused_when_loaded(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = build_model(CONFIG, load_backbone=False).state_dict()
    next(iter(state.values())).fill_(float("nan"))
    path = tmp_path / "nan.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr("panet.weights.checkpoint._check_finite", lambda *_: None)
        save_model(path, state, CONFIG, LABELS)
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        load(path)


@pytest.mark.parametrize("name", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device '{name}': not available here"):
        pick_device(name)


def test_a_device_is_found_by_its_name() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
