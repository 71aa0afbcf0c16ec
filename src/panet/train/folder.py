"""The folder of a run: its name, what makes it one, and where it is found again."""

import contextlib
import re
import shutil
from pathlib import Path

from panet.config import Config
from panet.errors import ConfigError
from panet.settings import read_config
from panet.train.lock import LOCK_NAME, RunLock

__all__ = [
    "CONFIG_NAME",
    "ENVIRONMENT_NAME",
    "LABELS_NAME",
    "check_begun",
    "check_outside",
    "create_folder",
    "find_run",
    "is_run",
    "newest_run",
    "read_run_config",
]

CONFIG_NAME = "config.yaml"
"""The settings; a folder with this file is a run's."""
ENVIRONMENT_NAME = "environment.json"
"""What the run began with: versions, processor, threads, processes, pictures."""
LABELS_NAME = "label_map.json"
"""The classes."""
_BEGUN = re.compile(  # what is in a run's folder before it is one
    rf"\{LOCK_NAME}|{ENVIRONMENT_NAME}|{LABELS_NAME}|\.({ENVIRONMENT_NAME}|{LABELS_NAME}|{CONFIG_NAME})\.\d+\.part"
)


def create_folder(root: Path, name: str | None, overwrite: bool = False) -> Path:
    """Make a new run's folder: `root/name`, by default the next free of train, train2, train3, ...

    Args:
        root: the folder of all runs; made if absent.
        name: of this run.
        overwrite: remove an earlier run of this name.

    Raises:
        ConfigError: the name is taken or no name, what is there is no run or still runs, or nothing can be written.
    """
    if name is not None and not re.fullmatch(r"[^/\\\0]*[^/\\\0.][^/\\\0]*", name):
        raise ConfigError(f"--name {name!r}: expected the name of one folder; the folder above is --output-root")
    try:
        root.mkdir(parents=True, exist_ok=True)
        if name is None:
            return _next_free(root)
        folder = root / name
        if overwrite and folder.exists():
            _remove_run(folder)
        folder.mkdir()
    except FileExistsError as error:
        if not root.is_dir():
            raise ConfigError(f"{root}: is a file; choose another --output-root") from error
        raise ConfigError(
            f"{root / str(name)}: exists; choose another --name, or add --overwrite or --resume"
        ) from error
    except OSError as error:
        raise ConfigError(f"{error.filename or root}: {error.strerror}; choose another --output-root") from error
    return folder


def _next_free(root: Path) -> Path:
    number = 1
    while True:
        folder = root / (f"train{number}" if number > 1 else "train")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def _remove_run(folder: Path) -> None:
    if folder.is_symlink() or not (is_run(folder) or _is_begun(folder)):
        raise ConfigError(f"{folder}: is not the folder of a run, so it is not overwritten; choose another --name")
    with RunLock(folder):
        shutil.rmtree(folder)


def is_run(folder: Path) -> bool:
    """Tell whether a folder is that of a run: its settings are there."""
    return (folder / CONFIG_NAME).is_file()


def _is_begun(folder: Path) -> bool:
    """Tell whether nothing is in a folder but what a run writes first: it was killed before it was one."""
    return folder.is_dir() and all(_BEGUN.fullmatch(path.name) and path.is_file() for path in folder.iterdir())


def find_run(folder: Path) -> Path:
    """Give the folder of a run that a user named, or the newest run below it.

    Raises:
        ConfigError: there is no run.
    """
    if is_run(folder):
        return folder
    return newest_run(folder)


def newest_run(root: Path) -> Path:
    """Give the run in `root` that was written to last; ConfigError if there is none."""
    runs = [path.parent for path in root.glob(f"*/{CONFIG_NAME}") if path.is_file()]
    if not runs:
        raise ConfigError(f"{root}: holds no run to resume; give a run's folder")
    return max(runs, key=_last_change)


def _last_change(folder: Path) -> int:
    """Give when something in a folder was last written to, in ns; it may be a run that is being trained."""
    times = [0]
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # a part file, which has its name by now
            times.append(path.lstat().st_mtime_ns)
    return max(times)


def read_run_config(folder: Path) -> Config:
    """Give the settings of a run."""
    return read_config(folder / CONFIG_NAME, None)


def check_begun(folder: Path) -> None:
    """See that a run has something to be resumed from.

    Raises:
        ConfigError: it ended before its first checkpoint: the weights it started from are not in it.
    """
    if not any(folder.glob("checkpoint/step-*.safetensors")):
        raise ConfigError(f"{folder}: ended before its first checkpoint: start it anew with --overwrite")


def check_outside(folder: Path, root: Path) -> None:
    """See that a folder to write to is not below the data set's.

    Raises:
        ConfigError: it is.
    """
    if folder.resolve().is_relative_to(root.resolve()):
        raise ConfigError(
            f"{folder}: lies in the data set's folder {root}, where nothing is written; choose another --output-root"
        )
