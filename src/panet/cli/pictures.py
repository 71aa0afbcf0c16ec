"""What `predict` and `demo` share: pictures through a model, a line each, overlays and JSON into a folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.progress import ProgressColumn

    from panet.predict.partial import PartialResults
    from panet.predict.predictor import Predictor, Progress
    from panet.predict.result import Result
    from panet.predict.tiling import Tiling
    from panet.structures import TTA
    from panet.train.distributed import Ranks

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
    model_digest: str = "",
    resume: bool = False,
    ranks: "Ranks | None" = None,
) -> None:
    """Predict pictures one after the other; one that cannot be read is named and left out.

    Several processes share them out, and the first one prints their lines at the end, in the pictures' order.

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
        model_digest: tells the model from others when predictions are gone on with.
        resume: leave out what an earlier call with the same options has done.
        ranks: the processes that share the pictures; None: this one is alone.

    Raises:
        DataError: after all others are done, if a picture could not be used; or there is nothing to resume.
    """
    from panet.predict.partial import PartialResults
    from panet.train.distributed import ALONE

    ranks = ranks or ALONE
    options: dict[str, Any] = {"score_threshold": score, "max_detections": max_dets, "tta": tta}
    options |= _tiling_options(tiling)
    made_by = {"model": model_digest, "overlays": overlays, **{name: str(value) for name, value in options.items()}}
    partial = PartialResults(folder, made_by)
    known: dict[str, dict[str, Any]] = {}
    done = set(ranks.share(lambda: _find_done(partial, known, resume)))
    pending = [i for i, (name, _) in enumerate(pictures) if name not in done]
    if resume:
        console.print(f"{len(pictures) - len(pending)} of {len(pictures)} pictures were done before")
    with ranks.together(), partial.open(ranks.rank):
        share = _Share(console, predictor, pictures, overlays, options, folder, partial, tells=ranks.size == 1)
        own = share.predict(pending[ranks.rank :: ranks.size])
    outcomes = ranks.collect(own)
    with ranks.together():
        if ranks.is_first:
            _tell(console, outcomes if ranks.size > 1 else ())
            known |= {outcome["record"]["name"]: outcome["record"] for outcome in outcomes if outcome["record"]}
            _write(folder, [known[name] for name, _ in pictures if name in known], predictor)
            partial.clear()
            _check_all_used(outcomes, len(pictures))


def _tell(console: "Console", outcomes: "Sequence[dict[str, Any]]") -> None:
    for outcome in outcomes:
        console.print(outcome["line"], markup=False, highlight=False, soft_wrap=True)


def _check_all_used(outcomes: "Sequence[dict[str, Any]]", num_pictures: int) -> None:
    from panet.errors import DataError

    num_bad = sum(outcome["record"] is None for outcome in outcomes)
    if num_bad:
        raise DataError(f"{num_bad} of {num_pictures} pictures could not be used: they are named above")


def _find_done(partial: "PartialResults", known: dict[str, dict[str, Any]], resume: bool) -> list[str]:
    """Put the records of an earlier call into `known`, or remove them if they are not wanted; give their names."""
    if resume:
        known |= partial.read()
    else:
        partial.clear()
    return list(known)


def _write(folder: Path, records: "Sequence[dict[str, Any]]", predictor: "Predictor") -> None:
    from panet.evaluate.results import rounded, write_json
    from panet.predict.folder import coco_document

    document = coco_document(records, predictor.label_map)
    write_json(folder / RESULTS_NAME, {**document, "annotations": rounded(document["annotations"])})


@dataclass(frozen=True)
class _Share:
    """What one process predicts of the pictures; `predict_pictures` says what the fields are."""

    console: "Console"
    predictor: "Predictor"
    pictures: "Sequence[tuple[str, Path]]"
    overlays: bool
    options: dict[str, Any]
    folder: Path
    partial: "PartialResults"
    tells: bool

    def predict(self, numbers: "Sequence[int]") -> list[dict[str, Any]]:
        """Give the line of each picture, and its record; None if it could not be used."""
        from rich.progress import Progress

        from panet.predict.folder import overlay_names

        names = overlay_names([name for name, _ in self.pictures])
        outcomes: list[dict[str, Any]] = []
        console = self.console
        with Progress(*_columns(), console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("pictures", total=len(numbers))
            tiles = bar.add_task("tiles", total=None, visible="tile" in self.options)
            for number in numbers:
                outcome = self._predict_one(
                    *self.pictures[number],
                    self.folder / names[number],
                    lambda done, total: bar.update(tiles, completed=done, total=total),
                )
                _tell(console, [outcome] if self.tells else ())
                outcomes.append(outcome)
                bar.advance(task)
        return outcomes

    def _predict_one(self, name: str, path: Path, overlay: Path, progress: "Progress") -> dict[str, Any]:
        from panet.errors import DataError
        from panet.predict.partial import record_of

        try:
            result = self.predictor.predict(path, **self.options, progress=progress)
            if self.overlays:
                result.save(overlay)
            record = record_of(name, result)
        except DataError as error:
            return {"line": f"left out: {error}", "record": None}
        self.partial.append(record)
        return {"line": describe(name, result, overlay if self.overlays else None), "record": record}


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
