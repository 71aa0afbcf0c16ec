"""`panet predict`: pictures -> overlays, counts, COCO JSON."""

from pathlib import Path
from typing import Annotated

import typer

from panet.cli.options import PRECISION_HELP, Precision, WithCompile, compile_shown
from panet.cli.tta import BoxVoting, Scales, SoftNMS, WithFlip, WithTTA, build_tta

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
) -> None:
    """Find the objects of pictures: a line of counts each, overlays, and COCO JSON."""
    from rich.console import Console

    from panet.cli.pictures import RESULTS_NAME, predict_pictures
    from panet.data.images import printable
    from panet.predict.folder import list_sources, prepare_folder
    from panet.predict.predictor import load
    from panet.weights.checkpoint import model_path

    seen = build_tta(tta, tta_scales, tta_flip, soft_nms, box_voting)
    model_path(model)
    pictures = [(str(path), path) for path in list_sources(sources)]
    prepare_folder(output, overwrite)
    predictor = load(model, device, precision)
    console = Console(highlight=False)
    if compiled:
        compile_shown(console, predictor.model, predictor.short_side)
    overlays = not no_overlays
    predict_pictures(console, predictor, pictures, output, score=score, max_dets=max_dets, overlays=overlays, tta=seen)
    console.print(f"written: {printable(output / RESULTS_NAME)}", markup=False, soft_wrap=True)
