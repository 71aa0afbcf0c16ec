"""The pictures inside the package that the demonstration shows; their sources and licences lie beside them."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from panet.ops import rle
from panet.structures import Size

__all__ = ["DemoPicture", "demo_pictures", "read_label_image"]


@dataclass(frozen=True)
class DemoPicture:
    """A bundled picture, and its true masks where they are known."""

    path: Path
    truth: Path | None


def demo_pictures() -> tuple[DemoPicture, ...]:
    """Give the bundled pictures; no model that is bundled has been trained on them."""
    folder = Path(str(files("panet").joinpath("bundled", "images")))
    return (
        DemoPicture(folder / "img2d.tif", folder / "mask2d.tif"),
        DemoPicture(folder / "histo.jpg", None),
        DemoPicture(folder / "ihc.png", None),
    )


def read_label_image(path: Path) -> tuple[list[rle.Rle], Size]:
    """Read a TIFF in which 0 is background and each object's pixels have its number.

    Returns: a mask for each object, by ascending number, and the picture's (height, width).
    """
    with Image.open(path, formats=("TIFF",)) as image:
        numbers = np.array(image)
    height, width = numbers.shape
    return [rle.encode(numbers == number) for number in np.unique(numbers) if number], (height, width)
