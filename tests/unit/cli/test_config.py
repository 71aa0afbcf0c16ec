"""`panet config`: what it prints is what would be used."""

from pathlib import Path

from panet.cli.main import run
from panet.presets import PRESETS
from panet.settings import read_config


def test_the_printed_settings_can_be_read_back(capsys, tmp_path: Path) -> None:
    assert run(["config", "--model", "panet_lite", "--set", "train.seed=4"]) == 0
    path = tmp_path / "config.yaml"
    path.write_text(capsys.readouterr().out)
    assert read_config(path, None) == read_config(None, "panet_lite", ["train.seed=4"])
    assert run(["config", "--config", str(path)]) == 0
    assert capsys.readouterr().out == path.read_text()


def test_the_models_are_listed(capsys) -> None:
    assert run(["config", "--list"]) == 0
    assert capsys.readouterr().out.split() == list(PRESETS)
