"""One large picture of many small ones: what tiled prediction finds in it, and the memory of `panet predict --tile`.

    python benchmarks/large_picture.py NUCLEI --side 12000 --tile 512 --scale 2

NUCLEI is a data set folder. Its validation pictures that are 256 px high are laid next to each other, as they are, over
and over; a model that enlarges them twice sees a tile at scale 2 as it sees them. Printed are the peak memory of the
command, and how many objects it found, beside what the same model finds in each small picture on its own: of all
objects, and of those that an edge of a tile cuts. The picture lies in a temporary folder and is removed.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hotcoco import mask as mask_ops
from numpy.typing import NDArray
from PIL import Image

import panet
from panet.data.coco import CocoDataset, read_coco
from panet.data.images import read_image
from panet.ops import rle
from panet.ops.tiles import Tile
from panet.predict.tiling import Tiling

HEIGHT = 256  # px, of the small pictures
FOUND = 0.5  # IoU

Box = tuple[int, int, int, int]


class Slot(NamedTuple):
    """Where a small picture lies in the large one."""

    top: int
    left: int
    image: int


class Tally(NamedTuple):
    """True objects and what became of them: found once, found more than once; the sum of the IoUs of those found."""

    total: int = 0
    once: int = 0
    more: int = 0
    iou: float = 0.0

    def plus(self, hits: Sequence[float]) -> "Tally":
        """Count one object more, with the IoUs of what hit it."""
        best = max(hits, default=0.0)
        return Tally(self.total + 1, self.once + (len(hits) == 1), self.more + (len(hits) > 1), self.iou + best)

    def __str__(self) -> str:
        found = self.once + self.more
        mean = self.iou / found if found else 0.0
        return f"{self.total:7}  found once {self.once:6}  more than once {self.more:4}  mean IoU {mean:.3f}"


def lay_pictures(sizes: Sequence[tuple[int, int]], side: int, seed: int) -> Iterator[Slot]:
    """Lay the pictures of the right height in random order, in rows, as long as a whole one fits."""
    usable = [index for index, (height, width) in enumerate(sizes) if height == HEIGHT and width <= side]
    draw = np.random.default_rng(seed)
    for top in range(0, side - HEIGHT + 1, HEIGHT):
        left = 0
        while True:
            index = int(draw.choice(usable))
            if left + sizes[index][1] > side:
                break
            yield Slot(top, left, index)
            left += sizes[index][1]


def write_picture(path: Path, dataset: CocoDataset, slots: Sequence[Slot], side: int) -> None:
    """Write the large picture; what is left over is black."""
    canvas = np.zeros((side, side, 3), dtype=np.uint8)
    for slot in slots:
        pixels = read_image(dataset.images[slot.image].path).permute(1, 2, 0).numpy()
        canvas[slot.top : slot.top + len(pixels), slot.left : slot.left + pixels.shape[1]] = pixels
    Image.fromarray(canvas).save(path, compress_level=1)


def predict_large(path: Path, output: Path, arguments: argparse.Namespace) -> tuple[list[rle.Rle], float, float]:
    """Run the command; give its masks, its seconds and the peak of its memory in GiB."""
    command = [sys.executable, "-m", "panet", "predict", arguments.model, str(path), "--output", str(output)]
    command += ["--tile", str(arguments.tile), "--overlap", str(arguments.overlap), "--score", str(arguments.score)]
    command += ["--precision", arguments.precision, "--device", "cpu"]
    command += [] if arguments.scale is None else ["--tile-scale", str(arguments.scale)]
    command += [] if arguments.max_dets is None else ["--max-dets", str(arguments.max_dets)]
    command += [] if arguments.overlay else ["--no-overlays"]
    print("$ panet " + " ".join(command[3:]), flush=True)
    start = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    annotations = json.loads((output / "results.json").read_text())["annotations"]
    return [each["segmentation"] for each in annotations], seconds, peak


def predict_small(dataset: CocoDataset, indices: set[int], arguments: argparse.Namespace) -> dict[int, list[rle.Rle]]:
    """Give the masks of each small picture on its own."""
    predictor = panet.load(arguments.model, device="cpu", precision=arguments.precision)
    found = {}
    for index in sorted(indices):
        result = predictor.predict(dataset.images[index].path, arguments.score, arguments.max_dets)
        found[index] = [] if result.masks is None else result.masks.to_rle()
    return found


def sort_by_slot(masks: Sequence[rle.Rle], slots: Sequence[Slot], widths: Sequence[int]) -> dict[Slot, list[int]]:
    """Give each slot the masks whose box's centre lies in it."""
    by_row: dict[int, list[Slot]] = {}
    for slot in slots:
        by_row.setdefault(slot.top, []).append(slot)
    edges = {top: [slot.left for slot in row] for top, row in by_row.items()}
    owned: dict[Slot, list[int]] = {slot: [] for slot in slots}
    for number, mask in enumerate(masks):
        x1, y1, x2, y2 = rle.to_box(mask)
        top = (y1 + y2) // 2 // HEIGHT * HEIGHT
        place = int(np.searchsorted(edges.get(top, []), (x1 + x2) // 2, side="right")) - 1
        if place >= 0 and (x1 + x2) // 2 < by_row[top][place].left + widths[by_row[top][place].image]:
            owned[by_row[top][place]].append(number)
    return owned


def cut_to_slot(mask: rle.Rle, slot: Slot, width: int) -> rle.Rle:
    """Give a mask of the large picture as one of the small one."""
    x1, y1, x2, y2 = rle.to_box(mask)
    x1, y1 = max(x1, slot.left), max(y1, slot.top)
    x2, y2 = min(x2, slot.left + width), min(y2, slot.top + HEIGHT)
    window = rle.decode_window(mask, x1, y1, (y2 - y1, x2 - x1))
    return rle.encode_window(window, x1 - slot.left, y1 - slot.top, (HEIGHT, width))


def overlaps(truth: Sequence[rle.Rle], found: Sequence[rle.Rle]) -> NDArray[np.float64]:
    """Give the IoU of each pair: (truth, found)."""
    if not truth or not found:
        return np.zeros((len(truth), len(found)))
    return np.array(mask_ops.iou([{**mask} for mask in truth], [{**mask} for mask in found], [0] * len(found)))


def on_seam(mask: rle.Rle, slot: Slot, tiles: Sequence[Tile], side: int) -> bool:
    """Tell whether an edge of a tile goes through an object."""
    x1, y1, x2, y2 = rle.to_box(mask)
    columns = {edge for tile in tiles for edge in (tile.left, tile.left + tile.width)} - {0, side}
    rows = {edge for tile in tiles for edge in (tile.top, tile.top + tile.height)} - {0, side}
    return any(x1 + slot.left < edge < x2 + slot.left for edge in columns) or any(
        y1 + slot.top < edge < y2 + slot.top for edge in rows
    )


def compare(
    title: str,
    truth: dict[int, list[rle.Rle]],
    found: dict[Slot, list[rle.Rle]],
    tiles: Sequence[Tile],
    side: int,
) -> None:
    """Print what became of the true objects of all slots."""
    everywhere, seams = Tally(), Tally()
    for slot, masks in found.items():
        for mask, row in zip(truth[slot.image], overlaps(truth[slot.image], masks), strict=True):
            hits = [float(iou) for iou in row if iou >= FOUND]
            everywhere = everywhere.plus(hits)
            seams = seams.plus(hits) if on_seam(mask, slot, tiles, side) else seams
    print(f"{title}\n  all objects      {everywhere}\n  cut by an edge   {seams}", flush=True)


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--side", type=int, default=12_000)
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--overlap", type=float, default=0.2)
    parser.add_argument("--scale", type=float)
    parser.add_argument("--max-dets", type=int)
    parser.add_argument("--score", type=float, default=0.5)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--format", default="png", help="of the large picture: png, tif")
    parser.add_argument("--overlay", action="store_true", help="let the command draw an overlay too")
    parser.add_argument("--keep", type=Path, help="a folder to work in, which stays")
    return parser.parse_args()


def main() -> None:
    """Make the picture, run the command, print the comparison."""
    arguments = read_arguments()
    dataset = read_coco(arguments.root / "val.json", arguments.root / "images")
    sizes = [(image.height, image.width) for image in dataset.images]
    side, widths = arguments.side, [width for _, width in sizes]
    slots = list(lay_pictures(sizes, side, seed=0))
    tiles = Tiling(arguments.tile, arguments.overlap).cut((side, side))
    print(f"{side} x {side} px: {len(slots)} pictures, {len(tiles)} tiles of {arguments.tile} px", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        path = folder / f"large.{arguments.format}"
        write_picture(path, dataset, slots, side)
        masks, seconds, peak = predict_large(path, folder / "found", arguments)
    print(f"{len(masks)} objects in {seconds:.0f} s; peak memory {peak:.2f} GiB", flush=True)
    alone = predict_small(dataset, {slot.image for slot in slots}, arguments)
    annotated = {index: list(dataset.annotations[index].masks) for index in alone}
    owned = sort_by_slot(masks, slots, widths)
    tiled = {slot: [cut_to_slot(masks[i], slot, widths[slot.image]) for i in owned[slot]] for slot in slots}
    print(f"found in the small pictures on their own: {sum(len(alone[slot.image]) for slot in slots)} objects")
    compare("tiled, against the small pictures on their own", alone, tiled, tiles, side)
    compare("tiled, against the annotations", annotated, tiled, tiles, side)
    untiled = {slot: alone[slot.image] for slot in slots}
    compare("small pictures on their own, against the annotations", annotated, untiled, tiles, side)


if __name__ == "__main__":
    main()
