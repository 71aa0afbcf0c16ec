"""The objects of a part -> the files of a format. Polygons run along the pixels' edges and draw exactly the masks."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from panet.data.annotations import ImageAnnotations
from panet.data.formats.outlining import count_differing, outline_parts
from panet.data.images import printable
from panet.data.records import ImageRecord
from panet.errors import DataError
from panet.ops.outlines import join_polygons
from panet.ops.polygons import Polygon
from panet.structures import LabelMap

__all__ = ["TARGETS", "Tally", "Target", "Written"]

_LABELME_VERSION = "5.5.0"  # the first that has all that is written here


class Written(NamedTuple):
    """A picture as it lies in the new data set: its name below the part's folder of pictures, and what is on it."""

    name: str
    image: ImageRecord
    objects: ImageAnnotations


@dataclass
class Tally:
    """What became of the objects of a part.

    Args:
        pictures: that were written.
        objects: that were written, crowds too.
        crowds: that were left out, since the format has none.
        holed: of the objects, those with holes.
        parted: of the objects, those of several parts.
        differing: the objects whose pixels the new files do not hold -> how many pixels differ.
    """

    pictures: int = 0
    objects: int = 0
    crowds: int = 0
    holed: int = 0
    parted: int = 0
    differing: dict[str, int] = field(default_factory=dict)

    def add(self, where: str, parts: list[Polygon], num_differing: int) -> None:
        """Count an object that was written as polygons."""
        self.objects += 1
        self.holed += any(part.holes for part in parts)
        self.parted += len(parts) > 1
        if num_differing:
            self.differing[where] = num_differing


class Target(NamedTuple):
    """A format that is written.

    Args:
        pictures: the folder of a part's pictures; {split} stands for the part.
        write: writes a part's annotations.
        finish: writes what all parts share; takes their names.
        check: raises DataError where the format cannot tell these classes apart.
        only_upright: whether its readers turn every picture by its EXIF orientation, whatever its annotations are for.
    """

    pictures: str
    write: Callable[[Path, str, Iterable[Written], LabelMap, Tally], None]
    finish: Callable[[Path, list[str], LabelMap], None]
    check: Callable[[LabelMap], None]
    only_upright: bool = True


def _write_coco(root: Path, split: str, pictures: Iterable[Written], label_map: LabelMap, tally: Tally) -> None:
    """Write {split}.json; masks are compressed RLE, boxes and areas those of the data set that was read."""
    images: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for name, image, objects in pictures:
        number = len(images) + 1
        images.append({"id": number, "file_name": f"{split}/{name}", "width": image.width, "height": image.height})
        for place, rle in enumerate(objects.masks):
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": number,
                    "category_id": label_map.category_id(int(objects.labels[place])),
                    "bbox": objects.stored_boxes[place].tolist(),
                    "area": float(objects.stored_areas[place]),
                    "iscrowd": int(objects.crowd[place]),
                    "segmentation": rle,
                }
            )
    tally.pictures, tally.objects = len(images), len(rows)
    pairs = zip(label_map.category_ids, label_map.names, strict=True)
    categories = [{"id": number, "name": name} for number, name in pairs]
    document = {"images": images, "annotations": rows, "categories": categories}
    (root / f"{split}.json").write_text(json.dumps(document), encoding="utf-8")


def _write_yolo(root: Path, split: str, pictures: Iterable[Written], label_map: LabelMap, tally: Tally) -> None:
    """Write labels/{split}/*.txt: an object a line, its parts and holes joined; crowds are left out."""
    for name, image, objects in pictures:
        sides = (image.width, image.height)
        lines = []
        for place, parts in _outlines(objects, tally):
            shares = [
                f"{corner / sides[axis]:.9g}" for xy in join_polygons(parts).tolist() for axis, corner in enumerate(xy)
            ]
            lines.append(f"{int(objects.labels[place]) - 1} {' '.join(shares)}\n")
            again = [float(share) * sides[number % 2] for number, share in enumerate(shares)]  # as it is read
            differing = count_differing(objects.masks[place], [again], (image.height, image.width))
            tally.add(f"{split}/{name}: object {place + 1}", parts, differing)
        tally.pictures += 1
        _write(root / "labels" / split / Path(name).with_suffix(".txt"), "".join(lines))


def _finish_yolo(root: Path, splits: list[str], label_map: LabelMap) -> None:
    document: dict[str, Any] = {"names": dict(enumerate(label_map.names))}
    document |= {split: f"images/{split}" for split in splits}
    _write(root / "data.yaml", yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def _write_labelme(root: Path, split: str, pictures: Iterable[Written], label_map: LabelMap, tally: Tally) -> None:
    """Write {split}/*.json: a shape a part, its holes joined to it; crowds are left out."""
    for name, image, objects in pictures:
        shapes: list[dict[str, Any]] = []
        for place, parts in _outlines(objects, tally):
            outlines = [join_polygons([part]).tolist() for part in parts]
            group = place + 1 if len(parts) > 1 else None
            label = label_map.name(int(objects.labels[place]))
            shapes += [
                {"label": label, "points": points, "group_id": group, "shape_type": "polygon", "flags": {}}
                for points in outlines
            ]
            flat = [[number for point in points for number in point] for points in outlines]
            differing = count_differing(objects.masks[place], flat, (image.height, image.width))
            tally.add(f"{split}/{name}: object {place + 1}", parts, differing)
        tally.pictures += 1
        document: dict[str, Any] = {
            "version": _LABELME_VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": Path(name).name,
            "imageData": None,
            "imageHeight": image.height,
            "imageWidth": image.width,
        }
        _write(root / split / Path(name).with_suffix(".json"), json.dumps(document))


def _finish_labelme(root: Path, splits: list[str], label_map: LabelMap) -> None:
    _write(root / "labels.txt", "".join(f"{name}\n" for name in label_map.names))


def _check_labelme(label_map: LabelMap) -> None:
    for name in label_map.names:
        if label_map.names.count(name) > 1:
            raise DataError(f"two classes are called {printable(name)!r}: LabelMe tells classes by name; rename one")
        if name != name.strip() or not name.isprintable() or not name or name.startswith("_"):
            raise DataError(f"a class is called {printable(name)!r}: labels.txt of LabelMe cannot hold that; rename it")


def _outlines(objects: ImageAnnotations, tally: Tally) -> Iterable[tuple[int, list[Polygon]]]:
    """Give the place and outlines of each object of a picture; count the crowds, which are left out."""
    for place, rle in enumerate(objects.masks):
        if objects.crowd[place]:
            tally.crowds += 1
        else:
            yield place, outline_parts(rle, objects.boxes[place].tolist())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


TARGETS = {
    "coco": Target("images/{split}", _write_coco, lambda root, splits, label_map: None, lambda label_map: None, False),
    "yolo": Target("images/{split}", _write_yolo, _finish_yolo, lambda label_map: None),
    "labelme": Target("{split}", _write_labelme, _finish_labelme, _check_labelme),
}
"""The formats that are written, by name."""
