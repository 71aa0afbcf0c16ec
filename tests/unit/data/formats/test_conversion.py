"""`convert`: what is kept, what is told, and that the source stays as it is."""

import hashlib
import json

import numpy as np
import pytest
import yaml

from panet.data.formats.conversion import convert
from panet.data.formats.reading import read_part
from panet.data.formats.source import find_source
from panet.errors import ConfigError, DataError


def run(source, destination, to, **options):
    found = find_source(source)
    parts = {name: part for name, part in (("train", found.train), ("val", found.val)) if part is not None}
    datasets = {name: read_part(part) for name, part in parts.items()}
    return convert(datasets, to, destination, [source], **options)


def checksum(root):
    return {
        path.relative_to(root): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def crowded(truth, sizes, write, thing, tmp_path):
    """The set with one object of train as a crowd."""
    first = truth["train"]["a"]
    things = [*first[:3], thing(first[3].category, first[3].mask, crowd=True)]
    return write("coco", tmp_path / "old", {"train": {"a": things, "b": []}, "val": truth["val"]}, sizes)


@pytest.mark.parametrize("to", ["yolo", "labelme"])
def test_crowds_are_left_out_and_counted_where_the_format_has_none(crowded, to, tmp_path):
    tallies = run(crowded, tmp_path / "new", to)
    assert (tallies["train"].objects, tallies["train"].crowds) == (3, 1)
    assert (tallies["train"].holed, tallies["train"].parted) == (1, 2)
    assert (tallies["val"].holed, tallies["val"].parted, tallies["val"].pictures) == (2, 0, 1)
    record = json.loads((tmp_path / "new" / "conversion.json").read_text())
    assert record["parts"]["train"]["crowds"] == 1


def test_coco_keeps_crowds_boxes_areas_and_category_ids(crowded, tmp_path):
    document = json.loads((crowded / "train.json").read_text())
    document["annotations"][0] |= {"bbox": [0, 0, 8.5, 9], "area": 80.5, "id": "x"}
    document["categories"] = [{"id": 7, "name": "dog"}, {"id": 0, "name": "cat"}]
    for row in document["annotations"]:
        row["category_id"] = (0, 7)[row["category_id"] - 1]
    (crowded / "train.json").write_text(json.dumps(document))
    (crowded / "val.json").unlink()
    run(crowded, tmp_path / "new", "coco")
    new = json.loads((tmp_path / "new" / "train.json").read_text())
    assert [row["id"] for row in new["annotations"]] == [1, 2, 3, 4]
    assert [row["iscrowd"] for row in new["annotations"]] == [0, 0, 0, 1]
    assert [row["category_id"] for row in new["annotations"]] == [0, 7, 0, 7]
    assert new["annotations"][0]["bbox"] == [0, 0, 8.5, 9]
    assert new["annotations"][0]["area"] == 80.5
    assert new["categories"] == [{"id": 0, "name": "cat"}, {"id": 7, "name": "dog"}]


@pytest.mark.parametrize("to", ["coco", "yolo", "labelme"])
@pytest.mark.parametrize("link", [False, True])
def test_the_source_stays_and_pictures_are_copied_or_linked(crowded, to, link, tmp_path):
    before = checksum(crowded)
    run(crowded, tmp_path / "new", to, link=link)
    assert checksum(crowded) == before
    pictures = sorted(path for path in (tmp_path / "new").rglob("*.png"))
    assert [path.name for path in pictures] == ["a.png", "b.png", "c.png"]
    for path in pictures:
        assert path.is_symlink() == link
        assert path.read_bytes() == (crowded / "images" / path.name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_pictures_of_one_name_in_several_folders_stay_apart(tmp_path, truth, sizes, write):
    root = write("coco", tmp_path / "old", {"train": truth["train"]}, sizes)
    document = json.loads((root / "train.json").read_text())
    for name, image in zip(("x/one/a.png", "x/two/a.png"), document["images"], strict=True):
        (root / "images" / name).parent.mkdir(parents=True)
        (root / "images" / image["file_name"]).rename(root / "images" / name)
        image["file_name"] = name
    (root / "images" / "x" / "a.png").write_bytes((root / "images" / "x" / "two" / "a.png").read_bytes())
    (root / "images" / "x" / "a.jpg").write_bytes((root / "images" / "x" / "two" / "a.png").read_bytes())
    document["images"] += [{"id": n, "file_name": f"x/a.{end}"} for n, end in ((8, "png"), (9, "jpg"))]
    (root / "train.json").write_text(json.dumps(document))
    run(root, tmp_path / "new", "yolo")
    labels = sorted(p.relative_to(tmp_path / "new").as_posix() for p in (tmp_path / "new").rglob("*.txt"))
    assert labels == [f"labels/train/{name}.txt" for name in ("a-2", "a", "one/a", "two/a")]
    assert len(read_part(find_source(tmp_path / "new").train)) == 4


def test_a_picture_without_a_known_ending_is_refused(crowded, tmp_path):
    document = json.loads((crowded / "val.json").read_text())
    document["images"][0]["file_name"] = "c"
    (crowded / "images" / "c.png").rename(crowded / "images" / "c")
    (crowded / "val.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"c: ends in none of \.bmp .* \.webp; rename the picture"):
        run(crowded, tmp_path / "new", "yolo")
    assert not (tmp_path / "new").exists()


def test_class_names_survive_whatever_they_are(tmp_path, truth, sizes, write):
    root = write("coco", tmp_path / "old", truth, sizes)
    for split in ("train", "val"):
        document = json.loads((root / f"{split}.json").read_text())
        document["categories"] = [{"id": 1, "name": "no"}, {"id": 2, "name": "12: é 'x'"}]
        (root / f"{split}.json").write_text(json.dumps(document))
    for to in ("coco", "yolo", "labelme"):
        run(root, tmp_path / to, to)
        assert read_part(find_source(tmp_path / to).train).label_map.names == ("no", "12: é 'x'")
    assert yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())["names"] == {0: "no", 1: "12: é 'x'"}


def test_pixels_that_are_not_kept_are_listed(crowded, tmp_path, monkeypatch):
    """The outlines are exact, so one is spoiled: its first corner moves."""
    from panet.data.formats import writers
    from panet.ops.outlines import join_polygons

    def spoiled(parts):
        outline = join_polygons(parts).copy()
        outline[0] += np.array([2, 1])
        return outline

    monkeypatch.setattr(writers, "join_polygons", spoiled)
    tally = run(crowded, tmp_path / "new", "yolo")["val"]
    assert list(tally.differing) == ["val/c.png: object 1", "val/c.png: object 2"]
    assert min(tally.differing.values()) >= 1


def test_an_existing_folder_is_kept_unless_a_conversion_wrote_it(crowded, tmp_path):
    run(crowded, tmp_path / "new", "coco")
    with pytest.raises(DataError, match=r"new: exists; add --overwrite, or name another folder"):
        run(crowded, tmp_path / "new", "yolo")
    run(crowded, tmp_path / "new", "yolo", overwrite=True)
    assert find_source(tmp_path / "new").kind == "yolo"
    other = tmp_path / "other"
    (other / "thesis").mkdir(parents=True)
    with pytest.raises(DataError, match=r"was not written by panet convert, so it is not overwritten; remove it"):
        run(crowded, other, "yolo", overwrite=True)
    assert (other / "thesis").is_dir()
    (tmp_path / "empty").mkdir()
    run(crowded, tmp_path / "empty", "yolo")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(other)
    for name in ("file", "link"):
        with pytest.raises(DataError, match=rf"{name}: is no folder; name one that does not exist"):
            run(crowded, tmp_path / name, "yolo", overwrite=True)


@pytest.mark.parametrize("place", ["old/new", "old", ".", "old/images/x", "link/new"])
def test_nothing_is_written_in_or_around_the_source(crowded, tmp_path, place):
    (tmp_path / "link").symlink_to(crowded)
    before = checksum(crowded)
    with pytest.raises(DataError, match=r"is in the data set's folder, or around it; name a folder elsewhere"):
        run(crowded, tmp_path / place, "coco", overwrite=True)
    assert checksum(crowded) == before


def test_a_bad_source_leaves_no_folder(crowded, tmp_path):
    document = json.loads((crowded / "val.json").read_text())
    document["annotations"][0]["category_id"] = 9
    (crowded / "val.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"val\.json: annotation 1: category_id 9 is not among"):
        run(crowded, tmp_path / "new", "coco")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old"]


@pytest.mark.parametrize(
    ("names", "to", "why"),
    [
        (("a", "a"), "labelme", r"train\.json: two classes are called 'a': LabelMe tells classes by name"),
        (("a", " b"), "labelme", r"a class is called ' b': labels\.txt of LabelMe cannot hold that"),
        (("a", "__ignore__"), "labelme", r"a class is called '__ignore__'"),
        (("a", "a"), "coco", None),
    ],
)
def test_classes_that_a_format_cannot_tell_apart_are_refused(crowded, tmp_path, names, to, why):
    for split in ("train", "val"):
        document = json.loads((crowded / f"{split}.json").read_text())
        document["categories"] = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
        (crowded / f"{split}.json").write_text(json.dumps(document))
    if why is None:
        run(crowded, tmp_path / "new", to)
        return
    with pytest.raises(DataError, match=why):
        run(crowded, tmp_path / "new", to)


def test_parts_of_other_classes_are_refused(crowded, tmp_path):
    document = json.loads((crowded / "val.json").read_text())
    document["categories"].append({"id": 3, "name": "x"})
    (crowded / "val.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"val\.json: lists other classes than .*train\.json"):
        run(crowded, tmp_path / "new", "coco")


def test_an_unknown_format_is_told(crowded, tmp_path):
    with pytest.raises(
        ConfigError, match=r"--to yolov8: unknown \(did you mean 'yolo'\?\): choose coco, yolo, labelme"
    ):
        run(crowded, tmp_path / "new", "yolov8")


def test_a_folder_that_cannot_be_made_is_told(crowded, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/new: cannot be written \(File exists\)"):
        run(crowded, tmp_path / "file" / "new", "coco")
