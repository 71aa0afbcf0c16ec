"""Pictures in, a folder of predictions out: overlays with names of their own, and one COCO document."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from panet.data.images import list_images, open_picture, printable
from panet.errors import DataError
from panet.ops import rle
from panet.ops.rle import MAX_PIXELS
from panet.predict.result import Result
from panet.structures import LabelMap

__all__ = ["PredictionFolder", "list_sources", "prepare_folder", "with_ids"]


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


class PredictionFolder:
    """Collects results: overlays are written at once, the rest is in `document`."""

    def __init__(self, folder: Path, label_map: LabelMap) -> None:
        """Take an existing folder and the model's classes."""
        self._folder = folder
        self._label_map = label_map
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._taken: set[str] = set()

    def add(self, name: str, result: Result, overlay: bool) -> Path | None:
        """Take a picture's name and result; give the overlay's path, if one is wanted: `<stem>.png`, `<stem>-2.png` ...

        Raises:
            DataError: the overlay cannot be written.
        """
        number = len(self._images) + 1
        height, width = result.size
        self._images.append({"id": number, "file_name": name, "height": height, "width": width})
        for found in result.to_coco(number):
            area = rle.area(found["segmentation"]) if "segmentation" in found else found["bbox"][2] * found["bbox"][3]
            self._annotations.append({"id": len(self._annotations) + 1, **found, "area": area, "iscrowd": 0})
        if not overlay:
            return None
        place = self._folder / self._free_name(Path(name).stem)
        result.save(place)
        return place

    def _free_name(self, stem: str) -> str:
        name, number = f"{stem}.png", 1
        while name.lower() in self._taken:  # some file systems do not tell case apart
            number += 1
            name = f"{stem}-{number}.png"
        self._taken.add(name.lower())
        return name

    @property
    def document(self) -> dict[str, Any]:
        """The COCO document of all results: images, annotations with scores, categories with the model's own ids."""
        pairs = zip(self._label_map.category_ids, self._label_map.names, strict=True)
        return {
            "images": self._images,
            "annotations": self._annotations,
            "categories": [{"id": number, "name": name} for number, name in pairs],
        }


def with_ids(document: Mapping[str, Any], ids: Sequence[int | str]) -> dict[str, Any]:
    """Give a document of results whose pictures, in their order, have other ids."""
    known = {image["id"]: number for image, number in zip(document["images"], ids, strict=True)}
    return {
        **document,
        "images": [{**image, "id": known[image["id"]]} for image in document["images"]],
        "annotations": [{**found, "image_id": known[found["image_id"]]} for found in document["annotations"]],
    }
