"""What `predict` and `demo` share: pictures through a model, a line each, overlays and JSON into a folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.progress import ProgressColumn

    from panet.data.records import ImageRecord
    from panet.data.windows import ImageLike
    from panet.predict.predictor import Predictor
    from panet.predict.result import Result
    from panet.predict.tiling import Tiling
    from panet.structures import TTA

__all__ = ["RESULTS_NAME", "predict_pictures"]

RESULTS_NAME = "results.json"


def predict_pictures(
    console: "Console",
    predictor: "Predictor",
    pictures: "Sequence[tuple[str, Path | ImageRecord]]",
    folder: Path,
    *,
    score: float,
    max_dets: int | None,
    overlays: bool,
    tta: "TTA | None" = None,
    tiling: "Tiling | None" = None,
    num_bad: int = 0,
) -> None:
    """Predict pictures one after the other; one that cannot be read is named and left out.

    Args:
        console: takes a line a picture, and a progress bar if it is a terminal.
        predictor: the model.
        pictures: the name to show and the file of each; of those that a COCO file lists the records, whose ids stay.
        folder: an existing folder for the overlays and results.json.
        score: detections score above it.
        max_dets: best detections of a picture that are kept; None for the model's own number.
        overlays: whether overlays are written.
        tta: test-time augmentation, if any.
        tiling: how larger pictures are cut, if they are.
        num_bad: pictures that have been named and left out already.

    Raises:
        DataError: after all others are done, if a picture could not be used.
    """
    from rich.progress import Progress

    from panet.errors import DataError
    from panet.predict.folder import PredictionFolder, with_ids

    writer = PredictionFolder(folder, predictor.label_map)
    options = {"score_threshold": score, "max_detections": max_dets, "tta": tta, **_tiling_options(tiling)}
    ids: list[int | str] = []
    num_all = num_bad + len(pictures)
    with Progress(*_columns(), console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("pictures", total=len(pictures))
        tiles = bar.add_task("tiles", total=None, visible=tiling is not None)
        for name, picture in pictures:
            try:
                result = predictor.predict(
                    _source(picture),
                    **options,
                    progress=lambda done, total: bar.update(tiles, completed=done, total=total),
                )
                line = describe(name, result, writer.add(name, result, overlays))
                ids += [] if isinstance(picture, Path) else [picture.id]
            except DataError as error:
                num_bad += 1
                line = f"left out: {error}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            bar.advance(task)
    _write(folder, with_ids(writer.document, ids) if ids else writer.document)
    if num_bad:
        raise DataError(f"{num_bad} of {num_all} pictures could not be used: they are named above")


def _write(folder: Path, document: dict[str, Any]) -> None:
    from panet.evaluate.results import rounded, write_json

    write_json(folder / RESULTS_NAME, {**document, "annotations": rounded(document["annotations"])})


def _source(picture: "Path | ImageRecord") -> "ImageLike":
    """Give a file; of a record the pixels, (H, W, 3) uint8 of the size that its file states."""
    from panet.data.dataset import read_record

    return picture if isinstance(picture, Path) else read_record(picture).permute(1, 2, 0).numpy()


def _columns() -> "tuple[ProgressColumn, ...]":
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    return TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()


def _tiling_options(tiling: "Tiling | None") -> dict[str, Any]:
    """Give the arguments of `Predictor.predict` that say how pictures are cut."""
    if tiling is None:
        return {}
    return {"tile": tiling.side, "overlap": tiling.overlap, "tile_scale": tiling.scale}


def describe(name: str, result: "Result", overlay: Path | None) -> str:
    """Give the line of a picture: its name, counts by class, what may be missing, and its overlay."""
    from panet.data.images import printable

    counts = ", ".join(f"{count} {name}" for name, count in result.counts.items()) or "nothing found"
    arrow = "" if overlay is None else f" -> {printable(overlay)}"
    full = (
        f" ({result.num_full_tiles} tiles are full: take smaller ones or --max-dets)" if result.num_full_tiles else ""
    )
    return f"{printable(name)}: {printable(counts)}{full}{arrow}"
