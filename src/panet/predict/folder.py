"""Pictures in, a folder of predictions out: overlays with names of their own, and one COCO document."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from panet.data.images import list_images, open_picture, printable
from panet.errors import DataError
from panet.ops import rle
from panet.ops.rle import MAX_PIXELS
from panet.structures import LabelMap

__all__ = ["coco_document", "list_sources", "overlay_names", "prepare_folder"]


def list_sources(sources: Sequence[str | Path], most: int = MAX_PIXELS) -> list[Path]:
    """List the pictures of files, folders and glob patterns, each picture once; a named file must be a picture.

    Args:
        sources: what the user named.
        most: pixels that a named file may have.

    Raises:
        DataError: a source names nothing, a folder holds no picture, a file is none.
    """
    paths: dict[Path, Path] = {}
    for source in sources:
        found = list_images(source)
        if Path(source).is_file():
            with open_picture(source, most=most):  # its header; pixels are decoded when they are looked at
                pass
        for path in found:
            paths.setdefault(path.resolve(), path)
    return list(paths.values())


def prepare_folder(folder: Path, overwrite: bool) -> None:
    """Make the output folder, and see that it can be written to, before any work is done for it.

    Args:
        folder: where; what lies above it is made too.
        overwrite: whether files of the same names in it may be replaced.

    Raises:
        DataError: it is a file, cannot be written to, or is not empty and must not be overwritten.
    """
    name = printable(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not overwrite and any(folder.iterdir()):
            raise DataError(f"{name}: the output folder is not empty: add --overwrite, or choose another --output")
        probe = folder / ".panet-probe"
        probe.touch()
        probe.unlink()
    except (FileExistsError, NotADirectoryError) as error:
        raise DataError(f"{name}: a file is in the way: the output needs a folder; choose another --output") from error
    except OSError as error:
        raise DataError(f"{name}: cannot be written to: {error.strerror}: choose another --output") from error


def overlay_names(names: Sequence[str]) -> list[str]:
    """Give each picture's overlay a file name of its own: `<stem>.png`, `<stem>-2.png` ..."""
    taken: set[str] = set()
    chosen: list[str] = []
    for stem in (Path(name).stem for name in names):
        name, number = f"{stem}.png", 1
        while name.lower() in taken:  # some file systems do not tell case apart
            number += 1
            name = f"{stem}-{number}.png"
        taken.add(name.lower())
        chosen.append(name)
    return chosen


def coco_document(records: Iterable[Mapping[str, Any]], label_map: LabelMap) -> dict[str, Any]:
    """Give the COCO document of all records: images, annotations with scores, categories with the model's own ids.

    Args:
        records: of `predict.partial.record_of`, in the order of the pictures.
        label_map: the model's classes.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, record in enumerate(records, start=1):
        height, width = record["size"]
        images.append({"id": number, "file_name": record["name"], "height": height, "width": width})
        for found in record["found"]:
            area = rle.area(found["segmentation"]) if "segmentation" in found else found["bbox"][2] * found["bbox"][3]
            identity = {"id": len(annotations) + 1, "image_id": number}
            annotations.append({**found, **identity, "area": area, "iscrowd": 0})
    pairs = zip(label_map.category_ids, label_map.names, strict=True)
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in pairs],
    }
