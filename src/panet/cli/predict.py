"""`panet predict`: pictures -> overlays, counts, COCO JSON."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from panet.cli.options import PRECISION_HELP, Precision, WithCompile, compile_shown
from panet.cli.tta import BoxVoting, Scales, SoftNMS, WithFlip, WithTTA, build_tta

if TYPE_CHECKING:
    from panet.predict.tiling import Tiling

__all__ = ["predict"]


def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model file (.safetensors), or 'bundled'.")],
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE", help="Pictures, folders, 'glob/patterns*.png'.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for overlays and results.json.")] = Path(
        "predictions"
    ),
    score: Annotated[float, typer.Option(min=0, max=1, help="Show what scores above this.")] = 0.5,
    max_dets: Annotated[
        int | None, typer.Option(min=1, help="Best detections a picture; by default the model's own number.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[Precision, typer.Option(help=PRECISION_HELP)] = "auto",
    compiled: WithCompile = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write into a folder that is not empty.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the same command was broken off: leave out what is done.")
    ] = False,
    no_overlays: Annotated[bool, typer.Option("--no-overlays", help="Write results.json only.")] = False,
    tta: WithTTA = False,
    tta_scales: Scales = None,
    tta_flip: WithFlip = None,
    soft_nms: SoftNMS = None,
    box_voting: BoxVoting = None,
    tile: Annotated[
        int | None, typer.Option(metavar="PX", help="Look at larger pictures in tiles of this side, and stitch.")
    ] = None,
    overlap: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Of a tile's side that neighbours share; by default 0.2.")
    ] = None,
    tile_scale: Annotated[
        float | None,
        typer.Option(metavar="F", help="Input px an image px of a tile; by default the model's rule, but at least 1."),
    ] = None,
) -> None:
    """Find the objects of pictures: a line of counts each, overlays, and COCO JSON."""
    from panet.errors import ConfigError
    from panet.train.distributed import joined

    with joined() as ranks:
        with ranks.together():
            if resume and overwrite:
                raise ConfigError("--resume: does not go with --overwrite")
            seen = build_tta(tta, tta_scales, tta_flip, soft_nms, box_voting)
            tiling = _build_tiling(tile, overlap, tile_scale, augmented=seen is not None)
        shown = {"score": score, "max_dets": max_dets, "overlays": not no_overlays, "resume": resume}
        options = {**shown, "tta": seen, "tiling": tiling, "ranks": ranks}
        _predict(model, sources, output, (device, precision, compiled), overwrite, options)


def _predict(
    model: str,
    sources: list[str],
    output: Path,
    place: tuple[str, Precision, bool],
    overwrite: bool,
    options: dict[str, Any],
) -> None:
    from panet.cli.pictures import RESULTS_NAME, predict_pictures
    from panet.cli.ranks import console_of
    from panet.data.images import MAX_FILE_PIXELS, printable
    from panet.ops.rle import MAX_PIXELS
    from panet.predict.folder import list_sources, prepare_folder
    from panet.predict.predictor import load, pick_device
    from panet.weights.checkpoint import model_path

    ranks, (device, precision, compiled) = options["ranks"], place
    console = console_of(ranks)
    with ranks.together():
        file = model_path(model)
        most = MAX_PIXELS if options["tiling"] is None else MAX_FILE_PIXELS
        pictures = [(str(path), path) for path in list_sources(sources, most)]
    with ranks.together():
        if ranks.is_first:
            prepare_folder(output, overwrite or options["resume"])
    with ranks.together():
        predictor = load(model, str(ranks.place(pick_device(device))), precision)
        if compiled:
            compile_shown(console, predictor.model, predictor.short_side)
    digest = f"{precision} {_digest(file)}"
    predict_pictures(console, predictor, pictures, output, **options, model_digest=digest)
    console.print(f"written: {printable(output / RESULTS_NAME)}", markup=False, soft_wrap=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _build_tiling(tile: int | None, overlap: float | None, scale: float | None, *, augmented: bool) -> "Tiling | None":
    from panet.errors import ConfigError
    from panet.predict.tiling import Tiling

    if tile is not None and augmented:
        raise ConfigError("--tile and --tta: tiles are not augmented: choose one of the two")
    if tile is not None:
        return Tiling(tile, **({} if overlap is None else {"overlap": overlap}), scale=scale)
    if overlap is not None or scale is not None:
        raise ConfigError("--overlap and --tile-scale are about tiles: add --tile, or leave them out")
    return None
