"""What `predict` and `demo` share: pictures through a model, a line each, overlays and JSON into a folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.progress import ProgressColumn

    from panet.predict.predictor import Predictor
    from panet.predict.result import Result
    from panet.predict.tiling import Tiling
    from panet.structures import TTA

__all__ = ["RESULTS_NAME", "predict_pictures"]

RESULTS_NAME = "results.json"


def predict_pictures(
    console: "Console",
    predictor: "Predictor",
    pictures: "Sequence[tuple[str, Path]]",
    folder: Path,
    *,
    score: float,
    max_dets: int | None,
    overlays: bool,
    tta: "TTA | None" = None,
    tiling: "Tiling | None" = None,
) -> None:
    """Predict pictures one after the other; one that cannot be read is named and left out.

    Args:
        console: takes a line a picture, and a progress bar if it is a terminal.
        predictor: the model.
        pictures: the name to show and the file of each.
        folder: an existing folder for the overlays and results.json.
        score: detections score above it.
        max_dets: best detections of a picture that are kept; None for the model's own number.
        overlays: whether overlays are written.
        tta: test-time augmentation, if any.
        tiling: how larger pictures are cut, if they are.

    Raises:
        DataError: after all others are done, if a picture could not be used.
    """
    from rich.progress import Progress

    from panet.errors import DataError
    from panet.evaluate.results import rounded, write_json
    from panet.predict.folder import PredictionFolder

    writer = PredictionFolder(folder, predictor.label_map)
    num_bad = 0
    with Progress(*_columns(), console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("pictures", total=len(pictures))
        tiles = bar.add_task("tiles", total=None, visible=tiling is not None)
        for name, path in pictures:
            try:
                result = predictor.predict(
                    path,
                    score_threshold=score,
                    max_detections=max_dets,
                    tta=tta,
                    **_tiling_options(tiling),
                    progress=lambda done, total: bar.update(tiles, completed=done, total=total),
                )
                overlay = writer.add(name, result, overlays)
                line = describe(name, result, overlay)
            except DataError as error:
                num_bad += 1
                line = f"left out: {error}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            bar.advance(task)
    document = writer.document
    write_json(folder / RESULTS_NAME, {**document, "annotations": rounded(document["annotations"])})
    if num_bad:
        raise DataError(f"{num_bad} of {len(pictures)} pictures could not be used: they are named above")


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
