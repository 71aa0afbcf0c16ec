"""The layouts people have, and those that are unclear."""

import pytest

from panet.data.layout import Split, find_layout
from panet.errors import DataError


def make(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith("/"):
            (root / path).mkdir(exist_ok=True)
        else:
            (root / path).touch()


@pytest.mark.parametrize(
    ("paths", "train", "val"),
    [
        (["train.json", "val.json", "images/"], ("train.json", "images"), ("val.json", "images")),
        (["train.json", "val.json", "train/", "val/"], ("train.json", "train"), ("val.json", "val")),
        (
            ["train/_annotations.coco.json", "valid/_annotations.coco.json", "test/_annotations.coco.json"],
            ("train/_annotations.coco.json", "train"),
            ("valid/_annotations.coco.json", "valid"),
        ),
        (
            ["train/_annotations.coco.json", "val/_annotations.coco.json"],
            ("train/_annotations.coco.json", "train"),
            ("val/_annotations.coco.json", "val"),
        ),
        (
            [
                "annotations/instances_train2017.json",
                "annotations/instances_val2017.json",
                "annotations/captions_train2017.json",
                "train2017/",
                "val2017/",
                "train2014/",
            ],
            ("annotations/instances_train2017.json", "train2017"),
            ("annotations/instances_val2017.json", "val2017"),
        ),
        (["train.json", "images/"], ("train.json", "images"), None),
        (["val.json", "images/"], None, ("val.json", "images")),
    ],
)
def test_known_layouts_are_found(tmp_path, paths, train, val):
    make(tmp_path, *paths)
    layout = find_layout(tmp_path)
    for found, expected in ((layout.train, train), (layout.val, val)):
        assert found == (expected and Split(tmp_path / expected[0], tmp_path / expected[1]))


def test_what_is_named_wins(tmp_path):
    make(tmp_path, "train.json", "images/", "other/my.json", "other/pictures/")
    layout = find_layout(tmp_path, train="other/my.json", train_images=tmp_path / "other" / "pictures")
    assert layout.train == Split(tmp_path / "other/my.json", tmp_path / "other/pictures")
    assert find_layout(tmp_path, train="other/my.json").train == Split(tmp_path / "other/my.json", tmp_path / "images")
    assert find_layout(tmp_path, train_images="other/pictures").train.annotations == tmp_path / "train.json"


def test_named_files_may_lie_elsewhere(tmp_path, monkeypatch):
    make(tmp_path, "set/images/", "here.json")
    monkeypatch.chdir(tmp_path)
    assert find_layout("set", val="here.json").val.annotations.name == "here.json"


@pytest.mark.parametrize(
    ("paths", "named", "why"),
    [
        ([], {}, r"no annotations found; looked for train\.json, .*valid/_annotations\.coco\.json"),
        (
            ["train.json"],
            {},
            r"train\.json: no folder of pictures found among images/, train/ .*data\.train_images",
        ),
        (["train.json", "images/", "train/"], {}, r"more than one folder .*set data\.train_images"),
        (["train.json", "train/_annotations.coco.json"], {}, r"unclear which is the train part: .* set data\.train$"),
        (["train.json", "images/"], {"val": "b.json"}, r"b\.json: does not exist, neither in .* nor here"),
        (["train.json", "images/"], {"val_images": "images"}, r"data\.val_images is given, but no val annotations"),
    ],
)
def test_unclear_and_absent_parts_are_told(tmp_path, paths, named, why):
    make(tmp_path, *paths)
    with pytest.raises(DataError, match=why):
        find_layout(tmp_path, **named)


def test_a_link_to_nothing_is_a_part_that_cannot_be_read_and_no_absent_one(tmp_path):
    make(tmp_path, "train.json", "images/")
    (tmp_path / "val.json").symlink_to("elsewhere.json")
    assert find_layout(tmp_path).val == Split(tmp_path / "val.json", tmp_path / "images")


def test_the_root_must_be_a_folder(tmp_path):
    with pytest.raises(DataError, match=r"no such folder$"):
        find_layout(tmp_path / "nothing")
    make(tmp_path, "train.json")
    with pytest.raises(DataError, match="no such folder; give the data set's folder"):
        find_layout(tmp_path / "train.json")
