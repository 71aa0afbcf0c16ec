"""`panet eval`: a model or a results file, and every way to call it wrongly."""

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from panet.cli.eval import evaluate
from panet.errors import CheckpointError, ConfigError, DataError
from panet.weights.checkpoint import restore


def perfect_results(root: Path) -> list[dict[str, object]]:
    annotations = json.loads((root / "val.json").read_text())["annotations"]
    return [{**annotation, "score": 0.9} for annotation in annotations]


@pytest.fixture
def results_file(tmp_path: Path, tiny_data: Path) -> Path:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(perfect_results(tiny_data)))
    return path


def test_a_models_scores_and_speed_are_printed_and_its_results_written(
    tiny_model: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.json"
    evaluate(str(tiny_model), tiny_data, max_dets=7, per_class=True, output=output, workers=0, device="cpu")
    printed = capsys.readouterr().out
    for part in ("2 pictures", "pictures/s", "at most 7 detections", "AP50", "box AP", "nucleus", "written"):
        assert part in printed
    results = json.loads(output.read_text())
    assert len(results) == 14  # the model's own limit of 5 gives way
    assert {result["category_id"] for result in results} == {4}

    evaluate(str(output), tiny_data, max_dets=7)
    table = printed[printed.index("at most") :].split("class")[0].splitlines()[3:15]
    printed = capsys.readouterr().out
    assert printed[printed.index("at most") :].split("class")[0].splitlines()[3:15] == table


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_precision_that_was_computed_with_is_told(
    tiny_model: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str], precision: Literal["fp32", "bf16"]
) -> None:
    evaluate(str(tiny_model), tiny_data, workers=0, device="cpu", precision=precision)
    assert f"pictures/s, {precision}\n" in capsys.readouterr().out


def test_a_results_file_is_scored_without_pictures(
    results_file: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for picture in (tiny_data / "images").iterdir():
        picture.unlink()
    for root in (tiny_data, tiny_data / "val.json"):
        evaluate(str(results_file), root)
        printed = capsys.readouterr().out
        assert printed.count("1.000") >= 4
        assert "-" in printed


def test_results_below_the_threshold_do_not_count(
    results_file: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(str(results_file), tiny_data, score_threshold=0.95)
    assert "1.000" not in capsys.readouterr().out


@pytest.mark.shared
def test_cocos_own_figures_are_printed(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared_data / "coco_eval"
    results = folder / "instances_val2014_fakesegm100_results.json"
    evaluate(str(results), folder / "instances_val2014_100.json")
    printed = capsys.readouterr().out
    for value in ("0.320", "0.562", "0.299", "0.387", "0.310", "0.327", "0.268", "0.415", "0.417", "0.469", "0.377"):
        assert value in printed


def test_an_unknown_part_is_named(tiny_model: Path, tiny_data: Path) -> None:
    with pytest.raises(ConfigError, match=r"split 'vall' is unknown \(did you mean 'val'\?\)"):
        evaluate(str(tiny_model), tiny_data, split="vall")


def test_a_missing_part_is_named(tiny_model: Path, tiny_data: Path) -> None:
    with pytest.raises(DataError, match="has no train part: add --split val"):
        evaluate(str(tiny_model), tiny_data, split="train")


def test_a_json_file_needs_the_folder_of_its_pictures(tiny_model: Path, tiny_data: Path) -> None:
    with pytest.raises(DataError, match="add --images FOLDER"):
        evaluate(str(tiny_model), tiny_data / "val.json")


def test_a_missing_model_is_noticed_before_the_data_is_read(tmp_path: Path, tiny_data: Path) -> None:
    (tiny_data / "val.json").write_text("broken")
    with pytest.raises(CheckpointError, match="no such model file"):
        evaluate(str(tmp_path / "absent.safetensors"), tiny_data)


def test_other_classes_than_the_models_are_refused(tiny_model: Path, tiny_data: Path) -> None:
    path = tiny_data / "val.json"
    path.write_text(path.read_text().replace("nucleus", "fig"))
    with pytest.raises(DataError, match="only the data has 'fig', only the model 'nucleus'"):
        evaluate(str(tiny_model), tiny_data, workers=0, device="cpu")


def test_an_output_file_is_not_replaced_unasked(results_file: Path, tiny_data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    output.write_text("mine")
    with pytest.raises(DataError, match="exists: add --overwrite"):
        evaluate(str(results_file), tiny_data, output=output)
    assert output.read_text() == "mine"
    evaluate(str(results_file), tiny_data, output=output, overwrite=True)
    assert len(json.loads(output.read_text())) == 2


@pytest.mark.parametrize(("output", "message"), [(".", "a folder"), ("absent/out.json", "its folder does not exist")])
def test_an_output_that_cannot_be_is_refused_at_once(
    results_file: Path, tiny_data: Path, tmp_path: Path, output: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        evaluate(str(results_file), tiny_data, output=tmp_path / output)


def test_a_wrong_result_is_named_with_its_file(results_file: Path, tiny_data: Path) -> None:
    results = perfect_results(tiny_data)
    results[1]["category_id"] = 5
    results_file.write_text(json.dumps(results))
    with pytest.raises(DataError, match=r"results\.json and .*val\.json: result 2: category_id 5 is not in the data"):
        evaluate(str(results_file), tiny_data)


def test_a_model_is_scored_with_augmentation(
    tiny_model: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = []
    for i, options in enumerate(({}, {"tta_scales": "1"}, {"soft_nms": "gaussian"}, {"tta": True})):
        output = tmp_path / f"{i}.json"
        evaluate(str(tiny_model), tiny_data, output=output, workers=0, device="cpu", **options)
        results.append(output.read_text())
        assert "2 pictures" in capsys.readouterr().out
    assert results[0] == results[1]
    assert len(set(results)) == 3


def test_a_results_file_cannot_be_augmented(results_file: Path, tiny_data: Path) -> None:
    with pytest.raises(ConfigError, match=r"results\.json: results are scored as they are: leave out"):
        evaluate(str(results_file), tiny_data, tta_flip=True)


@pytest.fixture
def rotting(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The last picture, which is damaged between the check of the data and the scoring."""
    path = tiny_data / "images" / "2.png"

    def restore_late(name: str) -> object:
        path.write_bytes(b"rot")
        return restore(name)

    monkeypatch.setattr("panet.weights.checkpoint.restore", restore_late)
    return path


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_rots_while_scoring_ends_a_strict_evaluation(
    tiny_model: Path, tiny_data: Path, rotting: Path, workers: int
) -> None:
    with pytest.raises(DataError, match=r"2\.png: is no picture"):
        evaluate(str(tiny_model), tiny_data, workers=workers, device="cpu")


@pytest.mark.parametrize("options", [{"workers": 0}, {"workers": 1}, {"workers": 0, "tta": True}])
def test_a_picture_that_rots_while_scoring_is_left_out_with_its_objects_if_that_is_wanted(
    tiny_model: Path,
    tiny_data: Path,
    rotting: Path,
    tmp_path: Path,
    options: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out.json"
    evaluate(str(tiny_model), tiny_data, device="cpu", on_bad_data="skip", output=output, **options)
    printed = capsys.readouterr()
    assert printed.err.startswith(f"left out of scoring, its objects too: {rotting}: is no picture")
    assert "1 of 2 pictures, " in printed.out
    assert {result["image_id"] for result in json.loads(output.read_text())} == {1}
    document = json.loads((tiny_data / "val.json").read_text())
    document |= {key: document[key][:1] for key in ("images", "annotations")}
    (tiny_data / "val.json").write_text(json.dumps(document))
    evaluate(str(tiny_model), tiny_data, device="cpu", **options)
    assert _table(capsys.readouterr().out) == _table(printed.out)


def _table(printed: str) -> list[str]:
    return [line for line in printed[printed.index("at most") :].splitlines() if "written" not in line]
