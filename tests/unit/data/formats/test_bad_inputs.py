"""Bad files of every format: each gives one line that says where, what and what to do. The good sets are read first."""

import base64
import io
import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from panet.data.formats.reading import read_part
from panet.data.formats.source import find_source
from panet.data.problems import Outcome
from panet.errors import DataError

GREY = np.full((8, 10), 90, dtype=np.uint8)
LABELS = np.zeros((8, 10), dtype=np.uint16)
LABELS[1:4, 2:6] = 1
LABELS[5:8, 0:3] = 2


def png(pixels, form="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


def cut(content):
    """Leave out the last chunk of a PNG: all of its pixels are still there."""
    return content[:-12]


def labelme(shapes, **changes):
    document = {"shapes": shapes, "imagePath": "a.png", "imageData": None, "imageHeight": 8, "imageWidth": 10}
    return json.dumps({**document, **changes}).encode()


SQUARE = {"label": "cat", "points": [[1, 1], [5, 1], [5, 4], [1, 4]], "group_id": None, "shape_type": "polygon"}
CONFIG = {"labels": [{"name": "bird", "instances": True}, {"name": "road", "instances": False}]}
LINE = b"0 0.1 0.125 0.5 0.125 0.5 0.5 0.1 0.5\n"
CITY = "aachen/aachen_000000_000019"
PICTURE, IDS = f"leftImg8bit/train/{CITY}_leftImg8bit.png", f"gtFine/train/{CITY}_gtFine_instanceIds.png"
YAML = b"names: [cat, dog]\ntrain: images\n"

GOOD = {
    "yolo": {"data.yaml": YAML, "images/a.png": png(GREY), "labels/a.txt": LINE},
    "voc": {
        "ImageSets/Segmentation/train.txt": b"a\n",
        "JPEGImages/a.png": png(GREY),
        "SegmentationObject/a.png": png(LABELS.astype(np.uint8)),
        "SegmentationClass/a.png": png((LABELS > 0).astype(np.uint8) * 8),
    },
    "labelme": {"train/a.json": labelme([SQUARE]), "train/a.png": png(GREY)},
    "cityscapes": {PICTURE: png(GREY), IDS: png(LABELS + 25999)},
    "mapillary": {
        "config_v2.0.json": json.dumps(CONFIG).encode(),
        "training/images/a.png": png(GREY),
        "training/v2.0/instances/a.png": png(LABELS),
    },
    "masks": {"images/a.png": png(GREY), "masks/a.png": png(LABELS)},
}


def shape(**changes):
    return {"train/a.json": labelme([{**SQUARE, **changes}])}


def with_mask(pixels, points=((0, 0), (9, 7))):
    return shape(shape_type="mask", points=[list(p) for p in points], mask=base64.b64encode(png(pixels)).decode())


# Format, files that are other than in the good set (None: not there), and what the line says.
CASES = [
    ("yolo", {"data.yaml": b"names: [cat\ntrain: images\n"}, r"data\.yaml: line \d+ column \d+: .*; write valid YAML"),
    ("yolo", {"data.yaml": b"names:\n  0: cat\n  0: dog\ntrain: images\n"}, r"line 3 column 3: key '0' twice"),
    ("yolo", {"data.yaml": b"names: {a: cat}\ntrain: images\n"}, r"names: 'a': is not a number with a class name"),
    ("yolo", {"data.yaml": b"names: {0: cat, 00: dog}\ntrain: images\n"}, r"names: class 0 twice; keep one"),
    ("yolo", {"data.yaml": b"names: cat\ntrain: images\n"}, r"names: must list the classes, as \[cat, dog\]"),
    ("yolo", {"data.yaml": b"nc: 3\n" + YAML}, r"data\.yaml: nc: is 3, but names lists 2"),
    ("yolo", {"data.yaml": b"names: [&a cat, *a]\ntrain: images\n"}, r"alias \*a: write it out"),
    ("yolo", {"data.yaml": b"names: [cat]\ntrain: image\n"}, r"train: image: does not exist .*did you mean 'images'"),
    ("yolo", {"data.yaml": b"names: [cat]\ntrain: /etc\n"}, r"train: /etc: leads out of .*; write it relative"),
    ("yolo", {"data.yaml": b"names: [cat]\ntrain: {a: b}\n"}, r"train: .* must be a folder of pictures"),
    ("yolo", {"data.yaml": b"names: [cat]\ntrain: empty\n", "empty/x": b""}, r"empty: no picture is there"),
    (
        "yolo",
        {"labels/a.txt": b"\n" + LINE[:-5] + b"\n"},
        r"labels/a\.txt: line 2: has 7 numbers after the class; .*pairs",
    ),
    ("yolo", {"labels/a.txt": b"0 0.5 0.5 0.2 0.2\n"}, r"line 1: is a box \(4 numbers\), not a polygon"),
    ("yolo", {"labels/a.txt": LINE + b"2" + LINE[1:]}, r"line 2: class 2 is not among the 2 names"),
    ("yolo", {"labels/a.txt": b"cat 0 0 0 1 1 1\n"}, r"line 1: class cat is not among the 2 names"),
    ("yolo", {"labels/a.txt": b"0 0 0 0 x 1 1\n"}, r"line 1: x is not a number"),
    ("yolo", {"labels/a.txt": b"0 0 0 0 nan 1 1\n"}, r"line 1: nan is not a share of the picture, 0\.\.1"),
    ("yolo", {"labels/a.txt": b"0 10 10 60 10 60 50\n"}, r"line 1: 10 is not a share .* divide x by its width"),
    ("yolo", {"labels/a.txt": b"0 0.1 0.1 0.5 0.5 0.1 0.1\n"}, r"labels/a\.txt line 1: the mask has no area"),
    ("yolo", {"labels/a.txt": b"\xff\xfe0"}, r"labels/a\.txt: is not UTF-8 text \(byte 0\)"),
    ("yolo", {"images/a.png": b"<html>"}, r"images/a\.png: is no picture, or none of JPEG"),
    (
        "yolo",
        {"data.yaml": b"names: [cat]\ntrain: list.txt\n", "list.txt": b"images/a.png\n../../b.png\n"},
        r"list\.txt: line 2: \.\./\.\./b\.png leads out of",
    ),
    ("voc", {"JPEGImages/a.png": None, "JPEGImages/b": b""}, r"train\.txt: line 1: a has no picture in .*JPEGImages"),
    ("voc", {"ImageSets/Segmentation/train.txt": b"\n"}, r"train\.txt: lists no picture"),
    (
        "voc",
        {"SegmentationObject/a.png": None, "SegmentationObject/b": b""},
        r"SegmentationObject/a\.png: no such file",
    ),
    ("voc", {"SegmentationClass/a.png": None}, r"SegmentationClass: no such folder; VOC keeps"),
    ("voc", {"SegmentationClass/a.png": png(GREY * 0)}, r"a\.png: value 1: its pixels have the classes none"),
    (
        "voc",
        {"SegmentationClass/a.png": png(np.arange(80, dtype=np.uint8).reshape(8, 10) % 3)},
        r"SegmentationObject/a\.png: value 1: its pixels have the classes 1 and 2 in SegmentationClass",
    ),
    ("voc", {"SegmentationClass/a.png": png(GREY)}, r"SegmentationObject/a\.png value 1: category_id 90 is not among"),
    ("voc", {"SegmentationObject/a.png": png(GREY[:4])}, r"a\.png: is 10 x 4 px, but its picture 10 x 8"),
    (
        "voc",
        {"SegmentationObject/a.png": png(np.full((8, 10, 3), 7, np.uint8))},
        r"colour \(7, 7, 7\), which stands for no",
    ),
    ("voc", {"labelmap.txt": b"background:0,0,0::\ncat:1,2\n"}, r"labelmap\.txt: line 2: is not 'name:red,green,blue"),
    (
        "voc",
        {"labelmap.txt": b"background:0,0,0::\ncat:1,2," + b"9" * 5000},
        r"labelmap\.txt: line 2: is not 'name:red",
    ),
    ("voc", {"SegmentationObject/a.png": cut(png(GREY))}, r"a\.png: the PNG is cut off; copy or download it again"),
    ("voc", {"labelmap.txt": b"cat:1,2,3::\ndog:1,2,4::\n"}, r"labelmap\.txt: its first class must be background"),
    (
        "labelme",
        {"train/a.json": b'{"shapes": [], "imagePath": "a.png",}'},
        r"a\.json: broken JSON at line 1 column \d+",
    ),
    (
        "labelme",
        {"train/a.json": labelme([SQUARE], imageWidth="10\n" * 999)},
        r"a\.json: says '10\\n.{0,40} x 8 px, but its picture is 10 x 8; annotate it as it is",
    ),
    ("labelme", {"train/b.json": b"[]"}, r"b\.json: has no list 'shapes'; it is not a LabelMe file"),
    ("labelme", {"train/a.png": None}, r"a\.json: its picture a\.png is not there$"),
    ("labelme", {"train/a.png": None, "train/A.png": png(GREY)}, r"not there \(did you mean 'A\.png'\?\)$"),
    (
        "labelme",
        {"train/a.png": None, "train/a.json": labelme([SQUARE], imageData="AAAA")},
        r"its picture a\.png is not there; its pixels are in the file's imageData: `panet convert` writes them out",
    ),
    (
        "labelme",
        {"train/a.json": labelme([SQUARE], imagePath="../../a.png")},
        r"imagePath \.\./\.\./a\.png leads out of",
    ),
    ("labelme", {"train/a.json": labelme([SQUARE], imagePath="/etc/a.png")}, r"imagePath /etc/a\.png leads out of"),
    ("labelme", {"train/a.json": labelme([SQUARE], imagePath=None)}, r"has no 'imagePath', the name of its picture"),
    ("labelme", {"train/a.json": labelme([SQUARE], imagePath="x" * 5000)}, r"imagePath x{60}: File name too long"),
    (
        "labelme",
        {"train/a.json": labelme([SQUARE], imageHeight=9)},
        r"a\.json: says 10 x 9 px, but its picture is 10 x 8",
    ),
    ("labelme", shape(points=[[1, 1], [2, 2]]), r"a\.json: shapes\[0\]: a polygon of 2 points; it needs at least 3"),
    ("labelme", shape(points=[[1, 1], [2, float("nan")], [3, 3]]), r"shapes\[0\]: points\[1\] is \[2, nan\], not two"),
    ("labelme", shape(points=None), r"shapes\[0\]: has no list of points"),
    ("labelme", shape(shape_type="ellipse"), r"shapes\[0\]: shape_type 'ellipse' is unknown; polygon, rectangle"),
    ("labelme", shape(shape_type="circle", points=[[1, 1], [1, 1]]), r"shapes\[0\]: a circle of radius 0"),
    ("labelme", shape(shape_type="rectangle"), None),
    ("labelme", shape(shape_type="rectangle", points=[[1, 1]]), r"shapes\[0\]: a rectangle of 1 points; it needs 2"),
    ("labelme", shape(label=""), r"shapes\[0\]: has no label"),
    ("labelme", shape(group_id=[1]), r"shapes\[0\]: group_id is \[1\]; it must be a whole number"),
    ("labelme", {"labels.txt": b"cats\n"}, r"shapes\[0\]: label 'cat' is not in labels\.txt \(did you mean 'cats'\?\)"),
    ("labelme", {"labels.txt": b"cat\ncat\n"}, r"labels\.txt: lists 'cat' twice; write each label once"),
    ("labelme", shape(shape_type="mask", points=[[0, 0], [1, 1]]), r"shapes\[0\]: a mask without 'mask'"),
    ("labelme", shape(shape_type="mask", points=[[0, 0], [1, 1]], mask="!"), r"shapes\[0\]: its 'mask' is not base64"),
    ("labelme", with_mask(GREY), None),
    ("labelme", with_mask(GREY, ((0, 0), (4, 4))), r"shapes\[0\]: its mask is 10 x 8 px, but its points span 5 x 5"),
    ("labelme", with_mask(GREY, ((5, 0), (14, 7))), r"shapes\[0\]: its mask reaches out of the picture of 10 x 8 px"),
    ("labelme", with_mask(GREY * 0), r"a\.json shapes\[0\]: "),
    ("cityscapes", {IDS: None, "gtFine/train/x/b": b""}, r"_gtFine_instanceIds\.png: no such file"),
    ("cityscapes", {IDS: png(LABELS + 7000)}, r"instanceIds\.png: holds 7000, and label 7 has no single objects"),
    ("cityscapes", {IDS: png(LABELS[:, :4])}, r"instanceIds\.png: is 4 x 8 px, but its picture 10 x 8"),
    ("cityscapes", {IDS: png(np.full((8, 10, 3), 26, np.uint8))}, r"its pixels are RGB, not numbers; save the labels"),
    (
        "cityscapes",
        {PICTURE: None, "leftImg8bit/train/x/b": b""},
        r"leftImg8bit/train: holds no CITY/\*_leftImg8bit\.png",
    ),
    ("mapillary", {"config_v2.0.json": b"{}"}, r"config_v2\.0\.json: has no list 'labels'"),
    (
        "mapillary",
        {"config_v2.0.json": b'{"labels": [{"name": "a"}]}'},
        r"labels\[0\]: has no 'name' or no 'instances'",
    ),
    (
        "mapillary",
        {"config_v2.0.json": b'{"labels": [{"name": "a", "instances": false}]}'},
        r"no label has instances: true",
    ),
    (
        "mapillary",
        {"training/v2.0/instances/a.png": png(LABELS + 600)},
        r"holds 602 = 256 x 2 \+ 90, but there are 2 labels",
    ),
    ("mapillary", {"training/v2.0/instances/a.png": b"GIF8"}, r"instances/a\.png: is no picture"),
    ("mapillary", {"training/images/a.png": None}, r"images does not exist$"),
    ("mapillary", {"training/images/a.png": None, "training/images/b": b""}, r"training/images: holds no picture"),
    ("masks", {"masks/a.png": None, "masks/b": b""}, r"images/a\.png: has no label map a\.png \(or \.tif\) in .*masks"),
    ("masks", {"masks/a.tif": png(LABELS, "TIFF")}, r"images/a\.png: a\.png and a\.tif: unclear which; keep one"),
    ("masks", {"masks/a.png": None, "masks/a.jpg": png(GREY, "JPEG")}, r"a\.jpg: a JPEG does not keep numbers exactly"),
    ("masks", {"masks/a.png": png(LABELS)[:60]}, r"masks/a\.png: the PNG is cut off"),
    ("masks", {"masks/a.png": cut(png(LABELS))}, r"masks/a\.png: the PNG is cut off"),
    ("masks", {"masks/a.png": png(np.zeros((8, 10, 4), np.uint8))}, r"masks/a\.png: its pixels are RGBA, not numbers"),
    ("masks", {"masks/a.png": None, "masks/a.tif": png(LABELS - np.int32(5), "TIFF")}, r"a\.tif: holds the number -5"),
    (
        "masks",
        {
            "masks/a.png": None,
            "masks/a.tif": png(GREY, "TIFF", save_all=True, append_images=[Image.fromarray(GREY)]),
        },
        r"a\.tif: holds 2 pages; save one label map a file",
    ),
    ("masks", {"images/a.png": None, "images/b": b""}, r"images: holds no picture \(\.bmp"),
]


def write(root, files):
    for name, content in files.items():
        if content is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
    return root


def read(root, kind):
    return read_part(find_source(root, kind).train)


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        ("yolo", "labels/a.txt", r"labels/a\.txt: is no file"),
        ("voc", "SegmentationObject/a.png", r"SegmentationObject/a\.png: is no file"),
        ("cityscapes", IDS, r"instanceIds\.png: is no file"),
        ("cityscapes", PICTURE, r"leftImg8bit\.png: is no file"),
        ("mapillary", "training/v2.0/instances/a.png", r"instances/a\.png: is no file"),
        ("masks", "masks/a.png", r"images/a\.png: has no label map"),
    ],
)
def test_a_pipe_is_not_waited_for(kind, name, why, tmp_path):
    write(tmp_path, {**GOOD[kind], name: None})
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match=why):
        read(tmp_path, kind)


def test_a_folder_where_a_text_file_belongs_is_told(tmp_path):
    write(tmp_path, {**GOOD["yolo"], "labels/a.txt": None, "labels/a.txt/x": b""})
    with pytest.raises(DataError, match=r"labels/a\.txt: is no file; a text file is needed there"):
        read(tmp_path, "yolo")


@pytest.mark.parametrize("kind", GOOD)
def test_the_good_sets_are_read(kind, tmp_path):
    dataset = read(write(tmp_path, GOOD[kind]), kind)
    assert len(dataset) == 1
    assert 1 <= dataset.annotations.num_objects <= 3


@pytest.mark.parametrize(("kind", "changes", "why"), CASES, ids=[f"{kind}-{i}" for i, (kind, _, _) in enumerate(CASES)])
def test_a_bad_file_gives_a_line(kind, changes, why, tmp_path):
    write(tmp_path, {**GOOD[kind], **changes})
    if why is None:
        assert len(read(tmp_path, kind)) == 1
        return
    with pytest.raises(DataError, match=why) as caught:
        read(tmp_path, kind)
    assert str(caught.value).isprintable()
    assert str(tmp_path) in str(caught.value)


def test_all_problems_are_collected(tmp_path):
    lines = LINE + b"7" + LINE[1:] + b"0 1 1\n" + b"0 0 0 0 0 0 0\n"
    write(tmp_path, {**GOOD["yolo"], "labels/a.txt": lines, "images/b.png": b"no picture"})
    with pytest.raises(DataError) as caught:
        read(tmp_path, "yolo")
    assert len(caught.value.problems) == 4
    assert str(caught.value).endswith("(and 3 more problems)")


@pytest.mark.parametrize(
    ("kind", "extra", "why"),
    [
        ("yolo", {"labels/b.txt": LINE}, r"labels/b\.txt: has no picture; its objects are left out"),
        ("voc", {"ImageSets/Segmentation/train.txt": b"a\na\n"}, r"train\.txt: line 2: a is listed in line 1 already"),
        (
            "labelme",
            {"train/a.json": labelme([SQUARE, {**SQUARE, "shape_type": "line"}])},
            r"shapes\[1\]: a line has no area",
        ),
        ("cityscapes", {IDS.replace("000019", "000020"): b""}, r"its picture is not in .*; its objects are left out"),
        ("mapillary", {"training/v2.0/instances/b.png": b""}, r"b\.png: its picture is not in"),
        ("masks", {"masks/b.png": b""}, r"masks/b\.png: no picture of that name is in"),
    ],
)
def test_what_is_odd_but_used_is_a_warning(kind, extra, why, tmp_path):
    write(tmp_path, {**GOOD[kind], **extra})
    dataset = read_part(find_source(tmp_path, kind).train)
    assert len(dataset) == 1
    assert [problem.outcome for problem in dataset.problems] == [Outcome.WARN]
    assert re.search(why, str(dataset.problems[0])), dataset.problems[0]
