"""The paper's rows over any base: what each changes, what a base cannot have, and names that are wrong."""

import pytest

from panet.ablation.rows import PARTS, ROWS, choose_rows, row_config
from panet.config import Config
from panet.errors import ConfigError
from panet.presets import PRESETS, preset
from panet.settings import changed, differences

TABLE_3 = ["baseline", "mst", "norm", "bpa", "afp", "bpa_afp", "ff", "panet"]


def steps_of(base: Config) -> dict[str, dict[str, object]]:
    """Give, for each row but the first, the settings that differ from the row before: key -> new value."""
    rows = choose_rows(base, None).rows
    configs = {name: row_config(base, row, 0) for name, row in rows.items()}
    return {
        name: {key: new for key, (_, new) in differences(configs[row.before], configs[name]).items()}
        for name, row in rows.items()
        if row.before
    }


def test_the_rows_are_those_of_table_3_in_its_order() -> None:
    plan = choose_rows(preset("panet_lite"), None)
    assert list(plan.rows) == TABLE_3
    assert plan.notes == ()


def test_each_row_changes_what_it_says_and_nothing_else() -> None:
    assert steps_of(preset("panet_lite")) == {
        "mst": {"data.short_sides": (384, 448, 512, 576, 640)},
        "norm": {"model.norm": "group"},
        "bpa": {"model.neck.bottom_up": True},
        "afp": {"model.pooling.levels": "all"},
        "bpa_afp": {"model.neck.bottom_up": True, "model.pooling.levels": "all"},
        "ff": {"model.mask_head.fc_path": True},
        "panet": {"model.box_head.kind": "4conv1fc", "model.box_head.conv_channels": 96},
    }


def test_the_baseline_has_all_three_ideas_off_and_one_scale() -> None:
    base = preset("panet_lite")
    baseline = row_config(base, ROWS["baseline"], 7)
    assert baseline.data.short_sides == (base.model.short_side,)
    assert baseline.model.norm == "none"
    assert not baseline.model.neck.bottom_up
    assert baseline.model.pooling.levels == "assigned"
    assert baseline.model.mask_head is not None
    assert not baseline.model.mask_head.fc_path
    assert baseline.model.box_head.kind == "2fc"
    assert baseline.train.seed == 7


def test_the_last_row_of_the_released_model_is_the_released_model() -> None:
    for name in ("panet_r50", "panet_r50_det"):
        base = preset(name)
        assert row_config(base, ROWS["panet"], base.train.seed) == base


def test_a_jitter_of_scales_is_held_at_one_but_still_resizes() -> None:
    """A crop without a jitter would be taken at the picture's own scale."""
    base = changed(preset("panet_lite"), ["data.scale_jitter=[0.6, 1.4]", "data.crop=[256, 256]"])
    baseline = row_config(base, ROWS["baseline"], 0)
    assert baseline.data.scale_jitter == (1.0, 1.0)
    assert baseline.data.short_sides == (512,)
    assert row_config(base, ROWS["mst"], 0).data == base.data


@pytest.mark.parametrize("change", [["data.short_sides=[512]"], ["data.crop=[64, 64]"]])
def test_a_base_of_one_scale_has_no_row_for_scales(change: list[str]) -> None:
    base = changed(preset("panet_lite"), change)
    plan = choose_rows(base, None)
    assert "mst" not in plan.rows
    assert plan.notes == ("left out: + MST (multi-scale training): the base trains at one scale: see data.short_sides",)
    assert plan.rows["norm"].before == "baseline"
    assert row_config(base, plan.rows["baseline"], 0).data == base.data


def test_a_base_without_masks_has_no_row_for_fusion() -> None:
    base = preset("panet_r50_det")
    plan = choose_rows(base, None)
    assert plan.notes == ("left out: + FF (fc fusion): the base has no mask head",)
    assert plan.rows["panet"].before == "bpa_afp"
    assert all(row_config(base, row, 0).model.mask_head is None for row in plan.rows.values())


def test_a_base_without_norm_gets_group_norm() -> None:
    base = preset("mask_rcnn_r50")
    assert row_config(base, ROWS["norm"], 0).model.norm == "group"


@pytest.mark.parametrize("name", PRESETS)
def test_no_two_rows_of_a_preset_are_the_same(name: str) -> None:
    base = preset(name)
    configs = [row_config(base, row, 0) for row in choose_rows(base, "all").rows.values()]
    assert all(first != second for i, first in enumerate(configs) for second in configs[:i])


def test_a_heavier_head_of_the_bases_own_keeps_its_width() -> None:
    base = changed(preset("panet_r50"), ["model.box_head.conv_channels=128"])
    assert row_config(base, ROWS["panet"], 0).model.box_head == base.model.box_head


def test_a_row_that_would_repeat_another_is_left_out() -> None:
    notes = choose_rows(preset("mask_rcnn_r50"), "all").notes
    assert "left out: norm alone: the same as + norm" in notes


def test_each_part_can_be_alone() -> None:
    alone = [row.parts for row in choose_rows(preset("panet_lite"), "all").rows.values() if len(row.parts) == 1]
    assert sorted(alone) == sorted((part,) for part in PARTS)


def test_a_row_is_compared_with_the_nearest_one_that_is_there() -> None:
    rows = choose_rows(preset("panet_lite"), "panet, norm,baseline").rows
    assert {name: row.before for name, row in rows.items()} == {"baseline": "", "norm": "baseline", "panet": "norm"}
    assert choose_rows(preset("panet_lite"), "bpa").rows["bpa"].before == ""


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("baselin", r"--rows baselin: unknown \(did you mean 'baseline'\?\): choose from baseline, mst"),
        ("", "nothing is left to run: name at least one"),
        ("ff", "--rows ff: nothing is left to run: left out: .* no mask head"),
    ],
)
def test_a_wrong_name_and_nothing_to_run_are_refused(names: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_rows(preset("panet_r50_det"), names)
