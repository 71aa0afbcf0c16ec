"""PANet: Path Aggregation Network for instance segmentation (arXiv 1803.01534).

    model = panet.load("model.safetensors")
    result = model.predict("picture.png")

The names below are imported when first used, so that `import panet` stays fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

from panet.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DivergedError,
    ExportError,
    PANetError,
)

if TYPE_CHECKING:
    from panet.detection.build import detection_model
    from panet.detection.model import DetectionModel
    from panet.predict.predictor import Predictor, load
    from panet.predict.result import Result
    from panet.structures import TTA

__version__ = "0.1.0"

__all__ = [
    "TTA",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DetectionModel",
    "DivergedError",
    "ExportError",
    "PANetError",
    "Predictor",
    "Result",
    "__version__",
    "detection_model",
    "load",
]

_LATER = {
    "DetectionModel": "panet.detection.model",
    "Predictor": "panet.predict.predictor",
    "Result": "panet.predict.result",
    "TTA": "panet.structures",
    "detection_model": "panet.detection.build",
    "load": "panet.predict.predictor",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'panet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
