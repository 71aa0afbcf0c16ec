"""Weights & Biases: offline, in the run's folder, unless sending is asked for."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # it would call home, offline too

import wandb

__all__ = ["WandbLog"]


class WandbLog:
    """A run of W&B.

    Args:
        folder: of the run; what W&B keeps goes into its `wandb/`.
        identity: of W&B's run; the same again goes on with it.
        online: send as it comes, to the account that `wandb login` knows; else nothing is sent, and `wandb sync` may be
            called later.
        settings: of the run, to be shown there.
    """

    name = "wandb"
    takes_pictures = True

    def __init__(self, folder: Path, identity: str, online: bool, settings: Mapping[str, Any]) -> None:
        with _as_os_error():
            self._run = wandb.init(
                project="panet",
                name=folder.name,
                id=identity,
                dir=str(folder),
                resume="allow" if online else None,
                mode="online" if online else "offline",
                config=dict(settings),
                # Neither code, nor the repository, nor what is printed, nor the machine: only what is logged.
                settings=wandb.Settings(
                    console="off",
                    disable_git=True,
                    disable_code=True,
                    save_code=False,
                    x_disable_stats=True,
                    x_disable_meta=True,
                    silent=True,
                ),
            )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers; online, those of a step that was logged before are left out by W&B."""
        with _as_os_error():
            self._run.log(dict(values), step=step)

    def pictures(self, step: int, named: Mapping[str, NDArray[np.uint8]]) -> None:
        """Log pictures."""
        with _as_os_error():
            self._run.log({name: wandb.Image(picture) for name, picture in named.items()}, step=step)

    def close(self) -> None:
        """Wait until all is written, or sent."""
        with _as_os_error():
            self._run.finish()


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    """Let the one kind of error out that a log may raise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        try:
            yield
        except wandb.Error as error:
            raise OSError(str(error).partition("\n")[0]) from error
