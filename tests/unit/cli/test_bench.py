"""`panet bench`: seconds, ratios, stages; and what is refused."""

from pathlib import Path

import pytest
from PIL import Image

from panet.cli.bench import bench
from panet.errors import ConfigError, DataError

TINY = [
    "model.backbone.name=lcnet_035",
    "model.neck.channels=32",
    "model.num_classes=2",
    "model.box_head.fc_channels=64",
    "model.mask_head.channels=64",
    "objective.roi_samples=16",
]


def test_seconds_ratios_memory_shares_stages_and_growth_are_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    names, plot = ["naive", "fast fp32"], tmp_path / "growth.png"
    sizes = ["64x96", "96x96"]
    bench(model="panet_lite", assignments=TINY, sizes=sizes, proposals=[20], rounds=1, only=names, threads=1, plot=plot)
    printed = capsys.readouterr().out
    assert "64 x 96 px, 20 proposals; 1 threads" in printed
    for name in ("A naive", "B fast fp32", "pictures/s", "peak MiB", "/ A", "GFLOP/s", "bottom-up path 0."):
        assert name in printed
    assert "torchvision" not in printed
    assert "labels the same, boxes within" in printed
    with Image.open(plot) as picture:
        assert picture.size == (920, 530)


def test_training_steps_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    bench(model="panet_lite", assignments=TINY, sizes=["64x96"], training=True, rounds=1, only=["bf16"])
    printed = capsys.readouterr().out
    assert "training step, 2 pictures of 64 x 96 px" in printed
    assert "A bf16" in printed


@pytest.mark.parametrize(
    ("sizes", "proposals", "name"),
    [(["64x96"], None, "a.png"), (["64x96", "96x96"], [10, 20], "a.png"), (["64x96", "96x96"], None, "a.jpg")],
)
def test_a_plot_that_cannot_be_is_refused_first(
    sizes: list[str], proposals: list[int] | None, name: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="--plot"):
        bench(model="panet_lite", sizes=sizes, proposals=proposals, plot=tmp_path / name)


def test_a_check_prints_the_scores_of_each_form(
    tiny_model: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench(check=(str(tiny_model), tiny_data))
    printed = capsys.readouterr().out
    for part in ("plain fp32", "fast fp32", "fast bf16", "box AP", "mask AP"):
        assert part in printed


@pytest.mark.parametrize("size", ["800", "800x", "axb", "16x64", "64x-64"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(ConfigError, match=f"--sizes '{size}': expected height x width"):
        bench(model="panet_lite", sizes=[size])


def test_a_candidate_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--only 'fast': unknown.*choose from torchvision v1"):
        bench(model="panet_lite", sizes=["64x64"], only=["fast"])


def test_arithmetic_of_2018_is_not_timed() -> None:
    with pytest.raises(ConfigError, match="legacy: only models of modern arithmetic"):
        bench(model="panet_lite", assignments=["model.arithmetic=legacy"])


def test_a_check_wants_a_val_part(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        bench(check=(str(tiny_model), tmp_path))
