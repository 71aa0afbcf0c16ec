"""What the command line prints of a data set's problems."""

import json
from pathlib import Path

import pytest

from panet.cli.findings import accept, say_errors, write_told
from panet.cli.main import run
from panet.data.problems import BadDataError, Outcome, Problem
from panet.data.report import Reading


def problems(number: int, outcome: Outcome = Outcome.DROP_ANN) -> list[Problem]:
    return [Problem(outcome, "box-without-area", "a.json", f"annotation {i}", "no area", 1, i) for i in range(number)]


def test_twenty_problems_are_printed_and_all_are_counted(capsys) -> None:
    say_errors(BadDataError([*problems(25), *problems(2, Outcome.DROP_IMG), *problems(3, Outcome.WARN)]))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: a.json: annotation 0: no area"
    assert len(lines) == 22
    assert lines[20] == "error: and 7 more"
    assert "2 images and 25 annotations cannot be used (3 warnings)" in lines[21]
    assert "--on-bad-data skip" in lines[21]


def test_a_file_that_cannot_be_used_is_one_line(capsys) -> None:
    say_errors(BadDataError([Problem(Outcome.FATAL, "no-images", "a.json", "", "lists no\x1b images")]))
    assert capsys.readouterr().err == "error: a.json: lists no\\x1b images\n"


def test_the_gravest_problem_comes_first(capsys) -> None:
    say_errors(BadDataError([*problems(1), Problem(Outcome.FATAL, "no-images", "a.json", "", "lists no images")]))
    assert capsys.readouterr().err.splitlines()[0] == "error: a.json: lists no images"


def test_a_report_that_cannot_be_written_is_only_warned_of(tmp_path: Path, capsys) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadDataError):
        accept(Reading((None,), tuple(problems(1))), "strict", tmp_path / "file" / "report.json")
    assert "warning: data report: " in capsys.readouterr().err


def test_half_a_character_in_an_id_does_not_spoil_the_report(tmp_path: Path, capsys) -> None:
    problem = Problem(Outcome.DROP_IMG, "picture-missing", "a.json", "image x", "missing", "\ud800")
    write_told(tmp_path / "report.json", Reading((), (problem,)), "skip")
    assert json.loads((tmp_path / "report.json").read_text())["problems"][0]["image_id"] == "\ud800"


def test_check_counts_what_can_be_used_and_exits_2_for_the_rest(tiny_data: Path, capsys) -> None:
    assert run(["check", str(tiny_data)]) == 0
    assert "2 pictures and 2 annotations can be used" in capsys.readouterr().out
    document = json.loads((tiny_data / "val.json").read_text())
    document["annotations"][0]["bbox"] = [1, 2, 0, 3]
    (tiny_data / "val.json").write_text(json.dumps(document))
    assert run(["check", str(tiny_data / "val.json"), "--images", str(tiny_data / "images"), "--json"]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["problems"][0]["rule"] == "box-without-area"
    assert "0 images and 1 annotations cannot be used" in captured.err
    assert run(["check", str(tiny_data / "val.json")]) == 2
    assert "add --images FOLDER" in capsys.readouterr().err
    assert run(["check", str(tiny_data), "--images", "x"]) == 2
    assert "goes with a JSON file" in capsys.readouterr().err


def test_check_finds_damage_that_only_decoding_shows(tiny_data: Path, capsys) -> None:
    from PIL import Image

    picture = next((tiny_data / "images").iterdir())
    document = json.loads((tiny_data / "val.json").read_text())
    row = next(row for row in document["images"] if row["file_name"] == picture.name)
    Image.new("RGB", (row["width"], row["height"])).save(picture, "JPEG")
    content = bytearray(picture.read_bytes())
    content[content.index(b"\xff\xda") + 6] = 0x33  # the scan asks for tables that are not there
    picture.write_bytes(content)
    assert run(["check", str(tiny_data)]) == 0
    assert run(["check", str(tiny_data), "--decode"]) == 2
    assert "not a readable picture" in capsys.readouterr().err


def test_a_model_is_scored_without_the_bad_items_when_told_to(
    tiny_model: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    next((tiny_data / "images").iterdir()).write_bytes(b"rot")
    command = ["eval", str(tiny_model), str(tiny_data), "--workers", "0", "--device", "cpu"]
    assert run(command) == 2
    assert "1 images and 0 annotations cannot be used" in capsys.readouterr().err
    assert json.loads(Path("data_report.json").read_text())["on_bad_data"] == "strict"
    assert run([*command, "--on-bad-data", "skip", "--data-report", "r.json"]) == 0
    captured = capsys.readouterr()
    assert "1 pictures, " in captured.out
    assert "left out: 1 images" in captured.err
    assert json.loads(Path("r.json").read_text())["outcomes"]["drop_image"] == 1
    assert run([*command, "--data-report", "r.json"]) == 2
    assert "r.json: exists: add --overwrite, or choose another --data-report" in capsys.readouterr().err
    monkeypatch.chdir(tiny_data)
    before = sorted(tiny_data.rglob("*"))
    assert run(command) == 2
    assert sorted(tiny_data.rglob("*")) == before
