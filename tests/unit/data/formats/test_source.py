"""Which format is found, and when none or more than one is."""

import json

import pytest

from panet.data.formats.source import FORMATS, find_source
from panet.errors import ConfigError, DataError

SHAPES = '{"shapes": [], "imagePath": "a.png"}'


def make(root, *paths):
    for path in paths:
        name, _, text = path.partition("=")
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            (root / name).mkdir(exist_ok=True)
        else:
            (root / name).write_text(text)


LAYOUTS = {
    "coco": ["train.json", "images/"],
    "yolo": ["data.yaml=names: [a]\ntrain: images/train\n", "images/train/"],
    "voc": ["ImageSets/Segmentation/train.txt", "SegmentationObject/", "SegmentationClass/", "JPEGImages/"],
    "labelme": [f"train/a.json={SHAPES}"],
    "cityscapes": ["leftImg8bit/train/", "gtFine/train/"],
    "mapillary": ["config_v2.0.json", "training/v2.0/instances/", "training/images/"],
    "mapillary-v1.2": ["config_v1.2.json", "training/v1.2/instances/", "training/images/"],
    "masks": ["train/images/", "train/masks/"],
}


def test_every_format_has_a_layout_here():
    assert sorted(LAYOUTS) == sorted(FORMATS)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_format_is_found_by_its_names_and_told(tmp_path, kind):
    make(tmp_path, *LAYOUTS[kind])
    source = find_source(tmp_path)
    assert source.kind == kind
    assert source.train is not None
    assert source.val is None
    assert str(source).startswith(f"format: {kind} (")
    assert find_source(tmp_path, kind).evidence == ""


@pytest.mark.parametrize(
    ("kind", "paths", "evidence"),
    [
        ("coco", ["train/_annotations.coco.json", "valid/_annotations.coco.json"], "train/_annotations.coco.json"),
        ("coco", ["annotations/instances_val2017.json", "val2017/"], "annotations/instances_val2017.json"),
        ("yolo", ["data.yaml=names: [a]\nval: ../valid/images\n", "valid/images/"], "data.yaml"),
        ("yolo", ["my set.yml=names:\n  0: a\ntrain: images\n", "images/", "other.yaml=a: 1\n"], "my set.yml"),
        ("labelme", [f"a.json={SHAPES}", f"b.json={SHAPES}"], "a.json"),
        ("labelme", [f"valid/a.json={SHAPES}"], "valid/a.json"),
        ("mapillary-v1.2", ["config.json", "training/instances/", "training/images/"], "config.json and training"),
        ("masks", ["images/", "masks/"], "images/ and masks/"),
        ("masks", ["images/val/", "masks/val/"], "images/val/ and masks/val/"),
    ],
)
def test_other_forms_of_a_layout(tmp_path, kind, paths, evidence):
    make(tmp_path, *paths)
    source = find_source(tmp_path)
    assert (source.kind, source.evidence.startswith(evidence)) == (kind, True), source


def test_the_newer_labels_of_mapillary_go_first_and_the_older_can_be_asked_for(tmp_path):
    make(tmp_path, *LAYOUTS["mapillary"], *LAYOUTS["mapillary-v1.2"])
    assert find_source(tmp_path).kind == "mapillary"
    older = find_source(tmp_path, "mapillary-v1.2")
    assert older.train.place == tmp_path / "training/v1.2/instances"


def test_two_formats_that_fit_are_refused_and_one_can_be_told(tmp_path):
    make(tmp_path, *LAYOUTS["coco"], "masks/", "data.yaml=names: [a]\ntrain: images\n")
    why = r"unclear which format: coco \(train\.json\) and yolo \(data\.yaml\) and masks \(.*\) fit; set data\.format"
    with pytest.raises(DataError, match=why):
        find_source(tmp_path)
    assert [find_source(tmp_path, kind).kind for kind in ("coco", "yolo", "masks")] == ["coco", "yolo", "masks"]
    assert find_source(tmp_path, train="train.json").kind == "coco"


def test_where_none_fits_the_line_says_what_was_looked_for(tmp_path):
    make(tmp_path, "pictures/a.png")
    with pytest.raises(
        DataError, match=r"no annotations found; looked for coco: train\.json, .*; yolo: a YAML"
    ) as caught:
        find_source(tmp_path)
    assert all(f"{kind}: " in str(caught.value) for kind in FORMATS)
    assert "\n" not in str(caught.value)


def test_a_folder_too_high_is_told_the_right_one(tmp_path):
    make(tmp_path, *(f"VOCdevkit/VOC2012/{path}" for path in LAYOUTS["voc"]))
    with pytest.raises(DataError, match=r"VOCdevkit/VOC2012 holds one: give that folder$"):
        find_source(tmp_path)


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        ({"kind": "yolov8"}, ConfigError, r"format 'yolov8' is unknown \(did you mean 'yolo'\?\): choose coco, yolo"),
        ({"kind": "voc"}, DataError, r"no train and no val part of the format voc; looked for ImageSets"),
        ({"kind": "masks", "train": "a.json"}, ConfigError, r"data\.train: goes with the format coco; .* is masks"),
        ({"train_images": "images"}, ConfigError, r"data\.train_images: goes with the format coco; .* is masks"),
    ],
)
def test_what_does_not_go_together_is_told(tmp_path, options, error, why):
    make(tmp_path, *LAYOUTS["masks"])
    with pytest.raises(error, match=why):
        find_source(tmp_path, **options)


@pytest.mark.parametrize(
    ("kind", "paths", "why"),
    [
        (
            "masks",
            ["train/images/", "train/masks/", "images/train/", "masks/train/"],
            "unclear which is the train part",
        ),
        (
            "yolo",
            ["a.yaml=names: [a]\ntrain: b", "c.yaml=names: [a]\ntrain: b"],
            "unclear which file tells the classes",
        ),
        ("mapillary", ["config_v2.0.json", "training/v2.0/instances/"], "its folder of pictures .* does not exist"),
    ],
)
def test_a_layout_that_is_unclear_in_itself_is_refused(tmp_path, kind, paths, why):
    make(tmp_path, *paths)
    with pytest.raises(DataError, match=why):
        find_source(tmp_path)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"no such folder$"):
        find_source(tmp_path / "nothing")


def test_detection_opens_no_picture(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setattr(Image, "open", lambda *given, **named: pytest.fail("a picture was opened"))
    for kind, paths in LAYOUTS.items():
        make(tmp_path / kind, *paths)
        find_source(tmp_path / kind)


def test_json_that_is_not_of_labelme_is_not_taken_for_it(tmp_path):
    make(tmp_path, "a.json=" + json.dumps({"images": [], "imagePath": 1}), "b.json=[]", "c.json=not JSON")
    with pytest.raises(DataError, match="no annotations found"):
        find_source(tmp_path)
