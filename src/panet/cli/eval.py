"""`panet eval`: a model, or a file of results, against ground truth."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from panet.cli.options import (
    ON_BAD_DATA_HELP,
    PRECISION_HELP,
    OnBadData,
    Precision,
    WithCompile,
    compile_shown,
)
from panet.cli.tta import BoxVoting, Scales, SoftNMS, WithFlip, WithTTA, build_tta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import Console
    from rich.progress import Progress, TaskID

    from panet.data.coco import CocoDataset
    from panet.data.formats.reading import Part
    from panet.evaluate.coco import Scores
    from panet.evaluate.runner import Predicted
    from panet.model.panet import PANet
    from panet.structures import TTA, Batch, LabelMap, Views
    from panet.train.distributed import Ranks
    from panet.weights.checkpoint import ModelFile

__all__ = ["evaluate"]

_DTYPE_NAMES = {"torch.float32": "fp32", "torch.bfloat16": "bf16"}


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Model file (.safetensors), 'bundled', or COCO results (.json).")
    ],
    root: Annotated[Path, typer.Argument(metavar="DATA", help="Data set folder, or its COCO JSON file.")],
    split: Annotated[str, typer.Option(help="Which part of the folder: train or val.")] = "val",
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures, if not where the layout has it.")] = None,
    max_dets: Annotated[int, typer.Option(min=1, help="Best detections of a picture that count.")] = 100,
    score_threshold: Annotated[float, typer.Option(min=0, max=1, help="Drop what scores below this.")] = 0.0,
    per_class: Annotated[bool, typer.Option("--per-class", help="Print the scores of each class too.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the COCO results to this file.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output file if it exists.")] = False,
    kind: Annotated[str | None, typer.Option("--format", help="Format of the folder, if it is unclear.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pictures.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[Precision, typer.Option(help=PRECISION_HELP)] = "auto",
    compiled: WithCompile = False,
    on_bad_data: Annotated[OnBadData, typer.Option(help=ON_BAD_DATA_HELP)] = "strict",
    data_report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what is wrong with the data set to this JSON file.")
    ] = None,
    tta: WithTTA = False,
    tta_scales: Scales = None,
    tta_flip: WithFlip = None,
    soft_nms: SoftNMS = None,
    box_voting: BoxVoting = None,
) -> None:
    """Print box and mask AP of a model, or of a file of results, on a data set."""
    from panet.cli.ranks import console_of
    from panet.data.images import printable
    from panet.evaluate.results import rounded, write_json
    from panet.evaluate.table import class_table, metric_table
    from panet.train.distributed import joined

    with joined() as ranks:
        console = console_of(ranks)
        with ranks.together():
            for path, option in ((output, "--output"), (data_report, "--data-report")):
                if path is not None:
                    _check_output(path, overwrite, option)
            seen = build_tta(tta, tta_scales, tta_flip, soft_nms, box_voting)
            told, part = _find_part(root, split, images, kind)
        console.print(told, markup=False, soft_wrap=True)
        if model.lower().endswith(".json"):
            with ranks.together():
                judged = _score_file(console, model, part, max_dets, score_threshold, seen) if ranks.is_first else None
        else:
            read = partial(_read_pictures, console, part, on_bad_data, data_report)
            place = (device, precision, compiled)
            judged = _score_model(console, model, read, max_dets, score_threshold, workers, place, seen, ranks)
        with ranks.together():
            if judged is None:
                return
            scores, results = judged
            console.print(metric_table(scores.metrics, max_dets))
            if per_class:
                console.print(class_table(scores.per_class))
            if output is not None:
                write_json(output, rounded(results))
                console.print(f"written: {printable(output)}", markup=False, soft_wrap=True)


def _check_output(output: Path, overwrite: bool, option: str) -> None:
    from panet.data.images import printable
    from panet.errors import DataError

    name = printable(output)
    if output.is_dir():
        raise DataError(f"{name}: a folder: {option} wants a .json file")
    if output.exists() and not overwrite:
        raise DataError(f"{name}: exists: add --overwrite, or choose another {option}")
    if not output.parent.is_dir():
        raise DataError(f"{name}: its folder does not exist: make it, or choose another {option}")


def _find_part(root: Path, split: str, images: Path | None, kind: str | None) -> tuple[str, "Part | Path"]:
    """Give the line that tells the format, and the part; of a JSON file without its pictures, the file alone."""
    from panet.data.formats.source import coco_part, find_source
    from panet.errors import ConfigError, DataError, nearest

    if split not in ("train", "val"):
        raise ConfigError(f"split {split!r} is unknown{nearest(split, ('train', 'val'))}: choose train or val")
    if root.is_file():
        return f"format: coco ({root.name})", root if images is None else coco_part(root, images)
    source = find_source(root, kind, **{f"{split}_images": images})
    part = source.train if split == "train" else source.val
    if part is None:
        other = "val" if split == "train" else "train"
        raise DataError(f"{root}: has no {split} part: add --split {other}, or give the JSON file itself")
    return str(source), part


def _score_file(
    console: "Console",
    results_path: str,
    part: "Part | Path",
    max_dets: int,
    score_threshold: float,
    tta: "TTA | None",
) -> tuple["Scores", list[dict[str, Any]]]:
    """Score a file of COCO results; of COCO JSON, the pictures are not needed."""
    from panet.cli.sources import track_on
    from panet.data.documents import read_json
    from panet.data.formats.reading import read_part
    from panet.data.images import printable
    from panet.errors import ConfigError, DataError
    from panet.evaluate.coco import kinds_of, score
    from panet.evaluate.results import read_results

    if tta is not None:
        raise ConfigError(f"{printable(results_path)}: results are scored as they are: leave out the options of TTA")
    place = part if isinstance(part, Path) else part.place
    results = read_results(results_path)
    if isinstance(part, Path) or place.suffix.lower() == ".json":
        document = read_json(place)
    else:
        document = read_part(part, track=track_on(console)).document
    try:
        return score(document, results, kinds_of(results), max_dets, score_threshold), results
    except DataError as error:
        raise DataError(f"{printable(results_path)} and {printable(place)}: {error}") from error


def _read_pictures(
    console: "Console", part: "Part | Path", on_bad_data: OnBadData, data_report: Path | None
) -> "CocoDataset":
    """Read the ground truth and check its pictures; without an option, the report is written if something is bad."""
    from panet.cli.findings import accept, write_told
    from panet.cli.sources import track_on
    from panet.data.report import REPORT_NAME, read_parts
    from panet.errors import DataError

    if isinstance(part, Path):
        raise DataError(f"{part}: the folder of its pictures is not known: add --images FOLDER")
    reading = read_parts([part], track=track_on(console))
    in_root = any(
        Path.cwd().is_relative_to(place.resolve()) for place in (part.place.parent, part.images)
    )  # nothing is written there
    told = not console.quiet
    if told and (data_report is not None or (reading.has_bad_items and not in_root)):
        write_told(data_report or Path(REPORT_NAME), reading, on_bad_data)
    (dataset,) = accept(reading, on_bad_data, refused=None, told=told)
    return dataset


def _score_model(
    console: "Console",
    model_name: str,
    read: "Callable[[], CocoDataset]",
    max_dets: int,
    score_threshold: float,
    workers: int,
    place: tuple[str, Precision, bool],
    tta: "TTA | None",
    ranks: "Ranks",
) -> tuple["Scores", list[dict[str, Any]]] | None:
    """Predict the pictures, each on one rank, and score them on the first; None on the others."""
    from panet.evaluate.results import with_ids_of
    from panet.evaluate.runner import score_all
    from panet.model.fast import pick_dtype
    from panet.predict.predictor import pick_device
    from panet.weights.checkpoint import model_path, restore

    with ranks.together():
        model_path(model_name)
        device = ranks.place(pick_device(place[0]))
        dtype = pick_dtype(place[1], device)
        dataset = read()
        model, model_file = restore(model_name)
        label_map = with_ids_of(model_file.label_map, dataset.label_map)
        model = model.to(device)
        predicted = _predict(console, model, model_file, dataset, label_map, max_dets, workers, place, tta, ranks)
    found = ranks.collect(predicted.results)
    if not ranks.is_first:
        return None
    scores = score_all(dataset, found, predicted.kinds, max_dets, score_threshold)
    rate = len(found) / predicted.seconds
    console.print(f"{len(found)} pictures, {rate:.2f} pictures/s, {_DTYPE_NAMES[str(dtype)]}")
    return scores, [result for of_picture in found for result in of_picture]


def _predict(
    console: "Console",
    model: "PANet",
    model_file: "ModelFile",
    dataset: "CocoDataset",
    label_map: "LabelMap",
    max_dets: int,
    workers: int,
    place: tuple[str, Precision, bool],
    tta: "TTA | None",
    ranks: "Ranks",
) -> "Predicted":
    """Predict this rank's pictures."""
    from rich.progress import Progress

    from panet.data.build import build_test_loader, build_view_loader
    from panet.evaluate.runner import predict_all
    from panet.model.fast import in_precision

    share = (ranks.rank, ranks.size)
    if tta is None:
        loader: Iterable[Batch | Views] = build_test_loader(dataset, model_file.config, workers, share=share)
    else:
        loader = build_view_loader(dataset, model_file.config, tta, workers, share=share)
    model = in_precision(model, place[1])
    if place[2]:
        compile_shown(console, model, model_file.config.short_side)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("evaluating", total=len(dataset))
        advance = partial(_advance, bar, task, ranks.size)
        return predict_all(model, loader, label_map, max_dets, advance, tta)


def _advance(bar: "Progress", task: "TaskID", num_ranks: int, num_pictures: int) -> None:
    bar.advance(task, num_pictures * num_ranks)  # the others are about as far
