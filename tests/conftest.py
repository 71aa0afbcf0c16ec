"""Shared by all tests: where the data sets lie, if they do; a small network and a small batch."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from panet.config import ModelConfig
    from panet.structures import Batch

# The same examples in every run, however slow the machine.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """Let no test feel what an earlier one left behind: the command line takes signals over when it ends."""
    names = [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in names}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the project; the test is skipped where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the data sets in {folder.parent.name}/{folder.name} beside the project")
    return folder


@pytest.fixture(scope="session")
def tiny_config() -> Callable[..., ModelConfig]:
    """Give the settings of a network of 0.3 M parameters that runs in a tenth of a second, with changes."""
    from panet.config import BackboneConfig, BoxHeadConfig, MaskHeadConfig, ModelConfig, NeckConfig, RPNConfig

    def make(**changes: Any) -> ModelConfig:
        parts: dict[str, Any] = {
            "num_classes": 3,
            "norm_groups": 4,
            "backbone": BackboneConfig(name="test_efficientnet"),
            "neck": NeckConfig(channels=16),
            "rpn": RPNConfig(
                anchor_sizes=((16,), (32,), (64,), (128,), (256,)),
                num_before_nms_train=40,
                num_before_nms_test=40,
                num_after_nms_train=20,
                num_after_nms_test=20,
            ),
            "box_head": BoxHeadConfig(kind="2fc", conv_channels=16, fc_channels=32),
            "mask_head": MaskHeadConfig(channels=16),
        }
        return ModelConfig(**{**parts, **changes})

    return make


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., Batch]:
    """Give pictures of 60 x 90 in 64 x 96 px, original size 120 x 180, each with the same rectangles as objects."""
    import torch

    from panet.structures import Batch, ImageBatch, Target

    def make(
        num_images: int = 2,
        boxes: tuple[tuple[int, int, int, int], ...] = ((5, 5, 40, 40), (30, 20, 80, 55)),
        labels: tuple[int, ...] = (1, 3),
        crowd: tuple[bool, ...] = (False, False),
        seed: int = 0,
    ) -> Batch:
        masks = torch.zeros(len(boxes), 60, 90, dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
            mask[y1:y2, x1:x2] = True
        rectangles = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        flags = torch.tensor(crowd[: len(boxes)], dtype=torch.bool)
        classes = torch.tensor(labels[: len(boxes)], dtype=torch.int64)
        targets = tuple(Target(rectangles, classes, masks, flags, i) for i in range(num_images))
        pixels = torch.randn(num_images, 3, 64, 96, generator=torch.Generator().manual_seed(seed))
        return Batch(ImageBatch(pixels, ((60, 90),) * num_images, ((120, 180),) * num_images), targets)

    return make
