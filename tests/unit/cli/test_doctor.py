"""`panet doctor`: what it prints and writes, its exit codes, and where it will not write."""

import json
from pathlib import Path

import pytest

from panet.cli.main import run


def change(root: Path, **keys: object) -> None:
    document = json.loads((root / "val.json").read_text())
    document["annotations"][0].update(keys)
    (root / "val.json").write_text(json.dumps(document))


def test_a_data_set_that_training_would_take_ends_with_0(tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(tiny_data, area=9)
    assert run(["doctor", str(tiny_data), "--decode"]) == 0
    printed = capsys.readouterr().out
    for part in (
        "val: 2 pictures, 2 objects, 0 crowds",
        "area-not-the-masks",
        "why it matters: COCO sorts objects",
        "what to do: recompute the area",
        "val: annotation 1 in 1.png: area 9 px is stored",
        "nothing that training would refuse\n",
    ):
        assert part in printed


def test_a_data_set_that_training_would_refuse_ends_with_2(tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(tiny_data, bbox=[1, 2, 0, 4])
    assert run(["doctor", str(tiny_data)]) == 2
    printed = capsys.readouterr()
    assert "box-without-area" in printed.out
    assert "1 finding would be refused" in printed.out
    assert printed.err == ""


def test_json_is_all_that_is_printed(tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(tiny_data, bbox=[1, 2, 0, 4])
    assert run(["doctor", str(tiny_data), "--json", "--model", "panet_lite"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["refused"] is True
    assert document["model"]["name"] == "panet_lite"
    assert document["model"]["anchor_sizes"] == [16, 32, 64, 128, 256]
    assert document["parts"]["val"]["annotations_listed"] == 2
    assert document["parts"]["val"]["classes"] == [["nucleus", 1]]
    (finding,) = (row for row in document["findings"] if row["outcome"] != "warn")
    assert finding["rule"] == "box-without-area"
    assert (finding["part"], finding["annotation_id"], finding["image_id"]) == ("val", 1, 1)
    assert document["rules"]["box-without-area"]["count"] == 1
    assert document["outcomes"]["drop_annotation"] == 1


def test_broken_json_is_a_finding_too(tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tiny_data / "val.json").write_text('{"images": [,]}')
    assert run(["doctor", str(tiny_data), "--json"]) == 2
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert finding["outcome"] == "fatal"
    assert "column 13" in f"{finding['place']} {finding['why']}"


def test_fix_and_report_write_new_files_and_nothing_below_the_data(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(tiny_data, bbox=[1, 2, 0, 4])
    before = {path: path.read_bytes() for path in tiny_data.rglob("*") if path.is_file()}
    output, report = tmp_path / "new.json", tmp_path / "new.html"
    assert run(["doctor", str(tiny_data), "--fix", str(output), "--report", str(report)]) == 2
    assert {path: path.read_bytes() for path in tiny_data.rglob("*") if path.is_file()} == before
    assert [row["id"] for row in json.loads(output.read_text())["annotations"]] == [2]
    entries = json.loads((tmp_path / "new.changes.json").read_text())
    assert [entry["rule"] for entry in entries] == ["box-without-area", "area-missing", "iscrowd-missing"]
    assert "<title>set - panet doctor</title>" in report.read_text()
    printed = capsys.readouterr().out
    assert "new.json: 2 pictures, 1 annotations, 3 changes" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.changes.json", "new.html", "new.json", "set"]

    arguments = ["doctor", str(output), "--images", str(tiny_data / "images"), "--split", "val"]
    assert run(arguments) == 0
    assert run(["doctor", str(tiny_data), "--fix", str(output)]) == 2
    assert "new.json: exists; add --overwrite" in capsys.readouterr().err
    assert run([*arguments, "--fix", str(tmp_path / "new.html")]) == 2
    assert "ends in .json" in capsys.readouterr().err


def test_two_parts_are_corrected_into_two_files(tiny_data: Path, tmp_path: Path) -> None:
    (tiny_data / "train.json").write_text((tiny_data / "val.json").read_text())
    assert run(["doctor", str(tiny_data), "--fix", str(tmp_path / "new.json")]) == 0
    assert {path.name for path in tmp_path.glob("*.json")} == {
        "new.train.json",
        "new.train.changes.json",
        "new.val.json",
        "new.val.changes.json",
    }
    assert run(["doctor", str(tiny_data), "--split", "train", "--fix", str(tmp_path / "one.json")]) == 0
    assert (tmp_path / "one.json").is_file()


@pytest.mark.parametrize("place", ["new.json", "images/new.json", "../set/new.json", "link/new.json", "val.json"])
@pytest.mark.parametrize("option", ["--fix", "--report"])
def test_no_place_below_the_data_is_taken(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str, option: str
) -> None:
    (tmp_path / "link").symlink_to(tiny_data)
    before = (tiny_data / "val.json").read_bytes()
    path = tmp_path / place if place.startswith("link") else tiny_data / place
    assert run(["doctor", str(tiny_data), option, str(path), "--overwrite"]) == 2
    assert "lies in the data set" in capsys.readouterr().err
    assert (tiny_data / "val.json").read_bytes() == before
    assert list(tiny_data.rglob("new*")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "vall"], "did you mean 'val'"),
        (["--split", "train"], "has no train part"),
        (["--images", "x"], "add --split"),
        (["--model", "panet_lit"], "did you mean 'panet_lite'"),
        (["--report", "absent/r.html"], "its folder does not exist"),
        (["--report", "."], "is a folder"),
    ],
)
def test_wrong_calls_are_one_line(
    tiny_data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(["doctor", str(tiny_data), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_json_file_alone_finds_its_pictures_beside_it(tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", str(tiny_data / "val.json"), "--split", "val"]) == 0
    assert "val: 2 pictures" in capsys.readouterr().out


@pytest.mark.shared
def test_the_quirks_of_the_real_sets_are_found(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = {}
    for name in ("coco80", "coco_person", "nuclei"):
        assert run(["doctor", str(shared_data / name), "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["findings"]
        found[name] = [(row["rule"], row["part"]) for row in rows]
    assert [rule for rule, _ in found["coco80"]].count("box-not-the-masks") == 11
    assert [rule for rule, _ in found["coco80"]].count("area-not-the-masks") == 9
    assert [rule for rule, _ in found["coco_person"]].count("box-not-the-masks") == 2
    assert found["nuclei"].count(("more-objects-than-detections", "val")) == 11


def test_the_file_of_a_readers_problem_is_named(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "yolo"
    (root / "images").mkdir(parents=True)
    (root / "labels").mkdir()
    (root / "data.yaml").write_text("names: [nucleus]\ntrain: images\n")
    for name in ("1", "2"):
        (tiny_data / "images" / f"{name}.png").rename(root / "images" / f"{name}.png")
        (root / "labels" / f"{name}.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    (root / "labels" / "2.txt").write_text("0 0.1 0.1 0.5 0.5\n")
    report = tmp_path / "r.html"
    assert run(["doctor", str(root), "--report", str(report)]) == 2
    assert f"  train: {root}/labels/2.txt: line 1: is a box (4 numbers)" in capsys.readouterr().out
    assert "<b>train: 2.txt: line 1</b>" in report.read_text()
    assert str(tmp_path) not in report.read_text()
    (root / "data.yaml").write_text("names: [nucleus, nucleus\ntrain: images\n")
    assert run(["doctor", str(root), "--format", "yolo"]) == 2
    assert "data.yaml: line 2" in capsys.readouterr().err


def test_the_file_of_a_part_that_cannot_be_read_is_named(tiny_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tiny_data / "val.json").write_text("[")
    assert run(["doctor", str(tiny_data)]) == 2
    assert f"  val: {tiny_data}/val.json: broken JSON at line 1" in capsys.readouterr().out


def test_objects_are_held_against_a_model_file(
    tiny_data: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", str(tiny_data), "--json", "--model", str(tiny_model)]) == 0
    model = json.loads(capsys.readouterr().out)["model"]
    assert (model["name"], model["short_side"], model["max_detections"]) == ("tiny.safetensors", 64, 5)
    assert run(["doctor", str(tiny_data), "--json", "--model", "bundled"]) == 0
    model = json.loads(capsys.readouterr().out)["model"]
    assert (model["name"], model["anchor_sizes"]) == ("bundled", [16, 32, 64, 128, 256])
    assert run(["doctor", str(tiny_data), "--model", "absent.safetensors"]) == 2
    assert "absent.safetensors: no such model file" in capsys.readouterr().err
    assert run(["doctor", str(tiny_data), "--model", str(tiny_model), "--config", "a.yaml"]) == 2
    assert "tiny.safetensors has settings of its own" in capsys.readouterr().err
