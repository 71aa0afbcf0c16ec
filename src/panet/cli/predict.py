"""`panet predict`: pictures -> overlays, counts, COCO JSON."""

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
    from rich.console import Console

    from panet.cli.pictures import RESULTS_NAME, predict_pictures
    from panet.data.images import MAX_FILE_PIXELS, printable
    from panet.ops.rle import MAX_PIXELS
    from panet.predict.folder import list_sources, prepare_folder
    from panet.predict.predictor import load
    from panet.weights.checkpoint import model_path

    seen = build_tta(tta, tta_scales, tta_flip, soft_nms, box_voting)
    tiling = _build_tiling(tile, overlap, tile_scale, augmented=seen is not None)
    model_path(model)
    most = MAX_PIXELS if tiling is None else MAX_FILE_PIXELS
    pictures = [(str(path), path) for path in list_sources(sources, most)]
    prepare_folder(output, overwrite)
    predictor = load(model, device, precision)
    console = Console(highlight=False)
    if compiled:
        compile_shown(console, predictor.model, predictor.short_side)
    shown: dict[str, Any] = {"score": score, "max_dets": max_dets, "overlays": not no_overlays}
    predict_pictures(console, predictor, pictures, output, **shown, tta=seen, tiling=tiling)
    console.print(f"written: {printable(output / RESULTS_NAME)}", markup=False, soft_wrap=True)


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
