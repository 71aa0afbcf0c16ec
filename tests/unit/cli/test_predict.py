"""`panet predict`: a line a picture, overlays, COCO JSON; and what is refused before the model is loaded."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panet.cli.predict import predict
from panet.data.coco import read_coco
from panet.errors import CheckpointError, ConfigError, DataError


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b [red].png"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / name)
    return folder


def test_each_picture_gets_a_line_an_overlay_and_its_objects_in_the_json(
    tiny_model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    predict(str(tiny_model), [str(pictures)], output=output, score=0.0, device="cpu")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{pictures}/a.png: 5 nucleus -> {output}/a.png"
    assert lines[1] == f"{pictures}/b [red].png: 5 nucleus -> {output}/b [red].png"
    assert lines[2] == f"written: {output}/results.json"
    assert sorted(os.listdir(output)) == ["a.png", "b [red].png", "results.json"]
    with Image.open(output / "a.png") as overlay:
        assert overlay.size == (200, 160)
    document = json.loads((output / "results.json").read_text())
    assert len(document["annotations"]) == 10
    assert document["categories"] == [{"id": 9, "name": "nucleus"}]


def test_the_json_can_be_read_as_a_data_set(tiny_model: Path, pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    predict(str(tiny_model), [str(pictures)], output=output, score=0.0, max_dets=3, device="cpu", no_overlays=True)
    assert os.listdir(output) == ["results.json"]
    document = json.loads((output / "results.json").read_text())
    for image in document["images"]:
        image["file_name"] = Path(image["file_name"]).name
    seen = [each for each in document["annotations"] if each["area"] > 0 and min(each["bbox"][2:]) > 0]
    (output / "results.json").write_text(json.dumps({**document, "annotations": seen}))
    assert read_coco(output / "results.json", pictures).annotations.num_objects == len(seen) > 0


def test_nothing_found_is_said(
    tiny_model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(str(tiny_model), [str(pictures / "a.png")], output=tmp_path / "out", score=1.0, device="cpu")
    assert "a.png: nothing found -> " in capsys.readouterr().out


def test_a_damaged_picture_is_named_and_the_others_are_done(
    tiny_model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = (pictures / "a.png").read_bytes()
    (pictures / "a.png").write_bytes(content[:-200])
    with pytest.raises(DataError, match="1 of 2 pictures could not be used: they are named above"):
        predict(str(tiny_model), [str(pictures)], output=tmp_path / "out", score=0.0, device="cpu")
    printed = capsys.readouterr().out
    assert f"left out: {pictures}/a.png: " in printed
    assert "b [red].png: 5 nucleus" in printed
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [Path(image["file_name"]).name for image in document["images"]] == ["b [red].png"]


def test_sources_and_output_are_checked_before_the_model_is_read(pictures: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"no model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="the folder holds no picture"):
        predict(str(model), [str(tmp_path / "empty")], output=tmp_path / "out")
    with pytest.raises(DataError, match="not empty: add --overwrite"):
        predict(str(model), [str(pictures)], output=pictures)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        predict(str(model), [str(pictures)], output=tmp_path / "out")


def test_a_missing_model_leaves_no_output_folder(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such model file"):
        predict(str(tmp_path / "absent.safetensors"), [str(pictures)], output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_full_folder_is_written_to_when_that_is_wanted(tiny_model: Path, pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for _ in range(2):
        predict(str(tiny_model), [str(pictures)], output=output, device="cpu", overwrite=True)
    assert sorted(os.listdir(output)) == ["a.png", "b [red].png", "results.json"]


def test_pictures_are_predicted_with_augmentation(tiny_model: Path, pictures: Path, tmp_path: Path) -> None:
    results = []
    for name, options in (("plain", {}), ("off", {"tta_scales": "1"}), ("on", {"tta": True})):
        output = tmp_path / name
        predict(str(tiny_model), [str(pictures)], output=output, score=0.0, device="cpu", no_overlays=True, **options)
        results.append(json.loads((output / "results.json").read_text())["annotations"])
    assert results[0] == results[1] != results[2]


def test_a_picture_is_predicted_by_tiles(
    tiny_model: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(pictures / "large.png")
    output = tmp_path / "out"
    predict(
        str(tiny_model), [str(pictures)], output=output, score=0.0, device="cpu", tile=64, overlap=0.3, tile_scale=1
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{pictures}/a.png: 5 nucleus -> {output}/a.png"  # no larger than a tile
    assert "large.png: " in lines[2]
    assert "tiles are full: take smaller ones or --max-dets) -> " in lines[2]
    with Image.open(output / "large.png") as overlay:
        assert overlay.size == (800, 600)
    document = json.loads((output / "results.json").read_text())
    assert document["images"][2]["height"] == 150
    found = [each for each in document["annotations"] if each["image_id"] == 3]
    assert len(found) > 5
    assert all(each["segmentation"]["size"] == [150, 200] for each in found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlap": 0.2}, "about tiles: add --tile"),
        ({"tile_scale": 1.0}, "about tiles: add --tile"),
        ({"tile": 5}, "tile: 5: expected a whole number of px"),
        ({"tile": 64, "overlap": 0.9}, "overlap: 0.9"),
    ],
)
def test_tiles_out_of_range_are_refused_at_once(
    pictures: Path, tmp_path: Path, options: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        predict("absent.safetensors", [str(pictures)], output=tmp_path / "out", **options)  # type: ignore[arg-type]


def test_tiles_are_not_augmented(tiny_model: Path, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tiles are not augmented"):
        predict(str(tiny_model), [str(pictures)], output=tmp_path / "out", tile=64, tta=True)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def listing(pictures: Path, tmp_path: Path) -> Path:
    """What COCO's test-dev file is: pictures with ids, and neither annotations nor, here, categories."""
    rows = [{"id": 581, "file_name": "b [red].png", "height": 40, "width": 50}, {"id": "x7", "file_name": "a.png"}]
    path = tmp_path / "image_info_test.json"
    path.write_text(json.dumps({"images": rows}))
    return path


def test_the_pictures_of_a_file_without_annotations_are_predicted_and_keep_their_ids(
    tiny_model: Path, pictures: Path, listing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    predict(str(tiny_model), [str(listing)], images=pictures, output=output, score=0.0, device="cpu")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"warning: {listing}: image x7: states no width and height: 50 x 40 px are the picture's"
    assert lines[1] == f"b [red].png: 5 nucleus -> {output}/b [red].png"
    assert lines[2] == f"a.png: 5 nucleus -> {output}/a.png"
    document = json.loads((output / "results.json").read_text())
    assert [(image["id"], image["file_name"]) for image in document["images"]] == [
        (581, "b [red].png"),
        ("x7", "a.png"),
    ]
    assert {each["image_id"] for each in document["annotations"]} == {581, "x7"}


def test_a_picture_that_a_file_lists_and_that_is_not_there_is_named_and_the_others_are_done(
    tiny_model: Path, pictures: Path, listing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "a.png").unlink()
    with pytest.raises(DataError, match="1 of 2 pictures could not be used: they are named above"):
        predict(str(tiny_model), [str(listing)], images=pictures, output=tmp_path / "out", score=0.0, device="cpu")
    printed = capsys.readouterr().out
    assert f"left out: {listing}: image x7: a.png is not in {pictures}" in printed
    assert "b [red].png: 5 nucleus" in printed
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())["images"]) == 1


def test_the_masks_of_a_listed_picture_have_the_size_that_the_file_states(
    tiny_model: Path, pictures: Path, tmp_path: Path
) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6  # upright it is 50 high; the file states the pixels as they are stored
    with Image.open(pictures / "a.png") as image:
        image.save(pictures / "turned.jpg", exif=tags)
    path = tmp_path / "listed.json"
    path.write_text(json.dumps({"images": [{"id": 1, "file_name": "turned.jpg", "height": 40, "width": 50}]}))
    predict(str(tiny_model), [str(path)], images=pictures, output=tmp_path / "out", score=0.0, device="cpu")
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [each["segmentation"]["size"] for each in document["annotations"]] == [[40, 50]] * 5


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"annotations": []}, "has no 'images'"),
        ({"images": []}, "lists no images"),
        ([{"image_id": 1, "score": 0.5}], "the top level is a list.*this is a list of results"),
        ({"images": [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b [red].png"}]}, "ids must differ"),
        ({"images": [{"id": 1, "file_name": "../a.png"}]}, r"none of its 1 images|leads out of"),
    ],
)
def test_a_file_that_lists_nothing_to_predict_is_refused(
    pictures: Path, tiny_model: Path, tmp_path: Path, document: object, message: str
) -> None:
    path = tmp_path / "listed.json"
    path.write_text(json.dumps(document))
    with pytest.raises(DataError, match=message):
        predict(str(tiny_model), [str(path)], images=pictures, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_folder_of_listed_pictures_must_be_given_and_be_there(
    pictures: Path, tiny_model: Path, listing: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="the folder of its pictures is not known: add --images FOLDER"):
        predict(str(tiny_model), [str(listing)], output=tmp_path / "out")
    with pytest.raises(DataError, match="absent does not exist"):
        predict(str(tiny_model), [str(listing)], images=tmp_path / "absent", output=tmp_path / "out")
    with pytest.raises(ConfigError, match="stands alone"):
        predict(str(tiny_model), [str(listing), str(pictures)], images=pictures, output=tmp_path / "out")
    with pytest.raises(ConfigError, match="goes with a JSON file that lists pictures"):
        predict(str(tiny_model), [str(pictures)], images=pictures, output=tmp_path / "out")
