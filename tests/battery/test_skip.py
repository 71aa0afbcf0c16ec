"""Training on a data set with bad items: strict stops before the first step, skip computes what the clean set gives."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from battery.training import TINY
from panet.cli.main import run
from panet.config import DataConfig
from panet.data.build import build_extremes
from panet.data.coco import CocoDataset
from panet.data.extremes import Extremes
from panet.data.synthetic import write_shapes
from panet.train.run import Run, StepRecord
from panet.weights.checkpoint import load_model


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A clean data set, and the same one with bad pictures and annotations in between."""
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "clean", num_train=6, num_val=2, size=64, seed=0)
    shutil.copytree(tmp_path / "clean", tmp_path / "bad")
    for part in ("train", "val"):
        path = tmp_path / "bad" / f"{part}.json"
        path.write_text(json.dumps(spoil(json.loads(path.read_text()), tmp_path / "bad" / "images")))
    return tmp_path / "clean", tmp_path / "bad"


def spoil(document: dict[str, Any], images: Path) -> dict[str, Any]:
    """Put a bad item before every other picture and every third annotation."""
    document["images"] = list(_between(document["images"], 2, _bad_images(document["images"][0], images)))
    document["annotations"] = list(_between(document["annotations"], 3, _bad_annotations(document["annotations"][0])))
    return document


def _between(rows: list[Any], step: int, bad: Iterator[Any]) -> Iterator[Any]:
    for place, row in enumerate(rows):
        if place % step == 0:
            yield next(bad)
        yield row
    yield from bad


def _bad_images(row: dict[str, Any], images: Path) -> Iterator[Any]:
    whole = (images / row["file_name"]).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    (images / "flipped.png").write_bytes(flipped)
    (images / "half.png").write_bytes(whole[: len(whole) // 2])
    (images / "page.png").write_text("<html>404</html>")
    yield from (
        {**row, "id": 9000 + number, "file_name": name}
        for number, name in enumerate(("flipped.png", "half.png", "page.png", "absent.png", "../train.json", ""))
    )
    yield None
    yield {**row, "id": 9100, "height": row["height"] + 1}


def _bad_annotations(row: dict[str, Any]) -> Iterator[Any]:
    changes: list[dict[str, Any]] = [
        {"bbox": [1, 1, 0, 5]},
        {"bbox": [float("nan"), 1, 5, 5]},
        {"category_id": 999},
        {"image_id": 9000},
        {"image_id": "nowhere"},
        {"segmentation": [[1, 1, float("inf"), 2, 3, 3]]},
        {"segmentation": {"size": [64, 64], "counts": "garbage"}},
        {"segmentation": []},
    ]
    yield None
    yield from ({**row, "id": 9000 + number, **change} for number, change in enumerate(changes))


def train(folder: Path, name: str, *arguments: str) -> int:
    settings = [word for setting in [*TINY, "data.workers=0"] for word in ("--set", setting)]
    return run(["train", str(folder), "--name", name, "--steps", "6", *settings, *arguments])


def lines(name: str) -> list[str]:
    return Path("runs", name, "metrics.jsonl").read_text().splitlines()


def test_a_lenient_run_gives_bit_for_bit_the_losses_of_the_clean_set(folders: tuple[Path, Path], capsys) -> None:
    clean, bad = folders
    assert train(clean, "clean") == 0
    assert train(bad, "bad", "--on-bad-data", "skip") == 0
    assert lines("bad") == lines("clean")
    assert sum("losses" in json.loads(line) for line in lines("bad")) == 6
    states = [load_model(Path("runs", name, "weights", "last.safetensors")).state for name in ("bad", "clean")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    report = json.loads(Path("runs/bad/data_report.json").read_text())
    assert report["on_bad_data"] == "skip"
    assert report["outcomes"] == {"warn": 0, "drop_annotation": 16, "drop_image": 16, "fatal": 0}
    clean_report = json.loads(Path("runs/clean/data_report.json").read_text())
    assert [part["images"]["used"] for part in report["parts"]] == [6, 2]
    assert [part["annotations"]["used"] for part in report["parts"]] == [
        part["annotations"]["used"] for part in clean_report["parts"]
    ]
    assert "left out: 16 images and 16 annotations cannot be used" in capsys.readouterr().err


def test_a_strict_run_ends_before_its_first_step_and_names_all(folders: tuple[Path, Path], capsys) -> None:
    _, bad = folders
    assert train(bad, "bad") == 2
    told = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("error: ") for line in told) == 22
    assert "16 images and 16 annotations cannot be used" in told[-1]
    assert not Path("runs/bad").exists()
    report = json.loads(Path("runs/data_report.json").read_text())
    assert report["on_bad_data"] == "strict"
    assert len(report["problems"]) == 32


def test_what_is_wrong_with_both_parts_is_told_at_once(folders: tuple[Path, Path], capsys) -> None:
    _, bad = folders
    (bad / "train.json").write_text("{")
    assert train(bad, "bad") == 2
    assert "train.json: broken JSON at line 1 column 2" in capsys.readouterr().err
    assert len(json.loads(Path("runs/data_report.json").read_text())["problems"]) == 1 + 16


def test_nothing_is_written_into_the_data_sets_folder(folders: tuple[Path, Path], monkeypatch, capsys) -> None:
    _, bad = folders
    before = sorted(bad.rglob("*"))
    monkeypatch.chdir(bad)
    assert train(Path(), "bad", "--on-bad-data", "skip") == 2
    assert "runs: lies in the data set's folder" in capsys.readouterr().err
    assert sorted(bad.rglob("*")) == before


def test_a_strict_run_whose_picture_rots_is_refused_and_goes_on_leniently(folders: tuple[Path, Path], capsys) -> None:
    clean, _ = folders
    assert train(clean, "clean", "--steps", "20", "--set", "train.evaluate_every=4") == 0
    older, newest = sorted(Path("runs/clean/checkpoint").iterdir())
    newest.unlink()  # as if the run had ended before
    (clean / "images" / json.loads((clean / "train.json").read_text())["images"][0]["file_name"]).write_bytes(b"rot")
    capsys.readouterr()
    assert run(["train", "runs/clean", "--resume"]) == 2
    assert "is no picture" in capsys.readouterr().err
    assert run(["train", "runs/clean", "--resume", "--on-bad-data", "skip"]) == 0
    assert newest.exists()
    assert "going on after step 12" in capsys.readouterr().out
    assert older.stem == "step-00000012"
    report = json.loads(Path("runs/clean/data_report.json").read_text())
    assert report["parts"][0]["images"] == {"listed": 6, "used": 5}


def test_pictures_whose_names_are_no_text_are_trained_on_as_others(folders: tuple[Path, Path], capsys) -> None:
    clean, _ = folders
    assert train(clean, "clean") == 0
    for part in ("train", "val"):
        path = clean / f"{part}.json"
        document = json.loads(path.read_text())
        for image in document["images"]:
            name = f"\udcff{image['file_name']}"  # a byte that is no text
            (clean / "images" / image["file_name"]).rename(clean / "images" / name)
            image["file_name"] = name
        path.write_text(json.dumps(document))
    assert train(clean, "bytes") == 0
    assert lines("bytes") == lines("clean")


def test_a_picture_that_rots_before_the_first_step_is_left_out_of_the_rehearsal(folders, monkeypatch, capsys) -> None:
    def damage_and_find(dataset: CocoDataset, data: DataConfig) -> Extremes:
        found = build_extremes(dataset, data)
        dataset.images[found.crowded[0]].path.write_bytes(b"rot")
        return found

    clean, _ = folders
    whole = Path(shutil.copytree(clean, clean.parent / "whole"))
    monkeypatch.setattr("panet.cli.preflight.build_extremes", damage_and_find)
    assert train(clean, "strict") == 2
    assert not Path("runs/strict").exists()
    shutil.rmtree(clean)
    whole.rename(clean)
    assert train(clean, "lenient", "--on-bad-data", "skip") == 0
    assert "is no picture" in capsys.readouterr().err


@pytest.fixture
def rotting(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The last val picture of the clean set, which is damaged when step 3 of 6 is done."""
    clean, _ = folders
    path = clean / "images" / json.loads((clean / "val.json").read_text())["images"][-1]["file_name"]

    def record_and_damage(self: Run, record: StepRecord) -> None:
        record_step(self, record)
        if record.step == 3:
            path.write_bytes(b"rot")

    record_step = Run.record
    monkeypatch.setattr(Run, "record", record_and_damage)
    return path


def test_a_val_picture_that_rots_ends_a_strict_run_which_is_saved(
    folders: tuple[Path, Path], rotting: Path, capsys
) -> None:
    clean, _ = folders
    assert train(clean, "strict", "--set", "train.evaluate_every=3", "--steps", "9") == 2
    assert f"{rotting}: is no picture" in capsys.readouterr().err
    assert max(path.stem for path in Path("runs/strict/checkpoint").iterdir()) == "step-00000009"
    assert run(["train", "runs/strict", "--resume", "--on-bad-data", "skip"]) == 0
    assert "going on after step 9" in capsys.readouterr().out


def test_a_val_picture_that_rots_is_left_out_of_a_lenient_runs_scores_with_its_objects(
    folders: tuple[Path, Path], rotting: Path, capsys
) -> None:
    clean, _ = folders
    assert train(clean, "lenient", "--on-bad-data", "skip") == 0
    told = capsys.readouterr()
    assert f"left out of scoring, its objects too: {rotting}: is no picture" in told.out + told.err
    assert "scores are over 1 of 2 pictures" in told.out
    document = json.loads((clean / "val.json").read_text())
    document["images"].pop()
    ids = {image["id"] for image in document["images"]}
    document["annotations"] = [row for row in document["annotations"] if row["image_id"] in ids]
    (clean / "val.json").write_text(json.dumps(document))
    assert train(clean, "without") == 0
    assert lines("lenient") == lines("without")
