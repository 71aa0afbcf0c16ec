"""MLflow: a database beside the runs, unless MLFLOW_TRACKING_URI names another place."""

import logging
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would send on import

import mlflow
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

__all__ = ["MlflowLog"]

_EXPERIMENT = "panet"


class MlflowLog:
    """A run of MLflow.

    Args:
        folder: of the run; the database `mlflow.db` and the pictures, in `mlartifacts/`, are beside it.
        identity: of MLflow's run, to go on with; None: a new one.
        settings: of the run, to be shown there; names with dots.
    """

    name = "mlflow"
    takes_pictures = True

    def __init__(self, folder: Path, identity: str | None, settings: Mapping[str, Any]) -> None:
        place = folder.resolve().parent
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # else it tells of its database
        with _as_os_error():
            uri = os.environ.get("MLFLOW_TRACKING_URI")
            artifacts = None if uri else (place / "mlartifacts").as_uri()
            self._client = mlflow.MlflowClient(tracking_uri=uri or f"sqlite:///{place / 'mlflow.db'}")
            if identity is not None:
                self._client.update_run(identity, status="RUNNING")
                self.identity = identity
            else:
                found = self._client.get_experiment_by_name(_EXPERIMENT)
                experiment = found.experiment_id if found else self._client.create_experiment(_EXPERIMENT, artifacts)
                self.identity = self._client.create_run(experiment, run_name=folder.name).info.run_id
                for name, value in settings.items():
                    self._client.log_param(self.identity, name, value)
        self._last: dict[str, int] = {}  # step of each number that MLflow has had

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers; those that were logged before, by a session that crashed, are left out."""
        now = round(1000 * time.time())
        with _as_os_error():
            fresh = [name for name in values if step > self._last_step(name)]
            self._client.log_batch(self.identity, metrics=[Metric(name, values[name], now, step) for name in fresh])
        self._last |= dict.fromkeys(fresh, step)

    def pictures(self, step: int, named: Mapping[str, NDArray[np.uint8]]) -> None:
        """Log pictures."""
        with _as_os_error():
            for name, picture in named.items():
                self._client.log_image(self.identity, picture, key=name, step=step)

    def close(self) -> None:
        """Say that nothing more comes."""
        with _as_os_error():
            self._client.set_terminated(self.identity)

    def _last_step(self, name: str) -> int:
        if name not in self._last:
            history = self._client.get_metric_history(self.identity, name)
            self._last[name] = max((point.step for point in history), default=-1)
        return self._last[name]


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Let the one kind of error out that a log may raise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        try:
            yield
        except MlflowException as error:
            raise OSError(str(error).partition("\n")[0]) from error
