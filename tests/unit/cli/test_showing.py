"""Pictures of what is annotated beside what is found."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panet.cli.showing import choose_pictures, draw_pairs, shown
from panet.data.coco import read_coco
from panet.data.synthetic import write_shapes
from panet.weights.checkpoint import restore


@pytest.fixture
def shapes(tmp_path: Path):
    """Nine pictures, the sixth without an object."""
    write_shapes(tmp_path / "shapes", num_train=1, num_val=9, size=64, seed=0)
    return read_coco(tmp_path / "shapes" / "val.json", tmp_path / "shapes" / "images")


def test_the_same_few_pictures_are_chosen_from_those_with_objects(shapes) -> None:
    assert choose_pictures(shapes) == [0, 2, 4]


def test_a_pair_shows_the_truth_left_and_the_models_mode_is_kept(shapes, tiny_model: Path) -> None:
    model, model_file = restore(tiny_model)
    model.train()
    model.backbone.eval()
    pairs = draw_pairs(model, shapes, [0, 1], model_file.config)
    assert list(pairs) == ["val/val_0000.png", "val/val_0001.png"]
    picture = pairs["val/val_0000.png"]
    assert picture.dtype == np.uint8
    assert picture.shape == (640 + 28, 1280, 3)
    left, right = picture[28:, :640], picture[28:, 640:]
    assert (left != right).any()
    assert model.training
    assert not model.backbone.training


def test_a_picture_whose_name_no_log_could_show_is_shown_under_an_escaped_one(tmp_path: Path, tiny_model: Path) -> None:
    name = "line\udcff.png"  # a byte that is no text
    Image.new("RGB", (1, 2000)).save(tmp_path / name)
    mask = {"size": [2000, 1], "counts": [0, 900, 1100]}
    document = {
        "images": [{"id": 1, "file_name": name, "height": 2000, "width": 1}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": mask, "bbox": [0, 0, 1, 900]}],
        "categories": [{"id": 1, "name": "line"}],
    }
    (tmp_path / "val.json").write_text(json.dumps(document))
    model, model_file = restore(tiny_model)
    pairs = draw_pairs(model, read_coco(tmp_path / "val.json", tmp_path), [0], model_file.config)
    assert list(pairs) == ["val/line\\udcff.png"]


def test_a_picture_that_is_gone_is_left_out(shapes, tiny_model: Path) -> None:
    model, model_file = restore(tiny_model)
    shapes.images[0].path.unlink()
    assert list(draw_pairs(model, shapes, [0, 1], model_file.config)) == ["val/val_0001.png"]


@pytest.mark.parametrize(("size", "height"), [((3000, 4), 1920), ((4, 3000), 1)])
def test_a_narrow_picture_is_shown_no_higher_than_a_screen_or_two(
    tmp_path: Path, tiny_model: Path, size: tuple[int, int], height: int
) -> None:
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(tmp_path / "a.png")
    square = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]}
    document = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [square]}
    document["categories"] = [{"id": number, "name": f"class {number}"} for number in (1, 2, 3)]
    (tmp_path / "val.json").write_text(json.dumps(document))
    model, model_file = restore(tiny_model)
    pairs = draw_pairs(model, read_coco(tmp_path / "val.json", tmp_path), [0], model_file.config)
    assert pairs["val/a.png"].shape == (height + 28, 1280, 3)


def test_a_judge_shows_pictures_and_gives_its_scores(shapes, tiny_model: Path) -> None:
    model, model_file = restore(tiny_model)
    seen: list = []
    judge = shown(lambda _: {"box/AP": 0.5}, shapes, model_file.config, seen.append)
    assert judge(model) == {"box/AP": 0.5}
    assert len(seen[0]) == 3
