"""A small set of masks with holes, parts and crowds, and plain writers of the formats that hold pixels."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from panet.ops.rle import decode, encode, to_box

CATEGORIES = ("cat", "dog")


class Thing(NamedTuple):
    """An object: its class's place in the list of classes, (H, W) bool, whether it is a crowd."""

    category: int
    mask: np.ndarray
    crowd: bool = False


Truth = dict[str, dict[str, list[Thing]]]  # part -> picture -> objects


def _blocks(size, *blocks):
    mask = np.zeros(size, dtype=bool)
    for top, bottom, left, right, value in blocks:
        mask[top:bottom, left:right] = value
    return mask


@pytest.fixture(scope="session")
def truth() -> Truth:
    """Three pictures; objects do not overlap: plain, with a hole and an island in it, of three parts, of noise."""
    size, other = (40, 56), (33, 47)
    noise = _blocks(size, (26, 38, 2, 26, True)) & (np.random.default_rng(0).random(size) < 0.6)
    things = [
        Thing(0, _blocks(size, (0, 9, 0, 9, True))),
        Thing(1, _blocks(size, (2, 20, 12, 30, True), (5, 17, 15, 27, False), (9, 13, 19, 23, True))),
        Thing(0, _blocks(size, (0, 5, 33, 40, True), (8, 14, 44, 56, True), (20, 22, 36, 37, True))),
        Thing(1, noise),
    ]
    last = [
        Thing(1, _blocks(other, (1, 32, 1, 40, True), (4, 20, 3, 30, False))),
        Thing(0, _blocks(other, (5, 19, 4, 29, True), (10, 11, 8, 9, False))),
    ]
    return {"train": {"a": things, "b": []}, "val": {"c": last}}


@pytest.fixture(scope="session")
def sizes() -> dict[str, tuple[int, int]]:
    """Height and width of the pictures of `truth`."""
    return {"a": (40, 56), "b": (24, 24), "c": (33, 47)}


def _picture(path: Path, size) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = size
    Image.fromarray(np.full((height, width, 3), 90, dtype=np.uint8)).save(path)


def _numbers(path: Path, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(path)


def write_coco(root: Path, truth: Truth, sizes) -> None:
    for split, pictures in truth.items():
        images, rows = [], []
        for number, (name, things) in enumerate(pictures.items(), start=1):
            _picture(root / "images" / f"{name}.png", sizes[name])
            height, width = sizes[name]
            images.append({"id": number, "file_name": f"{name}.png", "height": height, "width": width})
            for category, mask, crowd in things:
                x1, y1, x2, y2 = to_box(encode(mask))
                rows.append(
                    {
                        "id": len(rows) + 1,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "image_id": number,
                        "category_id": category + 1,
                        "iscrowd": int(crowd),
                        "segmentation": encode(mask),
                    }
                )
        categories = [{"id": number, "name": name} for number, name in enumerate(CATEGORIES, start=1)]
        document = {"images": images, "annotations": rows, "categories": categories}
        (root / f"{split}.json").write_text(json.dumps(document))


def write_masks(root: Path, truth: Truth, sizes) -> None:
    for split, pictures in truth.items():
        for name, things in pictures.items():
            _picture(root / split / "images" / f"{name}.png", sizes[name])
            labels = np.zeros(sizes[name], dtype=np.uint16)
            for number, thing in enumerate(things):
                labels[thing.mask] = 7 + 300 * number  # gaps, and above 255
            _numbers(root / split / "masks" / f"{name}.png", labels)


def write_voc(root: Path, truth: Truth, sizes, palette=None) -> None:
    for split, pictures in truth.items():
        listed = root / "ImageSets" / "Segmentation" / f"{split}.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("".join(f"{name}\n" for name in pictures))
        for name, things in pictures.items():
            _picture(root / "JPEGImages" / f"{name}.png", sizes[name])
            objects, classes = (np.zeros(sizes[name], dtype=np.uint8) for _ in range(2))
            for number, thing in enumerate(things, start=1):
                objects[thing.mask], classes[thing.mask] = number, (8, 12)[thing.category]  # VOC's cat and dog
            for kind, labels in (("Object", objects), ("Class", classes)):
                labels[-1, -3:] = np.where(labels[-1, -3:] == 0, 255, labels[-1, -3:])  # void
                path = root / f"Segmentation{kind}" / f"{name}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                image = Image.fromarray(labels)
                image.putpalette(_voc_colours())
                image.save(path)


def _voc_colours() -> list[int]:
    """The colour map as VOC's development kit makes it."""
    colours = []
    for number in range(256):
        red = green = blue = 0
        rest = number
        for shift in range(7, -1, -1):
            red |= (rest & 1) << shift
            green |= (rest >> 1 & 1) << shift
            blue |= (rest >> 2 & 1) << shift
            rest >>= 3
        colours += [red, green, blue]
    return colours


def write_cityscapes(root: Path, truth: Truth, sizes) -> None:
    """Classes person (24) and car (26); a crowd is a group, whose pixels are the label alone."""
    for split, pictures in truth.items():
        for number, (name, things) in enumerate(pictures.items()):
            stem = f"aachen_{number:06d}_000019"
            _picture(root / "leftImg8bit" / split / "aachen" / f"{stem}_leftImg8bit.png", sizes[name])
            labels = np.full(sizes[name], 7, dtype=np.int32)  # road
            counts = [0, 0]
            for category, mask, crowd in things:
                label = (24, 26)[category]
                labels[mask] = label if crowd else 1000 * label + counts[category]
                counts[category] += not crowd
            _numbers(root / "gtFine" / split / "aachen" / f"{stem}_gtFine_instanceIds.png", labels.astype(np.uint16))
            ids = np.where(labels < 1000, labels, labels // 1000).astype(np.uint8)
            _numbers(root / "gtFine" / split / "aachen" / f"{stem}_gtFine_labelIds.png", ids)


def write_mapillary(root: Path, truth: Truth, sizes) -> None:
    """The list of labels is of the release's form: Bird is label 0, and the first object of a label is number 0."""
    labels = [
        {"name": "animal--bird", "readable": "Bird", "instances": True, "evaluate": True, "color": [165, 42, 42]},
        {
            "name": "construction--flat--road",
            "readable": "Road",
            "instances": False,
            "evaluate": True,
            "color": [1, 2, 3],
        },
        {"name": "object--vehicle--car", "readable": "Car", "instances": True, "evaluate": True, "color": [0, 0, 142]},
    ]
    root.mkdir(parents=True, exist_ok=True)
    (root / "config_v2.0.json").write_text(
        json.dumps({"labels": labels, "version": "2.0", "mapping": "public", "folder_structure": "{split}/{content}/"})
    )
    for split, pictures in truth.items():
        folder = root / {"train": "training", "val": "validation"}[split]
        for name, things in pictures.items():
            (folder / "images").mkdir(parents=True, exist_ok=True)
            height, width = sizes[name]
            Image.fromarray(np.full((height, width, 3), 90, dtype=np.uint8)).save(folder / "images" / f"{name}.jpg")
            numbers = np.full(sizes[name], 256, dtype=np.uint16)  # road
            counts = [0, 0]
            for category, mask, _ in things:
                numbers[mask] = 256 * (0, 2)[category] + counts[category]
                counts[category] += 1
            _numbers(folder / "v2.0" / "instances" / f"{name}.png", numbers)
            _numbers(folder / "v2.0" / "labels" / f"{name}.png", (numbers // 256).astype(np.uint8))


WRITERS = {
    "coco": write_coco,
    "masks": write_masks,
    "voc": write_voc,
    "cityscapes": write_cityscapes,
    "mapillary": write_mapillary,
}


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """Write a set in a format that holds pixels; give its folder."""

    def write_set(kind: str, root: Path, truth: Truth, sizes) -> Path:
        WRITERS[kind](root, truth, sizes)
        return root

    return write_set


@pytest.fixture(scope="session")
def thing() -> type[Thing]:
    """The class of an object that is written."""
    return Thing


@pytest.fixture(scope="session")
def masks_of() -> Callable[..., Iterator[np.ndarray]]:
    """Give the decoded masks of each picture of a data set, by its order."""

    def decoded(dataset):
        return [[decode(rle) for rle in dataset.annotations[index].masks] for index in range(len(dataset))]

    return decoded
