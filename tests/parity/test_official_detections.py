"""One picture through the whole network by the arithmetic of 2018, from pixels to pasted masks (fixture 13)."""

import numpy as np
import torch

from panet.config import ModelConfig
from panet.data.build import build_normalise
from panet.model.build import build_model
from panet.predict.predictor import Predictor
from panet.presets import preset
from panet.structures import LabelMap
from panet.weights.convert import convert
from panet.weights.tables import official

NAME = "13 detections and masks, end to end"


def settings() -> ModelConfig:
    """The released mask model's, at the size of the recorded picture."""
    document = preset("panet_r50").model.model_dump()
    document["arithmetic"] = "legacy"
    document["pixels"] = {"mean": (102.9801, 115.9465, 122.7717), "std": (1.0, 1.0, 1.0), "channels": "bgr"}
    document["backbone"]["stride_in_1x1"] = True
    document["rpn"] |= {"num_before_nms_test": 100, "num_after_nms_test": 40}
    document["detection"]["max_detections"] = 20
    return ModelConfig.model_validate(document | {"short_side": 128, "max_side": 192})


def predictor(official_keys, made_weights):
    config = settings()
    model = build_model(config)
    weights = {key: made_weights(key, shape) for key, shape in official_keys("mask").items()}
    converted = convert(weights, official(), model)
    assert not converted.unused
    assert not converted.missing
    model.load_state_dict(converted.state)
    numbers = tuple(range(1, 81))
    return Predictor(
        model,
        LabelMap(numbers, tuple(map(str, numbers))),
        short_side=config.short_side,
        max_side=config.max_side,
        normalise=build_normalise(config),
        arithmetic=config.arithmetic,
    )


def test_the_official_detections_come_out(oracle, same, official_keys, made_weights):
    recorded = oracle("13")
    image = np.ascontiguousarray(recorded["in.image_bgr_uint8"].numpy()[:, :, ::-1])
    result = predictor(official_keys, made_weights).predict(image)
    # Recorded by class, and within a class by RoI; ours are best first.
    order = np.argsort(-recorded["out.det_scores"].numpy(), kind="stable")
    same(NAME, "labels", torch.from_numpy(result.labels), recorded["out.det_labels"][order], atol=0)
    same(NAME, "scores", torch.from_numpy(result.scores), recorded["out.det_scores"][order], atol=1e-4)
    same(NAME, "boxes", torch.from_numpy(result.boxes), recorded["out.det_boxes"][order], atol=0.02 / 140)  # 0.02 px
    assert result.masks is not None
    got = np.stack([mask.array for mask in result.masks])
    expected = np.unpackbits(recorded["out.det_bitmap"][order].numpy(), axis=1)[:, : 100 * 140].reshape(-1, 100, 140)
    differing = int((got != expected.astype(bool)).sum())
    assert differing <= 2, f"{differing} of {expected.sum()} pixels"
