"""A small model behind torchvision's contract, and a small batch for it."""

import pytest
import torch

from panet.config import Config, DataConfig
from panet.detection.build import build_detection_model
from panet.structures import LabelMap


@pytest.fixture(scope="session")
def make_model(tiny_config):
    """Give a model of 3 classes that sees pictures at 64 px, at most 96, with changes of its network."""

    def make(seed=0, short_sides=(64,), **changes):
        model = tiny_config(short_side=64, max_side=96, **changes)
        config = Config(model=model, data=DataConfig(short_sides=short_sides, max_side=96))
        label_map = LabelMap((1, 2, 3), ("a", "b", "c"))
        return build_detection_model(config, label_map, torch.Generator().manual_seed(seed))

    return make


@pytest.fixture
def images():
    """Two pictures of different sizes."""
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, 60, 90, generator=generator), torch.rand(3, 70, 50, generator=generator)]


@pytest.fixture
def targets():
    """Two objects in the first picture, none in the second."""
    masks = torch.zeros(2, 60, 90, dtype=torch.uint8)
    masks[0, 5:40, 5:40] = 1
    masks[1, 20:55, 30:80] = 1
    return [
        {
            "boxes": torch.tensor([[5.0, 5, 40, 40], [30, 20, 80, 55]]),
            "labels": torch.tensor([1, 3]),
            "masks": masks,
            "image_id": torch.tensor([7]),
            "area": torch.tensor([1225.0, 1750.0]),
            "iscrowd": torch.zeros(2, dtype=torch.int64),
        },
        {
            "boxes": torch.zeros(0, 4),
            "labels": torch.zeros(0, dtype=torch.int64),
            "masks": torch.zeros(0, 70, 50, dtype=torch.uint8),
        },
    ]
