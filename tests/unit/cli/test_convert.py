"""`panet convert`, and the format that `panet train` and `panet eval` find, print and can be told."""

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from panet.cli.main import run
from panet.data.synthetic import write_shapes


@pytest.fixture
def shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "shapes", num_train=3, num_val=2, size=64, seed=0)
    return tmp_path / "shapes"


@pytest.fixture
def crowd(shapes: Path) -> Path:
    """The shapes with the first object of train as a crowd."""
    document = json.loads((shapes / "train.json").read_text())
    document["annotations"][0]["iscrowd"] = 1
    (shapes / "train.json").write_text(json.dumps(document))
    return shapes


def test_what_was_found_written_and_left_out_is_printed(crowd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["convert", "shapes", "new", "--to", "yolo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "format: coco (train.json)"
    assert lines[1].startswith("train: 3 pictures, ")
    assert " of them with holes, " in lines[1]
    assert lines[2:4] == ["train: left out: 1 crowds, which yolo does not have", "train: every mask keeps its pixels"]
    assert lines[-1] == "written: new"
    assert run(["convert", "new", "again", "--to", "labelme", "--link"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "format: yolo (data.yaml)"
    assert all("left out" not in line for line in lines)


@pytest.mark.parametrize("to", ["coco", "yolo", "labelme"])
def test_a_converted_set_is_checked_and_scored_like_any(
    shapes: Path, to: str, tiny_recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["convert", "shapes", "new", "--to", to]) == 0
    before = capsys.readouterr().out.splitlines()[1]
    assert run(["train", str(tiny_recipe), "--dry-run", "--set", "data.root=new"]) == 0
    printed = capsys.readouterr().out
    assert f"format: {to} (" in printed
    assert before.split(" objects")[0] in printed  # the same numbers of pictures and objects
    Path("results.json").write_text("[]")
    assert run(["eval", "results.json", "new"]) == 0
    assert f"format: {to} (" in capsys.readouterr().out


@pytest.fixture
def tiny_recipe(shapes: Path) -> Path:
    path = shapes.parent / "tiny.yaml"
    path.write_text(
        "model: {norm: none, backbone: {name: lcnet_035, norm: batch, frozen_stages: 0}, neck: {channels: 8}}\n"
        "data: {root: shapes, short_sides: [64], max_side: 64}\n"
    )
    return path


def test_one_part_or_one_file_can_be_converted(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["convert", "shapes", "one", "--to", "coco", "--split", "val"]) == 0
    assert [path.name for path in sorted(Path("one").glob("*.json"))] == ["conversion.json", "val.json"]
    file = ["convert", "shapes/val.json", "two", "--to", "yolo", "--images", "shapes/images"]
    assert run([*file, "--split", "val"]) == 0
    assert len(list(Path("two/labels/val").iterdir())) == 2
    assert "format: coco (val.json)" in capsys.readouterr().out


def test_the_format_can_be_told_where_two_fit(
    shapes: Path, tiny_recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("shapes/masks").mkdir()
    assert run(["convert", "shapes", "new", "--to", "coco"]) == 2
    assert "unclear which format: coco (train.json) and masks (images/ and masks/) fit" in capsys.readouterr().err
    assert run(["convert", "shapes", "new", "--to", "coco", "--format", "coco"]) == 0
    assert "format: coco (as told)" in capsys.readouterr().out
    assert run(["train", str(tiny_recipe), "--dry-run"]) == 2
    assert run(["train", str(tiny_recipe), "--dry-run", "--set", "data.format=coco"]) == 0
    Path("results.json").write_text("[]")
    assert run(["eval", "results.json", "shapes"]) == 2
    assert run(["eval", "results.json", "shapes", "--format", "coco"]) == 0


def test_a_warning_is_a_line_and_many_are_few(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["convert", "shapes", "new", "--to", "yolo"]) == 0
    for number in range(30):
        Path(f"new/labels/val/lost{number}.txt").write_text("")
    capsys.readouterr()
    assert run(["convert", "new", "again", "--to", "coco"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "warning: new/labels/val/lost0.txt: has no picture; its objects are left out"
    assert len(lines) == 21
    assert lines[-1] == "warning: and 10 more"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("shapes new --to yolov8", "--to yolov8: unknown (did you mean 'yolo'?): choose coco, yolo, labelme"),
        ("shapes new --to coco --split test", "split 'test' is unknown"),
        ("shapes new --to coco --format voc", "no train and no val part of the format voc"),
        ("shapes shapes/new --to coco", "shapes/new: is in the data set's folder"),
        ("shapes shapes --to coco --overwrite", "shapes: is in the data set's folder"),
        ("shapes/val.json new --to coco", "shapes/val.json: the folder of its pictures is not known: add --images"),
        ("shapes new --to coco --images shapes/images", "--images: goes with a COCO JSON file as SRC"),
        ("nothing new --to coco", "nothing: no such folder"),
        ("shapes full --to coco", "full: exists; add --overwrite, or name another folder"),
        ("shapes full --to coco --overwrite", "full: was not written by panet convert"),
        ("shapes full/file --to coco", "full/file: is no folder"),
        ("shapes new", "Missing option '--to'"),
    ],
)
def test_each_mistake_is_one_line_and_nothing_is_written(
    shapes: Path, capsys: pytest.CaptureFixture[str], arguments: str, why: str
) -> None:
    Path("full").mkdir()
    Path("full/file").write_text("mine")
    before = sorted(Path().rglob("*"))
    assert run(["convert", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert why in error
    assert len(error.splitlines()) == 1
    assert sorted(Path().rglob("*")) == before


def test_bad_items_are_left_out_only_when_that_is_asked_for(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["convert", "shapes", "new", "--to", "yolo"]) == 0
    path = min(Path("new/labels/train").iterdir())
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["9" + lines[0][1:], *lines[1:], "0 1 1 1 1"]))
    capsys.readouterr()
    assert run(["check", "new"]) == 2
    captured = capsys.readouterr()
    assert captured.out.splitlines() == ["format: yolo (data.yaml)"]
    assert len(captured.err.splitlines()) == 3
    assert run(["convert", "new", "again", "--to", "coco"]) == 2
    assert not Path("again").exists()
    capsys.readouterr()
    assert run(["convert", "new", "again", "--to", "coco", "--on-bad-data", "skip"]) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith(f"left out: {path}: line 1: class 9 is not among the 4 names")
    assert told[1] == f"left out: {path}: line {len(lines) + 1}: is a box (4 numbers), not a polygon; a box alone " + (
        "cannot train masks"
    )
    num_objects = sum(len(file.read_text().splitlines()) for file in Path("new/labels").rglob("*.txt"))
    assert f"; 2 of {num_objects} annotations are not used" in told[2]
    assert run(["check", "again"]) == 0


@pytest.mark.parametrize("to", ["yolo", "labelme"])
def test_a_picture_that_the_format_would_show_turned_is_refused(
    shapes: Path, to: str, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads((shapes / "train.json").read_text())
    wide = next(image for image in document["images"] if image["width"] != image["height"])
    place = shapes / "images" / wide["file_name"]
    tags = Image.Exif()
    tags[0x0112] = 6
    with Image.open(place) as picture:
        picture.save(place, exif=tags)  # its annotations are for the pixels as they are stored
    assert run(["convert", "shapes", "new", "--to", to]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"{place.name}: is annotated as it is stored, and {to} would have it turned" in error
    assert not Path("new").exists()
    assert run(["convert", "shapes", "new", "--to", "coco"]) == 0
    assert run(["check", "new"]) == 0


def test_a_part_that_is_not_there_is_told(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.move("shapes/val.json", "val.json")
    assert run(["convert", "shapes", "new", "--to", "coco", "--split", "val"]) == 2
    assert capsys.readouterr().err == "error: shapes: has no val part\n"


def test_the_command_is_listed_without_loading_torch() -> None:
    code = "import sys; from panet.cli.main import run; run(['convert', '--help']); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--to" in done.stdout


@pytest.mark.parametrize("option", ["--link", "--copy"])
def test_pictures_that_labelme_keeps_in_its_files_alone_are_written_out(
    shapes: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["convert", "shapes", "new", "--to", "labelme"]) == 0
    before = {}
    for path in sorted(Path("new/train").glob("*.json"))[:2]:
        document = json.loads(path.read_text())
        picture = path.parent / document["imagePath"]
        before[picture.name] = picture.read_bytes()
        document["imageData"] = base64.b64encode(picture.read_bytes()).decode()
        path.write_text(json.dumps(document))
        picture.unlink()
    Path("results.json").write_text("[]")
    assert run(["eval", "results.json", "new", "--split", "train"]) == 2
    assert "its pixels are in the file's imageData: `panet convert` writes them out" in capsys.readouterr().err
    left = sorted(path for path in Path("new").rglob("*"))
    assert run(["convert", "new", "again", "--to", "coco", option]) == 0
    assert sorted(path for path in Path("new").rglob("*")) == left
    for name, content in before.items():
        place = Path("again/images/train") / name
        assert place.read_bytes() == content
        assert not place.is_symlink()
    linked = [path for path in Path("again/images").rglob("*.*") if path.is_symlink()]
    assert len(linked) == (3 if option == "--link" else 0)
    assert all(path.resolve().is_relative_to(Path("new").resolve()) for path in linked)


def test_image_data_that_is_broken_is_told(shapes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["convert", "shapes", "new", "--to", "labelme"]) == 0
    path = min(Path("new/train").glob("*.json"))
    document = json.loads(path.read_text())
    (path.parent / document["imagePath"]).unlink()
    named = document["imagePath"]
    for content, name, why in (
        ("!", named, "its imageData is not base64"),
        ("AAAA", named, "is no picture"),
        ("AAAA", "\ud800/a.png", "imagePath \\ud800/a.png holds half a character; rename the picture"),
    ):
        path.write_text(json.dumps({**document, "imageData": content, "imagePath": name}))
        capsys.readouterr()
        assert run(["convert", "new", "again", "--to", "coco"]) == 2
        assert why in capsys.readouterr().err
