"""The report's histograms."""

from collections import Counter
from html import escape

import numpy as np

from panet.data.images import printable
from panet.doctor.charts import bars, histogram, linear_bins, octave_bins
from panet.doctor.examine import Diagnosis
from panet.doctor.fit import COCO_LIMIT

__all__ = ["draw_figures"]

_CLASSES, _SIZES = 16, 10  # rows of bars


def draw_figures(diagnosis: Diagnosis) -> str:
    """Give objects a picture, object sizes against anchors, class balance and picture sizes, each a card."""
    names = "".join(f'<span><i class="{part.name}"></i>{part.name}</span>' for part in diagnosis.parts)
    charts = {
        "Objects per picture": _objects_per_picture(diagnosis),
        "Object sizes against anchors": _object_sizes(diagnosis),
        "Class balance": _classes(diagnosis),
        "Picture sizes": _picture_sizes(diagnosis),
    }
    cards = "".join(f'<div class="card"><h3>{title}</h3>{chart}</div>' for title, chart in charts.items() if chart)
    return f'<p class="key">{names}</p><div class="charts">{cards}</div>'


def _objects_per_picture(diagnosis: Diagnosis) -> str:
    values = {name: figures.objects_per_picture for name, figures in diagnosis.figures.items()}
    edges = linear_bins(max(int(numbers.max(initial=1)) for numbers in values.values()))
    marks: dict[float, str] = {COCO_LIMIT: f"COCO's limit {COCO_LIMIT}"}
    if diagnosis.model.max_detections != COCO_LIMIT:
        marks[diagnosis.model.max_detections] = f"model's {diagnosis.model.max_detections}"
    return histogram("Objects per picture", values, edges, ("objects in a picture", "pictures, % of the part"), marks)


def _object_sizes(diagnosis: Diagnosis) -> str:
    model = diagnosis.model
    values = {name: np.sqrt(figures.sides.prod(axis=1)) for name, figures in diagnosis.figures.items()}
    smallest = min([*(float(sizes.min(initial=np.inf)) for sizes in values.values()), *model.anchor_sizes])
    largest = max([*(float(sizes.max(initial=0)) for sizes in values.values()), *model.anchor_sizes])
    marks = {size: f"{size:g}" for size in model.anchor_sizes}
    labels = "square root of the box's area, input px", "objects, % of the part"
    chart = histogram("Object sizes and anchors", values, octave_bins(smallest, largest), labels, marks)
    sides = f"shorter side {model.short_side} px, longer at most {model.max_side}"
    note = f"Dashed: anchors of {escape(printable(model.name))}, whose input has its {sides}."
    return f'{chart}<p class="soft">{note}</p>'


def _classes(diagnosis: Diagnosis) -> str:
    """Draw the largest classes; what is left out is told below."""
    totals: Counter[str] = Counter()
    counts: dict[str, list[tuple[str, int]]] = {}
    for part in diagnosis.parts:
        for name, number in zip(
            part.dataset.label_map.names, diagnosis.figures[part.name].classes.tolist(), strict=True
        ):
            totals[name] += number
            counts.setdefault(name, []).append((part.name, number))
    shown = [name for name, _ in totals.most_common(_CLASSES)]
    chart = bars("Objects of each class", {printable(name): counts[name] for name in shown})
    rest = len(totals) - len(shown)
    if not rest:
        return chart
    number = sum(totals.values()) - sum(totals[name] for name in shown)
    return f'{chart}<p class="soft">and {rest} more classes with {number:,} objects together.</p>'


def _picture_sizes(diagnosis: Diagnosis) -> str:
    totals: Counter[tuple[int, int]] = Counter()
    for figures in diagnosis.figures.values():
        totals += figures.picture_sizes
    shown = [size for size, _ in totals.most_common(_SIZES)]
    counts = {
        f"{width} x {height}": [
            (name, figures.picture_sizes[width, height]) for name, figures in diagnosis.figures.items()
        ]
        for width, height in shown
    }
    chart = bars("Pictures of each size", counts)
    rest = len(totals) - len(shown)
    if not rest:
        return chart
    number = sum(totals.values()) - sum(totals[size] for size in shown)
    return f'{chart}<p class="soft">and {rest} more sizes, of {number:,} pictures together.</p>'
