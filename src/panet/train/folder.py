"""The folder of a run: its name, what makes it one, and what is written into it before the first step."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from panet.config import Config
from panet.errors import ConfigError
from panet.settings import differences, read_config, to_yaml
from panet.structures import LabelMap
from panet.train.lock import LOCK_NAME, RunLock

__all__ = [
    "check_begun",
    "check_outside",
    "check_same",
    "create_folder",
    "find_run",
    "newest_run",
    "read_run_config",
    "tell_changes",
    "write_facts",
]

_CONFIG = "config.yaml"
_ENVIRONMENT = "environment.json"
_PACKAGES = ("panet", "torch", "torchvision", "timm", "numpy", "pillow", "safetensors", "hotcoco")
_BITS = ("cpu", "threads", "cuda")  # of the environment; packages apart
# What does not change what a step computes, or may have moved. A strict run goes on past a picture that rots: skip.
_FREE = (
    "data.workers",
    "data.worker_timeout",
    "data.cache_dir",
    "data.cache_gb",
    "data.root",
    "data.on_bad_data",
    "train.device",
    "train.save_minutes",
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
    if folder.is_symlink() or not (_is_run(folder) or _is_killed_start(folder)):
        raise ConfigError(f"{folder}: is not the folder of a run, so it is not overwritten; choose another --name")
    with RunLock(folder):
        shutil.rmtree(folder)


def _is_run(folder: Path) -> bool:
    return (folder / _CONFIG).is_file()


def _is_killed_start(folder: Path) -> bool:
    """Tell whether nothing but a lock is there: of a run that was killed before its first step."""
    return folder.is_dir() and [path.name for path in folder.iterdir()] == [LOCK_NAME]


def find_run(folder: Path) -> Path:
    """Give the folder of a run that a user named, or the newest run below it.

    Raises:
        ConfigError: there is no run.
    """
    if _is_run(folder):
        return folder
    return newest_run(folder)


def newest_run(root: Path) -> Path:
    """Give the run in `root` that was written to last; ConfigError if there is none."""
    configs = [path for path in root.glob(f"*/{_CONFIG}") if path.is_file()]
    if not configs:
        raise ConfigError(f"{root}: holds no run to resume; give a run's folder")
    return max(configs, key=lambda path: max(file.stat().st_mtime_ns for file in path.parent.iterdir())).parent


def read_run_config(folder: Path) -> Config:
    """Give the settings of a run."""
    return read_config(folder / _CONFIG, None)


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


def check_same(folder: Path, new: Config, num_ranks: int = 1) -> None:
    """Refuse to go on with other settings than a run's own, or with another number of processes.

    Raises:
        ConfigError: names the settings that differ, with both values.
    """
    found = {key: pair for key, pair in differences(read_run_config(folder), new).items() if key not in _FREE}
    if found:
        listed = "; ".join(f"{key} was {old}, is {now}" for key, (old, now) in list(found.items())[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise ConfigError(f"{folder}: cannot be resumed with other settings: {listed}{more}; start a new run instead")
    begun_by = _read_environment(folder).get("processes", 1)
    if begun_by != num_ranks:
        raise ConfigError(
            f"{folder}: was begun by {begun_by} processes and cannot be resumed by {num_ranks}: a step would see other "
            f"pictures; start {begun_by}"
        )


def _read_environment(folder: Path) -> dict[str, Any]:
    """Give what a run wrote about its machine; nothing if that is lost."""
    try:
        content = json.loads((folder / _ENVIRONMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_facts(folder: Path, config: Config, label_map: LabelMap, num_ranks: int = 1) -> None:
    """Write config.yaml, environment.json and label_map.json; the first comes last, it makes the folder a run."""
    facts = _environment() | {"processes": num_ranks}
    (folder / _ENVIRONMENT).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    labels = json.dumps(asdict(label_map), indent=2, ensure_ascii=False)
    (folder / "label_map.json").write_text(labels + "\n", encoding="utf-8")
    (folder / _CONFIG).write_text(to_yaml(config), encoding="utf-8")


def tell_changes(folder: Path) -> list[str]:
    """Tell, in a line, what is not as where the run began and may change the last bits of what it computes."""
    then = _read_environment(folder)
    now = {name: value for name, value in _environment().items() if name in _BITS}
    changes = [f"{name} {then[name]}, now {value}" for name, value in now.items() if then.get(name, value) != value]
    versions: dict[str, str] = then.get("packages", {})
    changes += [
        f"{name} {versions[name]}, now {version}"
        for name, version in _versions().items()
        if versions.get(name, version) != version
    ]
    if not changes:
        return []
    return [f"careful: begun with {'; '.join(changes)}: what follows may differ in the last bits from a run in one go"]


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def _environment() -> dict[str, object]:
    """Tell what a result may depend on. On the CPU the number of threads is part of it: sums change their order."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": _versions(),
    }


def _cpu_name() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor()
