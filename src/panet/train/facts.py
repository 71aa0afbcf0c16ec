"""What a run writes about itself before its first step, and what it compares with that when it is gone on with."""

import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch

from panet.config import Config
from panet.errors import ConfigError
from panet.settings import differences, to_yaml
from panet.structures import LabelMap
from panet.train.folder import CONFIG_NAME, ENVIRONMENT_NAME, LABELS_NAME, read_run_config
from panet.weights.files import write_whole

__all__ = ["check_classes", "check_same", "tell_changes", "write_facts"]

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
    begun_by = _read_object(folder / ENVIRONMENT_NAME).get("processes", 1)
    if begun_by != num_ranks:
        raise ConfigError(
            f"{folder}: was begun by {begun_by} processes and cannot be resumed by {num_ranks}: a step would see other "
            f"pictures; start {begun_by}"
        )


def _to_json(label_map: LabelMap) -> str:
    return json.dumps(asdict(label_map), indent=2, ensure_ascii=False) + "\n"


def _read_object(path: Path) -> dict[str, Any]:
    """Give what a run wrote about itself; nothing if that is lost."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def check_classes(folder: Path, label_map: LabelMap) -> None:
    """Refuse to go on with other classes than those that a run began with.

    Raises:
        ConfigError: names the first that differs.
    """
    then, now = _read_object(folder / LABELS_NAME), asdict(label_map)
    lists = [then.get(name) for name in ("category_ids", "names")]
    if not all(isinstance(each, list) for each in lists):  # lost
        return
    pairs = [list(zip(*each, strict=False)) for each in (lists, (now["category_ids"], now["names"]))]
    if pairs[0] == pairs[1]:
        return
    old, new = next(pair for pair in zip_longest(*pairs, fillvalue=("none", "")) if pair[0] != pair[1])
    raise ConfigError(
        f"{folder}: cannot be resumed with other classes: category {old[0]} {old[1]!r} is now {new[0]} {new[1]!r}; "
        "start a new run instead, from its weights with --init"
    )


def write_facts(
    folder: Path,
    config: Config,
    label_map: LabelMap,
    num_ranks: int = 1,
    parts: Mapping[str, Mapping[str, int | str]] | None = None,
) -> None:
    """Write config.yaml, environment.json and label_map.json; the first comes last, it makes the folder a run.

    Args:
        folder: of the run.
        config: its settings.
        label_map: its classes.
        num_ranks: the processes that train together.
        parts: "train", "val" -> `data.fingerprint.fingerprint`.

    Raises:
        CheckpointError: one cannot be written.
    """
    facts = _environment() | {"processes": num_ranks, "parts": parts or {}}
    write_whole(folder / ENVIRONMENT_NAME, (json.dumps(facts, indent=2) + "\n").encode())
    write_whole(folder / LABELS_NAME, _to_json(label_map).encode())
    write_whole(folder / CONFIG_NAME, to_yaml(config).encode())


def tell_changes(folder: Path, parts: Mapping[str, Mapping[str, int | str]] | None = None) -> list[str]:
    """Tell, in lines, what is not as where the run began and may change what it computes, by the last bits or more.

    Args:
        folder: of the run.
        parts: of the data set now, as for `write_facts`.
    """
    then = _read_object(folder / ENVIRONMENT_NAME)
    now = {name: value for name, value in _environment().items() if name in _BITS}
    changes = [f"{name} {then[name]}, now {value}" for name, value in now.items() if then.get(name, value) != value]
    versions: dict[str, str] = then.get("packages", {})
    changes += [
        f"{name} {versions[name]}, now {version}"
        for name, version in _versions().items()
        if versions.get(name, version) != version
    ]
    lines = _changed_parts(then.get("parts", {}), parts or {})
    if changes:
        end = "what follows may differ in the last bits from a run in one go"
        lines.append(f"careful: begun with {'; '.join(changes)}: {end}")
    return lines


def _changed_parts(then: Mapping[str, Any], now: Mapping[str, Mapping[str, int | str]]) -> list[str]:
    lines = []
    for name in dict.fromkeys([*then, *now]):
        old, new = then.get(name), now.get(name)
        if then and old != new:
            counts = [
                f"{each['pictures']} pictures, {each['objects']} objects" if each else "none" for each in (old, new)
            ]
            lines.append(
                f"careful: the {name} part is not the one that the run began with ({counts[0]} then, {counts[1]} now): "
                "what follows is not what a run in one go would give"
            )
    return lines


def _count(part: Mapping[str, int | str] | None) -> str:
    return f"{part['pictures']} pictures, {part['objects']} objects" if part else "none"


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
