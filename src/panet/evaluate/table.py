"""Scores as tables for the terminal."""

import math
from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from panet.data.images import printable

__all__ = ["class_table", "metric_table"]

_MEANINGS = {
    "AP": "average precision, mean over IoU 0.50:0.95",
    "AP50": "at IoU 0.50",
    "AP75": "at IoU 0.75",
    "APs": "objects below 32 x 32 px",
    "APm": "32 x 32 to 96 x 96 px",
    "APl": "above 96 x 96 px",
    "AR1": "average recall, 1 detection a picture",
    "AR10": "10 detections a picture",
    "AR": "average recall",
    "ARs": "objects below 32 x 32 px",
    "ARm": "32 x 32 to 96 x 96 px",
    "ARl": "above 96 x 96 px",
}


def metric_table(metrics: Mapping[str, float], max_dets: int) -> Table:
    """Tabulate "box/AP", "mask/AP" ...: a row a metric, a column a kind; "-" where there is nothing to find."""
    kinds = list(dict.fromkeys(key.partition("/")[0] for key in metrics))
    table = Table("metric", *kinds, "meaning", title=f"at most {max_dets} detections a picture", title_justify="left")
    for kind in range(len(kinds)):
        table.columns[1 + kind].justify = "right"
    for name in dict.fromkeys(key.partition("/")[2] for key in metrics):
        values = [_show(metrics.get(f"{kind}/{name}", math.nan)) for kind in kinds]
        table.add_row(name, *values, _MEANINGS.get(name, ""))
    return table


def class_table(per_class: Mapping[str, Mapping[str, float]]) -> Table:
    """Tabulate the scores of each class."""
    columns = list(dict.fromkeys(key for values in per_class.values() for key in values))
    table = Table("class", *(column.replace("/", " ") for column in columns))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, values in per_class.items():
        table.add_row(Text(printable(name)), *(_show(values[column]) for column in columns))
    return table


def _show(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
