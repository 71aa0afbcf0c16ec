"""`panet demo`: the bundled model on bundled pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from panet.predict.bundled import DemoPicture
    from panet.predict.predictor import Predictor

__all__ = ["demo"]

_SHOWN_SCORE = 0.5
_MAX_DETS = 400  # more than the nuclei in the picture


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for overlays and results.json.")] = Path(
        "demo_output"
    ),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write into a folder that is not empty.")] = False,
) -> None:
    """Find nuclei in three microscope pictures with the model that comes with panet."""
    from rich.console import Console

    from panet.cli.pictures import RESULTS_NAME, predict_pictures
    from panet.data.images import printable
    from panet.predict.bundled import demo_pictures
    from panet.predict.folder import prepare_folder
    from panet.predict.predictor import load
    from panet.weights.checkpoint import model_path

    model_path("bundled")
    prepare_folder(output, overwrite)
    console = Console(highlight=False)
    with console.status("loading the model"):
        predictor = load("bundled", "cpu")
    console.print(f"bundled model: {', '.join(predictor.names)}; shown is what scores above {_SHOWN_SCORE}")
    shown = demo_pictures()
    named = [(picture.path.name, picture.path) for picture in shown]
    predict_pictures(console, predictor, named, output, score=_SHOWN_SCORE, max_dets=_MAX_DETS, overlays=True)
    for picture in shown:
        if picture.truth is not None:
            with console.status(f"comparing {picture.path.name} with its true masks"):
                line = compare(predictor, picture)
            console.print(line, soft_wrap=True)
    console.print(f"written: overlays and {RESULTS_NAME} in {printable(output)}", markup=False, soft_wrap=True)


def compare(predictor: "Predictor", picture: "DemoPicture") -> str:
    """Say in one line how well the objects of a picture were found; the picture must have its truth.

    AP counts every detection; found, missed and invented are those that score above _SHOWN_SCORE, at IoU 0.5.
    """
    from panet.evaluate.coco import score
    from panet.evaluate.matches import match_masks
    from panet.predict.bundled import read_label_image

    assert picture.truth is not None
    truth, (height, width) = read_label_image(picture.truth)
    results = predictor.predict(picture.path, max_detections=_MAX_DETS).to_coco(image_id=1)
    category = predictor.label_map.category_ids[0]
    document = {
        "images": [{"id": 1, "height": height, "width": width}],
        "annotations": [{"image_id": 1, "category_id": category, "segmentation": mask} for mask in truth],
        "categories": [{"id": category, "name": predictor.names[0]}],
    }
    metrics = score(document, results, ("segm",), _MAX_DETS).metrics
    shown = [result["segmentation"] for result in results if result["score"] > _SHOWN_SCORE]
    matches = match_masks(truth, shown)
    return (
        f"{picture.path.name} has {len(truth)} true nuclei: {matches.found} found, {matches.missed} missed, "
        f"{matches.invented} invented (at IoU 0.5); mask AP {metrics['mask/AP']:.3f}, AP50 {metrics['mask/AP50']:.3f}"
    )
