"""Settings: what is written comes back; what is unknown, misspelt or out of range is refused by its name."""

from pathlib import Path

import pytest

from panet.config import Config, ModelConfig, TrainConfig
from panet.errors import ConfigError
from panet.presets import PRESETS
from panet.settings import differences, read_config, to_yaml


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return tmp_path / "recipe.yaml"


def refusal(path: Path | None, *assignments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_config(path, None, assignments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_without_a_file_or_a_preset_it_is_the_released_mask_model() -> None:
    assert read_config(None, None) == PRESETS["panet_r50"]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_its_yaml(name: str, recipe: Path) -> None:
    recipe.write_text(to_yaml(read_config(None, name)))
    assert read_config(recipe, None) == PRESETS[name]


def test_a_preset_says_only_what_it_sets() -> None:
    assert "num_classes" not in read_config(None, "panet_lite").model.model_fields_set
    assert "num_classes" in read_config(None, "panet_lite", ["model.num_classes=3"]).model.model_fields_set


def test_an_unknown_preset_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'panet_r50'"):
        read_config(None, "panet_r5")


def test_a_file_and_a_preset_together_are_refused(recipe: Path) -> None:
    with pytest.raises(ConfigError, match="not both"):
        read_config(recipe, "panet_r50")


def test_a_byte_order_mark_is_no_part_of_the_settings(recipe: Path) -> None:
    recipe.write_bytes(b"\xef\xbb\xbftrain:\n  seed: 7\n")
    assert read_config(recipe, None).train.seed == 7


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("train.seed=3", Config(train=TrainConfig(seed=3))),
        ("train.learning_rate=1e-3", Config(train=TrainConfig(learning_rate=1e-3))),
        ("train.epochs=2", Config(train=TrainConfig(epochs=2.0))),
        ("train.milestones=[0.5, 0.75]", Config(train=TrainConfig(milestones=(0.5, 0.75)))),
        ("train.max_grad_norm=none", Config(train=TrainConfig(max_grad_norm=None))),
        ("model.mask_head=none", Config(model=ModelConfig(mask_head=None))),
        ("model.norm=none", Config(model=ModelConfig(norm="none"))),
    ],
)
def test_an_assignment_is_read_as_yaml(assignment: str, expected: Config, recipe: Path) -> None:
    recipe.write_text("train: {}")
    assert read_config(recipe, None, [assignment]) == expected


def test_an_assignment_goes_into_a_section_that_the_preset_leaves_out() -> None:
    config = read_config(None, "panet_r50_det", ["model.mask_head.channels=64"])
    assert config.model.mask_head is not None
    assert config.model.mask_head.channels == 64


def test_the_later_assignment_wins_over_the_earlier_and_over_the_file(recipe: Path) -> None:
    recipe.write_text("train:\n  seed: 1\n  momentum: 0.5\n")
    train = read_config(recipe, None, ["train.seed=2", "train.seed=3"]).train
    assert (train.seed, train.momentum) == (3, 0.5)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("train.lerning_rate=1", "train.lerning_rate is unknown (did you mean 'learning_rate'?)"),
        ("learning_rate=1", "learning_rate is unknown (did you mean 'train.learning_rate'?)"),
        ("train.rhubarb=1", "train.rhubarb is unknown; `panet config` prints the known ones"),
        ("modell.norm=none", "modell is unknown (did you mean 'model'?)"),
        ("train.seed.x=1", "train.seed is one setting, not a section"),
        ("train.steps=10000000000", "train.steps: input should be less than or equal to 1000000000, got 10000000000"),
        ("train.epochs=1e300", "train.epochs: input should be less than or equal to 1000000, got 1e+300"),
        ("train.seed=-1", "train.seed: input should be greater than or equal to 0, got -1"),
        ("train.seed=__import__('os')", "train.seed: input should be a valid integer"),
        ("train.learning_rate=.nan", "train.learning_rate: input should be a finite number"),
        ("train.learning_rate=.inf", "train.learning_rate: input should be a finite number"),
        ("train.scale_learning_rate=1", "train.scale_learning_rate: input should be a valid boolean"),
        ("data.short_sides=[800, wide]", "data.short_sides[1]: input should be a valid integer"),
        ("model.rpn.anchor_sizes=[[8]]", "model.rpn: anchor_sizes wants 5 lists"),
        ("model.norm=null", "model.norm: input should be 'none', 'group'"),
        ("train=3", "train: input should be an object"),
        ("train.seed", "expected section.key=value"),
        ("train.=1", "expected section.key=value"),
        ("train.seed=", "has no value; write none for null"),
        ("train.seed={", "train.seed={:1:2"),
        ("train.seed=!!python/name:os.system", "tag 'tag:yaml.org,2002:python/name:os.system'"),
    ],
)
def test_a_bad_assignment_is_refused_by_its_key(assignment: str, message: str) -> None:
    assert message in refusal(None, assignment)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no settings"),
        ("- 1", "holds no settings"),
        ("train:\n  lerning_rate: 1", "train.lerning_rate is unknown (did you mean 'learning_rate'?)"),
        ("train:\n  seed: 1\n  momentum: 0\n  seed: 2", ":4:3: key 'seed' twice (first in line 2)"),
        ("train: {}\ntrain: {}", ":2:1: key 'train' twice"),
        ("train: !!python/object/apply:os.system [ls]", "tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("train: &a {seed: 1}\ndata: *a", ":2:7: alias *a; write it out"),
        ("train:\n\tseed: 1", ":2:1: found character '\\t'"),
        ("? [1]\n: 2", ":1:3: a key that is not a word"),
        ("train:\n  seed: 1\n---\ntrain: {}", ":3:1: "),
        ("train: \x00", "not readable as YAML"),
        ("[" * 5000, "not readable as YAML"),
        ("train:\n  seed: " + "9" * 5000, "not readable as YAML"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_place(text: str, message: str, recipe: Path) -> None:
    recipe.write_text(text)
    refused = refusal(recipe)
    assert refused.startswith(str(recipe))
    assert message in refused
    assert len(refused) < len(str(recipe)) + 200


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refusal(tmp_path / "none.yaml")
    assert "cannot be read: Is a directory" in refusal(tmp_path)


def test_a_file_that_is_no_text_is_refused(recipe: Path) -> None:
    recipe.write_bytes(b"\xff\xfe\x00\x01")
    assert "is not UTF-8 text" in refusal(recipe)


def test_an_error_in_a_file_is_not_blamed_on_an_assignment(recipe: Path) -> None:
    recipe.write_text("train:\n  seed: x\n")
    assert refusal(recipe, "train.momentum=0.5").startswith(f"{recipe}: train.seed")


def test_differences_are_named_with_both_values() -> None:
    other = read_config(None, None, ["train.seed=1", "model.mask_head=none"])
    found = differences(PRESETS["panet_r50"], other)
    assert found["train.seed"] == (0, 1)
    assert found["model.mask_head.channels"] == (256, None)
    assert differences(other, other) == {}


@pytest.mark.parametrize("text", ["\x85", "a\x85 b", "two\nlines", "\u2028", " ", "\t", "none", "1e3", "\ufeff"])
def test_a_text_survives_its_yaml_whatever_is_in_it(tmp_path, text):
    config = Config(train=TrainConfig(device=text))
    path = tmp_path / "settings.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert read_config(path, None) == config
