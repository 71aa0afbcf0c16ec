"""The table, the sentences, the JSON and the picture of an ablation."""

import json
import math

import numpy as np
import pytest

from panet.ablation.comparison import RunScores
from panet.ablation.plot import draw_report
from panet.ablation.report import Report, make_report, to_document, to_markdown, to_statement
from panet.ablation.rows import choose_rows
from panet.presets import preset

ROWS = choose_rows(preset("panet_lite"), "baseline,mst,norm").rows
METRICS = ("mask/AP", "mask/AP50", "mask/AP75", "box/AP", "box/AP50", "box/AP75")


def run_of(value: float, wobble: float = 0.0, metrics: tuple[str, ...] = METRICS) -> RunScores:
    pictures = np.linspace(-0.1, 0.1, 101)
    samples = value + pictures + wobble * np.cos(np.arange(101.0))
    return RunScores(dict.fromkeys(metrics, value), dict.fromkeys(metrics, samples))


def report_of(num_pictures: int = 50, seeds: tuple[int, ...] = (0, 1), metrics: tuple[str, ...] = METRICS) -> Report:
    """MST gains 0.04 and is told apart; norm gains 0.01 and is not."""
    runs = {
        "baseline": {seed: run_of(0.3, metrics=metrics) for seed in seeds},
        "mst": {seed: run_of(0.34, metrics=metrics) for seed in seeds},
        "norm": {seed: run_of(0.35, 0.2, metrics) for seed in seeds},
    }
    seconds = {name: dict.fromkeys(seeds, 90.0) for name in runs}
    return make_report(ROWS, runs, seconds, {"draws": 101}, num_pictures, ("left out: x",))


def test_the_table_has_a_line_a_row_and_marks_what_is_told_apart() -> None:
    lines = to_markdown(report_of()).splitlines()
    assert lines[2].startswith("| setting | mask AP (95 %) | mask AP50 | mask AP75 | box AP | ")
    assert lines[4] == "| baseline | 0.300 (0.205 to 0.395) | 0.300 | 0.300 | 0.300 | - | - | 2 | 1.5 |"
    gain = "**+0.040 (+0.040 to +0.040)**"
    assert lines[5] == (
        f"| + MST (multi-scale training) | 0.340 (0.245 to 0.435) | 0.340 | 0.340 | 0.340 | {gain} | {gain} | 2 | 1.5 |"
    )
    assert lines[6].startswith("| + norm | 0.350 (")
    assert "**" not in lines[6]
    assert {line.count(" | ") for line in lines[2:7]} == {8}


def test_the_statement_says_what_can_and_cannot_be_told_apart() -> None:
    lines = to_statement(report_of())
    assert lines[0] == "left out: x"
    assert lines[1] == (
        "+ MST (multi-scale training) against baseline: mask AP +0.040 (+0.040 to +0.040), "
        "higher with 2 of 2 seeds: higher"
    )
    assert lines[2].startswith("+ norm against + MST (multi-scale training): mask AP +0.010 (-0.")
    assert lines[2].endswith("higher with 2 of 2 seeds: cannot be told apart")
    assert lines[3].startswith("+ norm against baseline: mask AP +0.050 ")
    assert lines[4].startswith("differences below about 0.")
    assert "50 pictures drawn again" in lines[5]
    assert not any("one seed" in line for line in lines)


def test_one_seed_and_few_pictures_are_warned_of() -> None:
    lines = to_statement(report_of(num_pictures=3, seeds=(0,)))
    assert "one seed: a difference may be the seed's" in lines
    assert "3 pictures are too few to tell anything apart; 10 at least are needed" in lines
    assert not any(line.endswith(": higher") for line in lines)


def test_without_masks_boxes_are_what_counts() -> None:
    text = to_markdown(report_of(metrics=METRICS[3:]))
    assert "| setting | box AP (95 %) | box AP50 | box AP75 | to the row it adds to" in text
    assert "mask" not in text


def test_no_run_is_no_row() -> None:
    report = make_report(ROWS, {}, {}, {}, 50)
    assert to_statement(report) == ["no run is finished"]
    assert to_document(report)["rows"] == []
    assert draw_report(report).width > 1000


def test_the_json_has_all_numbers_and_null_for_what_is_undefined() -> None:
    runs = {"baseline": {0: run_of(math.nan)}, "mst": {0: run_of(0.4)}}
    document = to_document(make_report(ROWS, runs, {"mst": {0: None}}, {"draws": 101}, 50))
    again = json.loads(json.dumps(document, allow_nan=False))
    assert again["draws"] == 101
    assert again["pictures"] == 50
    first, second = again["rows"]
    assert first["scores"]["mask/AP"] == {"mean": None, "interval": {"low": None, "high": None}, "by_seed": [None]}
    assert second["scores"]["box/AP"]["by_seed"] == [0.4]
    assert second["to_before"]["mask/AP"]["verdict"] == "cannot be told apart"
    assert second["seconds"] == {"0": None}


def colours_of(report: Report) -> set[tuple[int, ...]]:
    return {colour for _, colour in draw_report(report).getcolors(2**20)}


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_the_picture_is_green_where_a_difference_is_told_apart(seeds: tuple[int, ...]) -> None:
    green, grey = (20, 120, 60), (150, 150, 150)
    assert {green, grey} <= colours_of(report_of(seeds=seeds))
    assert green not in colours_of(report_of(num_pictures=3, seeds=seeds))


def test_an_undefined_score_draws_nothing() -> None:
    undefined = make_report(ROWS, {"baseline": {0: run_of(math.nan)}, "mst": {0: run_of(math.nan)}}, {}, {}, 50)
    assert (25, 80, 160) not in colours_of(undefined)
