"""Where a run's numbers and pictures go besides metrics.jsonl, behind one small interface.

metrics.csv always; TensorBoard where it is installed; W&B and MLflow where they are asked for.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from panet.errors import ConfigError, nearest
from panet.weights.files import write_whole

__all__ = ["SERVICES", "Log", "check_services", "flatten", "open_logs"]

SERVICES = {"wandb": "wandb", "wandb-online": "wandb", "mlflow": "mlflow"}
"""What can be asked for -> the package that it takes."""

_IDENTITIES = "logs.json"


class Log(Protocol):
    """A place that takes numbers, and pictures if it can. A place that fails raises OSError."""

    name: str
    takes_pictures: bool

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take the numbers of a step, such as "losses/mask" or "metrics/mask/AP"."""

    def pictures(self, step: int, named: Mapping[str, NDArray[np.uint8]]) -> None:
        """Take pictures (H, W, 3) RGB that show a step."""

    def close(self) -> None:
        """Bring to its place what is still on the way."""


def check_services(asked: Sequence[str]) -> None:
    """Refuse a service that is unknown or not installed; ConfigError tells what to install."""
    for name in asked:
        if name not in SERVICES:
            known = ", ".join(SERVICES)
            raise ConfigError(f"--log {name}: is unknown{nearest(name, SERVICES)}: choose from {known}")
        package = SERVICES[name]
        if find_spec(package) is None:
            raise ConfigError(f"--log {name}: {package} is not installed: pip install 'panet[{package}]'")


def open_logs(folder: Path, step: int, asked: Sequence[str], settings: Mapping[str, Any]) -> list[Log]:
    """Open TensorBoard, if installed, and the services that are asked for or were when the run began.

    Args:
        folder: of the run; which run of each service it is stays in its logs.json.
        step: the last one that counts: what was logged after it is logged again.
        asked: names in SERVICES.
        settings: of the run, to be shown there.

    Raises:
        ConfigError: a service refuses.
    """
    logs: list[Log] = []
    if find_spec("tensorboard") is not None:
        from panet.train.tensorboard_log import TensorBoardLog

        logs.append(TensorBoardLog(folder / "tensorboard", step))
    identities = _read_identities(folder)
    names = {SERVICES[name]: name for name in [*identities, *asked]}
    check_services(list(names.values()))
    if "wandb" in names:
        from panet.train.wandb_log import WandbLog

        identity = _identity(identities, "wandb") or uuid.uuid4().hex[:12]
        logs.append(WandbLog(folder, identity, names["wandb"] == "wandb-online", settings))
        identities = {name: kept for name, kept in identities.items() if SERVICES[name] != "wandb"}
        identities[names["wandb"]] = identity
    if "mlflow" in names:
        from panet.train.mlflow_log import MlflowLog

        log = MlflowLog(folder, _identity(identities, "mlflow"), settings)
        logs.append(log)
        identities["mlflow"] = log.identity
    if identities:
        write_whole(folder / _IDENTITIES, (json.dumps(identities, indent=2) + "\n").encode())
    return logs


def flatten(content: Mapping[str, Any]) -> dict[str, float]:
    """Name the numbers of a line of metrics.jsonl, "losses/mask" in {"losses": {"mask": ...}}; null is left out."""
    flat: dict[str, float] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}/{inner}": number for inner, number in flatten(value).items()}
        elif value is not None:
            flat[name] = value
    return flat


def _identity(identities: Mapping[str, str], package: str) -> str | None:
    return next((kept for name, kept in identities.items() if SERVICES[name] == package), None)


def _read_identities(folder: Path) -> dict[str, str]:
    path = folder / _IDENTITIES
    if not path.is_file():
        return {}
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: remove it, and logging begins anew") from error
    if not isinstance(read, dict) or not all(name in SERVICES and isinstance(kept, str) for name, kept in read.items()):
        raise ConfigError(f"{path}: holds something else than runs of {', '.join(SERVICES)}: remove it")
    return read
