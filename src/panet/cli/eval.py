"""`panet eval`: a model, or a file of results, against ground truth."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from panet.cli.options import ON_BAD_DATA_HELP, PRECISION_HELP, OnBadData, Precision
from panet.cli.tta import BoxVoting, Scales, SoftNMS, WithFlip, WithTTA, build_tta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import Console

    from panet.data.coco import CocoDataset
    from panet.evaluate.coco import Scores
    from panet.structures import TTA, Batch, Views

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
    workers: Annotated[int, typer.Option(min=0, help="Processes that read pictures.")] = 2,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[Precision, typer.Option(help=PRECISION_HELP)] = "auto",
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
    from rich.console import Console

    from panet.data.images import printable
    from panet.errors import ConfigError
    from panet.evaluate.results import rounded, write_json
    from panet.evaluate.table import class_table, metric_table

    if output is not None:
        _check_output(output, overwrite)
    if data_report is not None:
        _check_output(data_report, overwrite, "--data-report")
    seen = build_tta(tta, tta_scales, tta_flip, soft_nms, box_voting)
    annotations, folder = _find_split(root, split, images)
    console = Console(highlight=False)
    if model.lower().endswith(".json"):
        if seen is not None:
            raise ConfigError(f"{printable(model)}: results are scored as they are: leave out the options of TTA")
        scores, results = _score_file(model, annotations, max_dets, score_threshold)
    else:
        read = partial(_read_pictures, annotations, folder, on_bad_data, data_report)
        scores, results = _score_model(
            console, model, read, max_dets, score_threshold, workers, (device, precision), seen
        )
    console.print(metric_table(scores.metrics, max_dets))
    if per_class:
        console.print(class_table(scores.per_class))
    if output is not None:
        write_json(output, rounded(results))
        console.print(f"written: {printable(output)}", markup=False, soft_wrap=True)


def _check_output(output: Path, overwrite: bool, option: str = "--output") -> None:
    from panet.data.images import printable
    from panet.errors import DataError

    name = printable(output)
    if output.is_dir():
        raise DataError(f"{name}: a folder: {option} wants a .json file")
    if output.exists() and not overwrite:
        raise DataError(f"{name}: exists: add --overwrite, or choose another {option}")
    if not output.parent.is_dir():
        raise DataError(f"{name}: its folder does not exist: make it, or choose another {option}")


def _find_split(root: Path, split: str, images: Path | None) -> tuple[Path, Path | None]:
    """Give the annotations and the folder of pictures; for a JSON file itself, the folder only if it is told."""
    from panet.data.layout import find_layout
    from panet.errors import ConfigError, DataError, nearest

    if split not in ("train", "val"):
        raise ConfigError(f"split {split!r} is unknown{nearest(split, ('train', 'val'))}: choose train or val")
    if root.is_file():
        return root, images
    layout = find_layout(root, **{f"{split}_images": images})
    part = layout.train if split == "train" else layout.val
    if part is None:
        other = "val" if split == "train" else "train"
        raise DataError(f"{root}: has no {split} part: add --split {other}, or give the JSON file itself")
    return part.annotations, part.images


def _score_file(
    results_path: str, annotations: Path, max_dets: int, score_threshold: float
) -> tuple["Scores", list[dict[str, Any]]]:
    """Score a file of COCO results; pictures are not needed."""
    from panet.data.documents import read_json
    from panet.data.images import printable
    from panet.errors import DataError
    from panet.evaluate.coco import kinds_of, score
    from panet.evaluate.results import read_results

    results = read_results(results_path)
    document = read_json(annotations)
    try:
        return score(document, results, kinds_of(results), max_dets, score_threshold), results
    except DataError as error:
        raise DataError(f"{printable(results_path)} and {printable(annotations)}: {error}") from error


def _read_pictures(
    annotations: Path, images: Path | None, on_bad_data: OnBadData, data_report: Path | None
) -> "CocoDataset":
    """Read the ground truth and check its pictures; without an option, the report is written if something is bad."""
    from panet.cli.findings import accept, write_told
    from panet.data.layout import Split
    from panet.data.report import REPORT_NAME, read_parts
    from panet.errors import DataError

    if images is None:
        raise DataError(f"{annotations}: the folder of its pictures is not known: add --images FOLDER")
    reading = read_parts([Split(annotations, images)])
    in_root = Path.cwd().is_relative_to(annotations.parent.resolve())  # nothing is written there
    if data_report is not None or (reading.has_bad_items and not in_root):
        write_told(data_report or Path(REPORT_NAME), reading, on_bad_data)
    (dataset,) = accept(reading, on_bad_data, refused=None)
    return dataset


def _score_model(
    console: "Console",
    model_name: str,
    read: "Callable[[], CocoDataset]",
    max_dets: int,
    score_threshold: float,
    workers: int,
    place: tuple[str, Precision],
    tta: "TTA | None",
) -> tuple["Scores", list[dict[str, Any]]]:
    from rich.progress import Progress

    from panet.data.build import build_test_loader, build_view_loader
    from panet.evaluate.coco import Scores
    from panet.evaluate.results import with_ids_of
    from panet.evaluate.runner import evaluate
    from panet.model.fast import in_precision, pick_dtype
    from panet.predict.predictor import pick_device
    from panet.weights.checkpoint import model_path, restore

    model_path(model_name)
    device = pick_device(place[0])
    dtype = pick_dtype(place[1], device)
    dataset = read()
    model, model_file = restore(model_name)
    label_map = with_ids_of(model_file.label_map, dataset.label_map)
    if tta is None:
        loader: Iterable[Batch | Views] = build_test_loader(dataset, model_file.config, workers)
    else:
        loader = build_view_loader(dataset, model_file.config, tta, workers)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("evaluating", total=len(dataset))
        evaluation = evaluate(
            in_precision(model.to(device), place[1]),
            loader,
            dataset,
            max_dets,
            progress=lambda count: bar.advance(task, count),
            label_map=label_map,
            score_threshold=score_threshold,
            tta=tta,
        )
    rate = evaluation.num_images / evaluation.seconds
    console.print(f"{evaluation.num_images} pictures, {rate:.2f} pictures/s, {_DTYPE_NAMES[str(dtype)]}")
    return Scores(evaluation.metrics, evaluation.per_class), evaluation.results
