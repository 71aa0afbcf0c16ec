"""The shapes data set: deterministic, and with everything that a real one can have."""

import json

import numpy as np
import pytest
from pycocotools import mask as oracle

from panet.data.coco import read_coco
from panet.data.images import read_image
from panet.data.synthetic import CATEGORIES, write_shapes
from panet.ops.polygons import trace
from panet.ops.rle import decode


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    write_shapes(folder, 16, 2, 96, seed=0)
    return folder


@pytest.fixture(scope="module")
def dataset(folder):
    return read_coco(folder / "train.json", folder / "images")


def test_the_same_arguments_give_the_same_bytes(folder, tmp_path):
    write_shapes(tmp_path / "again", 16, 2, 96, seed=0)
    names = sorted(path.relative_to(folder) for path in folder.rglob("*.*"))
    assert len(names) == 20
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    write_shapes(tmp_path / "other", 1, 0, 96, seed=1)
    assert (folder / "images/train_0000.png").read_bytes() != (tmp_path / "other/images/train_0000.png").read_bytes()


def test_it_has_every_class_crowds_holes_and_empty_pictures(folder, dataset):
    objects = [dataset.annotations[i] for i in range(len(dataset))]
    assert dataset.label_map.names == tuple(CATEGORIES.values())
    assert set(np.concatenate([each.labels for each in objects]).tolist()) == {1, 2, 3, 4}
    assert sum(int(each.crowd.sum()) for each in objects) == 2
    assert [len(each) for each in objects].count(0) == 2
    assert any(polygon.holes for each in objects for rle in each.masks for polygon in trace(decode(rle)))
    forms = {
        "polygons" if isinstance(row["segmentation"], list) else type(row["segmentation"]["counts"]).__name__
        for row in json.loads((folder / "train.json").read_text())["annotations"]
    }
    assert forms == {"polygons", "str", "list"}


def test_pictures_are_square_wide_and_high_by_turns(dataset):
    assert [(image.height, image.width) for image in dataset.images[:3]] == [(96, 96), (72, 96), (96, 72)]


def test_objects_of_one_picture_share_no_pixel_and_have_their_class_colour(dataset):
    for index, image in enumerate(dataset.images):
        objects = dataset.annotations[index]
        masks = np.array([decode(rle) for rle in objects.masks]).reshape(-1, image.height, image.width)
        assert masks.sum(axis=0).max() <= 1
        pixels = read_image(image.path).numpy()
        for mask in masks:
            assert len(np.unique(pixels[:, mask], axis=1).T) == 1


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_the_same_masks(folder, dataset):
    rows = iter(json.loads((folder / "train.json").read_text())["annotations"])
    for index, image in enumerate(dataset.images):
        for rle in dataset.annotations[index].masks:
            row = next(rows)
            stored = row["segmentation"]
            if isinstance(stored, list):
                stored = oracle.merge(oracle.frPyObjects(stored, image.height, image.width))
            elif isinstance(stored["counts"], list):
                stored = oracle.frPyObjects(stored, image.height, image.width)
            np.testing.assert_array_equal(decode(rle), oracle.decode(stored))
            assert row["area"] == oracle.area(stored)
            assert row["bbox"] == oracle.toBbox(stored).tolist()
