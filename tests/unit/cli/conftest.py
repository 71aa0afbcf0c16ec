"""A tiny model that finds something, and a tiny data set."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panet.config import BackboneConfig, BoxHeadConfig, DetectionConfig, MaskHeadConfig, ModelConfig, NeckConfig
from panet.model.build import build_model
from panet.structures import LabelMap
from panet.weights.checkpoint import save_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights and one class, "nucleus"; it finds up to five objects in anything."""
    config = ModelConfig(
        num_classes=1,
        norm="none",
        backbone=BackboneConfig(name="lcnet_035", frozen_stages=0),
        neck=NeckConfig(channels=8),
        box_head=BoxHeadConfig(kind="2fc", fc_channels=16),
        mask_head=MaskHeadConfig(channels=8),
        detection=DetectionConfig(max_detections=5),
        short_side=64,
        max_side=64,
    )
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    state = build_model(config, seed=1, load_backbone=False).state_dict()
    save_model(path, state, config, LabelMap((9,), ("nucleus",)))
    return path


@pytest.fixture
def tiny_data(tmp_path: Path) -> Path:
    """Two pictures with one nucleus each, as val.json and images/."""
    root = tmp_path / "set"
    (root / "images").mkdir(parents=True)
    document = {"images": [], "annotations": [], "categories": [{"id": 4, "name": "nucleus"}]}
    for number in (1, 2):
        Image.fromarray(np.full((40, 50, 3), 90, np.uint8)).save(root / "images" / f"{number}.png")
        document["images"].append({"id": number, "file_name": f"{number}.png", "height": 40, "width": 50})
        polygon = [10, 10, 30, 10, 30, 25, 10, 25]
        document["annotations"].append(
            {"id": number, "image_id": number, "category_id": 4, "segmentation": [polygon], "bbox": [10, 10, 20, 15]}
        )
    (root / "val.json").write_text(json.dumps(document))
    return root
