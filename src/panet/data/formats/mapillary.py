"""Mapillary Vistas: {training,validation}/images/*.jpg, {training,validation}/v2.0/instances/*.png, config_v2.0.json.

A pixel is 256 x label + number of the object; the label is a place in the list `labels` of the configuration. The
classes are the labels with `instances: true`. Release 2.0 holds the older labels too, as v1.2 and config_v1.2.json;
release 1 has its instances in {training,validation}/instances and its labels in config.json.
"""

from functools import partial
from pathlib import Path

from panet.data.documents import read_json
from panet.data.formats.label_maps import find_objects, read_labels
from panet.data.formats.reading import Draft, Part, Reading, Track, find_pictures
from panet.data.images import printable
from panet.data.problems import Outcome
from panet.errors import DataError

__all__ = [
    "LOOKED_FOR",
    "LOOKED_FOR_V1",
    "find_mapillary",
    "find_mapillary_v1",
    "fit_mapillary",
    "fit_mapillary_v1",
]

LOOKED_FOR = "config_v2.0.json, training/v2.0/instances/ or validation/v2.0/instances/"
LOOKED_FOR_V1 = "config_v1.2.json (or config.json) and training/v1.2/instances/ (or training/instances/)"

_FOLDERS = {"train": "training", "val": "validation"}
_LABEL = 256


def fit_mapillary(root: Path) -> str:
    """Tell what of version 2.0 is there; empty if it is another format."""
    return _fit(root, "config_v2.0.json", "v2.0/instances")


def fit_mapillary_v1(root: Path) -> str:
    """Tell what of version 1 is there; empty if it is another format, or where version 2.0 is there too."""
    if fit_mapillary(root):
        return ""
    return _fit(root, "config_v1.2.json", "v1.2/instances") or _fit(root, "config.json", "instances")


def _fit(root: Path, config: str, instances: str) -> str:
    found = [name for name in _FOLDERS.values() if (root / name / instances).is_dir()]
    return f"{config} and {found[0]}/{instances}/" if found and (root / config).is_file() else ""


def find_mapillary(root: Path, split: str) -> Part | None:
    """Find the train or the val part of version 2.0."""
    return _find(root, split, "config_v2.0.json", "v2.0/instances")


def find_mapillary_v1(root: Path, split: str) -> Part | None:
    """Find the train or the val part of version 1.2, in either release."""
    return _find(root, split, "config_v1.2.json", "v1.2/instances") or _find(root, split, "config.json", "instances")


def _find(root: Path, split: str, config: str, instances: str) -> Part | None:
    images, truth = root / _FOLDERS[split] / "images", root / _FOLDERS[split] / instances
    if not truth.is_dir() or not (root / config).is_file():
        return None
    if not images.is_dir():
        raise DataError(f"{printable(truth)}: its folder of pictures {printable(images)} does not exist")
    return Part(truth, images, partial(_read, root / config, images, truth))


def _read(config: Path, images: Path, truth: Path, track: Track) -> Reading:
    labels = _read_labels(config)
    classes = {number: name for number, (name, has_instances) in enumerate(labels) if has_instances}
    if not classes:
        raise DataError(f"{printable(config)}: no label has instances: true; there is nothing to tell apart")
    draft = Draft(classes)
    names = find_pictures(images)
    if not names:
        raise DataError(f"{printable(images)}: holds no picture")
    for extra in sorted({Path(name).stem for name in find_pictures(truth)} - {Path(name).stem for name in names}):
        reason = f"its picture is not in {printable(images)}; its objects are left out"
        draft.tell(Outcome.WARN, "labels-without-picture", truth / f"{extra}.png", "", reason)
    for name in track(names):
        _add(draft, images, name, truth / f"{Path(name).stem}.png", len(labels), classes)
    return draft.finish()


def _read_labels(path: Path) -> list[tuple[str, bool]]:
    """Give each label's name, and whether it has instances, in the order of their numbers."""
    name, document = printable(path), read_json(path)
    rows = document.get("labels") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not rows:
        raise DataError(f"{name}: has no list 'labels'; use the configuration of the release")
    labels: list[tuple[str, bool]] = []
    for place, row in enumerate(rows):
        stated = (row.get("name"), row.get("instances")) if isinstance(row, dict) else (None, None)
        if type(stated[0]) is not str or type(stated[1]) is not bool:
            raise DataError(f"{name}: labels[{place}]: has no 'name' or no 'instances' (true or false)")
        labels.append(stated)  # type: ignore[arg-type]  # both types were just checked
    return labels


def _add(draft: Draft, images: Path, name: str, path: Path, num_labels: int, classes: dict[int, str]) -> None:
    pair = read_labels(draft, images / name, path)
    if pair is None:
        return
    labels, size = pair
    largest = int(labels.max())
    if largest // _LABEL >= num_labels:
        reason = (
            f"holds {largest} = {_LABEL} x {largest // _LABEL} + {largest % _LABEL}, but there are {num_labels} labels"
        )
        draft.tell(Outcome.DROP_IMG, "label-unknown", path, "", f"{reason}; is it of another version?")
        return
    number = draft.add_image(name, size)
    # Label 0 has instances in the release, and its first is the number 0: nothing here is background by its value.
    for value, positions in find_objects(labels, background=None):
        if value // _LABEL in classes:
            draft.add_mask(number, value // _LABEL, positions, size, f"{path.name} value {value}")
