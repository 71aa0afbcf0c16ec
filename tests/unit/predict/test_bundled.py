"""The pictures inside the package."""

import numpy as np
from PIL import Image

from panet.data.images import read_size
from panet.ops import rle
from panet.predict.bundled import demo_pictures, read_label_image


def test_every_picture_is_there_with_its_source_and_licence() -> None:
    pictures = demo_pictures()
    folder = pictures[0].path.parent
    readme = (folder / "README.md").read_text()
    for path in folder.iterdir():
        assert path.name == "README.md" or f"`{path.name}`" in readme
    for picture in pictures:
        read_size(picture.path)


def test_the_truth_of_the_fluorescence_picture_has_125_nuclei() -> None:
    picture = demo_pictures()[0]
    assert picture.truth is not None
    masks, size = read_label_image(picture.truth)
    assert size == read_size(picture.path) == (512, 512)
    assert len(masks) == 125
    with Image.open(picture.truth) as image:
        foreground = int((np.array(image) > 0).sum())
    assert sum(rle.area(mask) for mask in masks) == foreground
