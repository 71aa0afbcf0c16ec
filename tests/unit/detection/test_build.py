"""Which model a name, a recipe or a file becomes, and what torchvision's keywords change."""

import pytest
import torch

import panet
from panet.config import Config, DataConfig
from panet.detection.build import build_detection_model
from panet.errors import CheckpointError, ConfigError
from panet.structures import LabelMap

TINY = [
    "model.backbone.name=test_efficientnet",
    "model.backbone.weights=none",
    "model.backbone.norm=batch",
    "model.backbone.frozen_stages=0",
    "model.norm=none",
    "model.neck.channels=16",
    "model.box_head={kind: 2fc, fc_channels: 16}",
    "model.mask_head={channels: 16}",
]


def build(source="panet_lite", **options):
    return panet.detection_model(source, **{"num_classes": 3, "settings": TINY, **options})


def test_num_classes_counts_the_background():
    model = build(num_classes=3)
    assert model.config.num_classes == 2
    assert model.model.box_head.class_logits.out_features == 3
    assert model.label_map == LabelMap((1, 2), ("class 1", "class 2"))
    assert model.training


@pytest.mark.parametrize("count", [None, 1, 0])
def test_too_few_classes_are_refused(count):
    with pytest.raises(ConfigError, match=rf"num_classes: {count}: .* the background included: one class is 2"):
        build(num_classes=count)


def test_the_setting_of_the_classes_is_refused():
    with pytest.raises(ConfigError, match=r"model.num_classes: goes by num_classes here"):
        build(settings=[*TINY, "model.num_classes=5"])


def test_sizes_are_the_named_models_unless_told():
    model = build()
    assert model.sizes.train_sides == (384, 448, 512, 576, 640)
    assert (model.sizes.train_limit, model.sizes.test_side, model.sizes.test_limit) == (1024, 512, 1024)


@pytest.mark.parametrize(("min_size", "sides"), [(96, (96,)), ((64, 96), (64, 96)), ([96], (96,))])
def test_torchvisions_keywords_are_settings(min_size, sides):
    model = build(
        min_size=min_size, max_size=128, box_score_thresh=0.2, box_nms_thresh=0.4, box_detections_per_img=7, seed=3
    )
    assert model.sizes.train_sides == sides
    assert (model.sizes.train_limit, model.sizes.test_side, model.sizes.test_limit) == (128, 96, 128)
    rule = model.model.detection_rule
    assert (rule.score_threshold, rule.nms_threshold, rule.max_detections) == (0.2, 0.4, 7)
    assert (model.config.short_side, model.config.max_side) == (96, 128)  # so that `panet predict` uses them too


def test_no_sizes_are_refused():
    with pytest.raises(ConfigError, match="min_size: is empty: give a size in px, or several"):
        build(min_size=())
    config = Config(data=DataConfig(short_sides=()))
    with pytest.raises(ConfigError, match=r"data.short_sides is empty"):
        build_detection_model(config, LabelMap((1,), ("a",)), torch.Generator())


def test_the_seed_is_that_of_weights_and_draws():
    first, same, other = build(seed=1), build(seed=1), build(seed=2)
    weights = [model.model.box_head.class_logits.weight for model in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert first.generator.initial_seed() == 1


def test_a_generator_may_be_given():
    generator = torch.Generator().manual_seed(9)
    assert build(generator=generator).generator is generator


def test_names_of_the_classes_may_be_given():
    assert build(class_names=["cat", "dog"]).label_map.names == ("cat", "dog")
    with pytest.raises(ConfigError, match="class_names: 3 names: expected 2, without the background"):
        build(class_names=["background", "cat", "dog"])


def test_a_recipe_is_taken(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: {short_side: 77, max_side: 99}\nobjective: {roi_samples: 8}\n")
    model = build(recipe)
    assert model.sizes.test_side == 77
    assert model.objective.roi_rule.num_samples == 8


def test_an_unknown_name_is_refused():
    with pytest.raises(ConfigError, match=r"model 'panet_r5' is unknown \(did you mean 'panet_r50'\?\)"):
        build("panet_r5")


def test_frozen_random_weights_are_warned_of():
    with pytest.warns(UserWarning, match=r"2 stages and batch norms are frozen: give weights_backbone='timm'"):
        build(settings=[*TINY[:2], "model.backbone.norm=frozen", "model.backbone.frozen_stages=2", *TINY[4:]])


def test_the_arithmetic_of_2018_is_refused():
    with pytest.raises(ConfigError, match=r"model.arithmetic: legacy: .* use panet.load and panet train"):
        build(settings=[*TINY, "model.arithmetic=legacy"])


def test_the_bundled_model_is_taken():
    model = panet.detection_model("bundled", box_detections_per_img=3)
    assert model.label_map.names == ("nucleus",)
    assert model.model.detection_rule.max_detections == 3
    assert model.sizes.train_sides == (model.config.short_side,)


def test_a_file_has_its_own_classes_and_weights(tmp_path):
    path = tmp_path / "model.safetensors"
    saved = build(class_names=["cat", "dog"], seed=5)
    saved.save(path)
    state = panet.detection_model(path).state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in saved.state_dict().items())
    assert panet.detection_model(path, num_classes=3).label_map.names == ("cat", "dog")
    assert panet.detection_model(path, class_names=["c", "d"]).label_map.names == ("c", "d")
    with pytest.raises(ConfigError, match=r"num_classes: 4: .*model.safetensors has 3, the background included"):
        panet.detection_model(path, num_classes=4)
    with pytest.raises(ConfigError, match=r"weights_backbone: .*model.safetensors brings its own weights"):
        panet.detection_model(path, weights_backbone="timm")
    with pytest.raises(CheckpointError, match=r"weights do not fit the model: .* take another file"):
        panet.detection_model(path, settings=["model.neck.bottom_up=false"])


def test_weights_of_the_backbone_may_be_named():
    with pytest.raises(ConfigError, match=r"model.backbone.weights: no file 'absent.safetensors'"):
        build(weights_backbone="absent.safetensors", settings=[each for each in TINY if "weights" not in each])
