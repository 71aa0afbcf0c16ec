"""COCO's own evaluation test and random cases: panet's figures beside COCO's printed ones and pycocotools'.

    python benchmarks/evaluator_parity.py COCO_EVAL --cases 200

COCO_EVAL is a folder with instances_val2014_100.json, instances_val2014_fake{bbox,segm}100_results.json and
val2014_fake_eval_res.txt of cocoapi's test.
"""

import argparse
import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from panet.evaluate.coco import KINDS, match, score
from panet.ops import rle

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR", "ARs", "ARm", "ARl")  # in COCO's order
SIZE = (120, 150)  # of the random pictures, px


def evaluate_by_pycocotools(truth: dict[str, Any], results: list[dict[str, Any]], kind: str) -> Any:
    """Give pycocotools' evaluator after its summary."""
    with contextlib.redirect_stdout(io.StringIO()):
        annotations = COCO()
        annotations.dataset = truth
        annotations.createIndex()
        evaluation = COCOeval(annotations, annotations.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def figures(truth: dict[str, Any], results: list[dict[str, Any]], kind: str) -> list[float]:
    """Give panet's 12 figures in COCO's order."""
    metrics = score(truth, results, (kind,)).metrics
    return [metrics[f"{KINDS[kind]}/{name}"] for name in NAMES]


def print_own_test(folder: Path) -> None:
    """Print COCO's 24 figures three times over."""
    printed = re.findall(r"= (\d\.\d{3})$", (folder / "val2014_fake_eval_res.txt").read_text(), re.MULTILINE)
    truth = json.loads((folder / "instances_val2014_100.json").read_text())
    print(f"{'':12}  printed  panet                 pycocotools")
    for part, kind in enumerate(("segm", "bbox")):
        results = json.loads((folder / f"instances_val2014_fake{kind}100_results.json").read_text())
        theirs = evaluate_by_pycocotools(truth, results, kind).stats
        for name, told, ours, reference in zip(
            NAMES, printed[12 * part :], figures(truth, results, kind), theirs, strict=False
        ):
            same = "equal" if f"{ours:.3f}" == told and ours == reference else "DIFFERENT"
            print(f"{KINDS[kind]:5}{name:7}  {told}    {ours:<20.17f}  {reference:<20.17f}  {same}")


def make_objects(draw: np.random.Generator, count: int) -> list[dict[str, Any]]:
    """Rectangles without a corner, in 3 pictures and 3 classes."""
    objects = []
    for number in range(1, count + 1):
        height, width = (int(side) for side in draw.integers(4, 100, 2))
        left, top = int(draw.integers(0, SIZE[1] - width)), int(draw.integers(0, SIZE[0] - height))
        mask = np.ones((height, width), dtype=bool)
        mask[height // 2 :, width // 2 :] = False
        segmentation = rle.encode_window(mask, left, top, SIZE)
        image, category = (int(number) for number in draw.integers(1, 4, 2))
        box = [left, top, width, height]
        objects.append(
            {"id": number, "image_id": image, "category_id": category, "bbox": box, "segmentation": segmentation}
        )
    return objects


def make_case(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Up to 40 objects, some of them crowds; results: most of them moved a little, and others; no two of one score."""
    draw = np.random.default_rng(seed)
    truth = make_objects(draw, int(draw.integers(0, 41)))
    results = [dict(each) for each in truth if draw.random() < 0.7] + make_objects(draw, int(draw.integers(1, 61)))
    for result, rank in zip(results, draw.permutation(len(results)), strict=True):
        x, y, width, height = result["bbox"]
        result["bbox"] = [float(x + draw.normal()), float(y + draw.normal()), width, height]
        result["score"] = (1 + int(rank)) / (1 + len(results))
    for annotation in truth:
        annotation.update(iscrowd=int(draw.random() < 0.15), area=rle.area(annotation["segmentation"]))
    images = [{"id": number, "height": SIZE[0], "width": SIZE[1]} for number in (1, 2, 3)]
    categories = [{"id": number, "name": f"class {number}"} for number in (1, 2, 3)]
    return {"images": images, "annotations": truth, "categories": categories}, results


def count_equal(num_cases: int, kind: str) -> int:
    """Count the cases in which the figures and all tables are those of pycocotools, bit for bit."""
    num_equal = 0
    key = {"bbox": "bbox", "segm": "segmentation"}[kind]
    for seed in range(num_cases):
        truth, results = make_case(seed)
        results = [{name: each[name] for name in ("image_id", "category_id", "score", key)} for each in results]
        reference = evaluate_by_pycocotools(truth, results, kind)
        evaluator, _ = match(truth, results, kind, [1, 10, 100])
        evaluator.accumulate()
        tables = evaluator.eval
        assert tables is not None
        same = all(np.array_equal(tables[name], reference.eval[name]) for name in ("precision", "recall", "scores"))
        num_equal += same and np.array_equal(np.nan_to_num(figures(truth, results, kind), nan=-1), reference.stats)
    return num_equal


def main() -> None:
    """Print the table and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=200)
    arguments = parser.parse_args()
    print_own_test(arguments.folder)
    for kind in KINDS:
        print(
            f"{KINDS[kind]}: {count_equal(arguments.cases, kind)} of {arguments.cases} random cases equal bit for bit"
        )


if __name__ == "__main__":
    main()
