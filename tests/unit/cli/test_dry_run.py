"""Every recipe is complete and builds; `panet train --dry-run` tells what a run would be and writes nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from panet.cli.dry_run import describe_schedule
from panet.cli.estimate import largest_input, meta_model, saved_bytes
from panet.cli.main import run
from panet.config import Config, DataConfig, TrainConfig
from panet.data.synthetic import write_shapes
from panet.settings import read_config, to_yaml
from panet.train.build import base_rate

CONFIGS = Path(__file__).parents[3] / "configs"
RECIPES = sorted(CONFIGS.glob("*.yaml"))
PAPER = [path for path in RECIPES if path.name.startswith(("coco_", "cityscapes_", "mapillary_"))]

TINY = """
model:
  num_classes: 4
  norm: none
  backbone: {name: lcnet_035, norm: batch, frozen_stages: 0}
  neck: {channels: 8}
  box_head: {kind: 2fc, fc_channels: 16}
  mask_head: {channels: 8}
data: {root: DATA, short_sides: [64], max_side: 64, workers: 0}
train: {milestones: [0.5]}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[[str], Path]:
    def write(root: str) -> Path:
        path = tmp_path / "tiny.yaml"
        path.write_text(TINY.replace("DATA", root))
        return path

    return write


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_a_recipe_states_every_setting_and_nothing_else(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    assert "".join(line for line in lines if not line.startswith("#")) == to_yaml(read_config(path, None))


@pytest.mark.parametrize("path", PAPER, ids=lambda path: path.stem)
def test_a_recipe_opens_with_its_command_and_published_figures(path: Path) -> None:
    head = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert f"panet train configs/{path.name}\n" in head
    assert "Score: not measured here. Published:" in head
    assert "arXiv 1803.01534" in head or "none for this row" in head


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_model_of_a_recipe_builds(path: Path) -> None:
    config = read_config(path, None).model
    model = meta_model(config)
    assert model.box_head.class_logits.out_features == config.num_classes + 1
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "num_pictures", "num_steps"),
    [
        ("coco_panet_r50_det_1x", 118287, 90000),
        ("coco_panet_r50_mask_2x", 118287, 180000),
        ("coco_panet_r50_mask_syncbn", 118287, 160000),
        ("cityscapes_panet_r50", 2975, 24000),
        ("mapillary_panet_r50", 18000, 80000),
    ],
)
def test_epochs_are_the_published_steps(name: str, num_pictures: int, num_steps: int) -> None:
    config = read_config(CONFIGS / f"{name}.yaml", None)
    pictures = config.data.batch_size * config.train.accumulate
    assert round(config.train.epochs * num_pictures / pictures) == pytest.approx(num_steps, rel=1e-4)
    assert config.train.steps is None


def test_the_rates_are_the_published_ones() -> None:
    rates = {path.stem: read_config(path, None) for path in PAPER}
    rate = {name: base_rate(config.train, config.data.batch_size) for name, config in rates.items()}
    assert rate.pop("cityscapes_panet_r50") == pytest.approx(0.01)
    assert set(rate.values()) == {0.02}


def test_without_its_data_a_recipe_is_dry_run_all_the_same(recipe, here: Path, capsys) -> None:
    path = recipe("nowhere")
    before = files(here)
    assert run(["train", str(path), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "model: lcnet_035, " in printed
    assert "memory: about " in printed
    assert "data: nowhere is not there: not checked" in printed
    assert "0.02 for 16 pictures x 2 pictures a step / 16 = 0.0025" in printed
    assert "12 epochs" in printed
    assert files(here) == before


def test_data_that_is_there_is_checked_and_gives_the_steps(recipe, here: Path, capsys) -> None:
    write_shapes(here / "shapes", num_train=6, num_val=2, size=64, seed=0)
    before = files(here)
    assert run(["train", str(recipe("shapes")), "--dry-run", "--epochs", "4"]) == 0
    captured = capsys.readouterr()
    assert "train: 6 pictures, " in captured.out
    assert "plan: 12 steps (4 epochs)" in captured.out
    assert "12 steps, a tenth after 6" in captured.out
    assert files(here) - before == {here / "tiny.yaml"}


@pytest.mark.parametrize("arguments", ["nowhere --model panet_r50", "tiny.yaml --set data.root=nowhere"])
def test_data_that_the_command_line_names_must_be_there(recipe, arguments: str, capsys) -> None:
    recipe("elsewhere")
    assert run(["train", *arguments.split(), "--dry-run"]) == 2
    assert capsys.readouterr().err == "error: nowhere: no such folder\n"


@pytest.mark.parametrize("other", [["--resume"], ["--init", "model.safetensors"]])
def test_a_dry_run_is_of_a_new_run(recipe, other: list[str], capsys) -> None:
    assert run(["train", str(recipe("nowhere")), "--dry-run", *other]) == 2
    assert capsys.readouterr().err == f"error: --dry-run: does not go with {other[0]}\n"


def test_a_cosine_and_an_unscaled_rate_are_told() -> None:
    train = TrainConfig(schedule="cosine", scale_learning_rate=False, learning_rate=1e-3, steps=100)
    told = describe_schedule(Config(train=train), None)
    assert "0.001 for any batch (2 pictures a step)" in told
    assert told.endswith("100 steps, half a cosine to 0")


def test_the_largest_input_is_padded_to_32() -> None:
    assert largest_input(DataConfig(short_sides=(800, 400), max_side=1333)) == (800, 1344)
    assert largest_input(DataConfig(short_sides=(100,), max_side=100, scale_jitter=(0.5, 2.0))) == (224, 224)
    assert largest_input(DataConfig(crop=(250, 100))) == (256, 128)


def test_activations_grow_with_the_batch_and_not_where_nothing_trains(recipe) -> None:
    model = meta_model(read_config(recipe("nowhere"), None).model).train()
    one, two = (saved_bytes(model, count, (64, 64), 8, 2) for count in (1, 2))
    assert 0 < one < two
    assert two == pytest.approx(2 * one, rel=0.01)
