"""The compiled kernels side by side with torchvision and pycocotools: times, ratios, and how exact the masks are.

    python benchmarks/native.py [--rounds 5] [--threads 2]

Each round runs every way once, in turns and after a pause, so that other work on the machine meets all of them
alike; a ratio is the median of the rounds' ratios. The processor's time is that of all threads; torchvision's
`roi_align` uses one. The pyramid is that of an 800 x 1333 px picture, with 256 channels.
Wanted: 9 times as fast forward, 25 times backward, 30 times for masks, and masks no less exact.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import roi_align

from panet.ops import native
from panet.ops.paste import masks_to_rle
from panet.ops.rle import decode
from panet.ops.roi_align import pool_all_levels

HEIGHT, WIDTH, CHANNELS, SAMPLES = 800, 1333, 256, 2
LEVELS = (2, 3, 4, 5)
Pyramid = dict[int, Tensor]
Way = Callable[[], object]
Plane = NDArray[np.bool_]


def make_boxes(count: int, generator: torch.Generator) -> Tensor:
    """Give (count, 4) boxes of 16 to 400 px a side, every scale alike, clipped to the picture."""
    side = torch.exp(torch.rand(count, generator=generator) * np.log(25.0)) * 16
    shape = torch.exp(torch.rand(count, generator=generator) * 1.4 - 0.7)
    half = torch.stack((side * shape, side / shape), dim=1) / 2
    frame = torch.tensor([WIDTH, HEIGHT], dtype=torch.float32)
    centre = torch.rand(count, 2, generator=generator) * frame
    return torch.cat(((centre - half).clamp(min=0), (centre + half).minimum(frame)), dim=1)


def compare(title: str, ways: dict[str, Way], rounds: int, wanted: float | None) -> None:
    """Print a line for each way; ratios are those of the first way's time to its own."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    worked: dict[str, list[float]] = {name: [] for name in ways}  # on all cores
    order = list(ways.items())
    for i in range(rounds + 1):
        for name, way in order[i % len(order) :] + order[: i % len(order)]:
            time.sleep(0.1)
            start, start_of_work = time.perf_counter(), time.process_time()
            way()
            if i:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
                worked[name].append(time.process_time() - start_of_work)
    first = next(iter(ways))
    print(f"\n{title}{f' (wanted: {wanted:.0f} times)' if wanted else ''}")
    for name, times in seconds.items():
        ratios = sorted(a / b for a, b in zip(seconds[first], times, strict=True))
        spread = f"{statistics.median(ratios):7.1f} times as fast ({ratios[0]:.1f} to {ratios[-1]:.1f})"
        print(f"  {name:40} {statistics.median(times) * 1e3:8.1f} ms {spread}", end="")
        print(f", {statistics.median(worked[name]) * 1e3:8.1f} ms of processor")


def torchvisions(n: Pyramid, boxes: list[Tensor], size: int) -> list[Tensor]:
    """Pool by four calls of torchvision."""
    return [roi_align(x, boxes, size, 2.0**-k, SAMPLES) for k, x in n.items()]


def compiled(n: Pyramid, boxes: list[Tensor], size: int) -> list[Tensor]:
    """Pool by one call of the compiled kernel."""
    return list(pool_all_levels(n, boxes, size, SAMPLES).values())


def compare_pooling(generator: torch.Generator, rounds: int) -> None:
    """Pool 1000 RoIs forward and backward, then 100 as for masks."""
    sizes = {k: (-(-HEIGHT // 2**k), -(-WIDTH // 2**k)) for k in LEVELS}
    n = {k: torch.randn(1, CHANNELS, *size, generator=generator) for k, size in sizes.items()}
    turned = {k: x.contiguous(memory_format=torch.channels_last) for k, x in n.items()}
    pools = {
        "torchvision.ops.roi_align, four calls": (torchvisions, n),
        "native, channels_last": (compiled, turned),
        "native, NCHW (copied first)": (compiled, n),
        "native, channels_last, bfloat16": (compiled, {k: x.bfloat16() for k, x in turned.items()}),
    }
    for count, size, wanted in ((1000, 7, (9, 25)), (100, 14, (None, None))):
        boxes = [make_boxes(count, generator)]
        pairs = zip(torchvisions(n, boxes, size), compiled(turned, boxes, size), strict=True)
        worst = max(float((a - b).abs().max()) for a, b in pairs)
        title = f"{count} RoIs, {size} x {size}, {CHANNELS} channels, four levels"
        forward: dict[str, Way] = {name: partial(pool, x, boxes, size) for name, (pool, x) in pools.items()}
        compare(f"forward: {title}; largest difference {worst:.1e}", forward, rounds, wanted[0])
        backward = {name: backward_of(pool, x, boxes, size) for name, (pool, x) in pools.items()}
        compare(f"backward: {title}", backward, rounds, wanted[1])


def backward_of(pool: Callable[..., list[Tensor]], n: Pyramid, boxes: list[Tensor], size: int) -> Way:
    """Give what computes the features' gradients; those of the grids lie in the features' memory format."""
    features = {k: x.detach().requires_grad_() for k, x in n.items()}
    turned = all(x.is_contiguous(memory_format=torch.channels_last) for x in n.values())
    layout = torch.channels_last if turned else torch.contiguous_format
    grids = pool(features, boxes, size)
    weights = [torch.randn(grid.shape).to(grid.dtype).contiguous(memory_format=layout) for grid in grids]
    return lambda: torch.autograd.grad(grids, list(features.values()), weights, retain_graph=True)


def compare_masks(generator: torch.Generator, rounds: int) -> None:
    """Paste 100 masks as RLE; compare each with an exact reading of its grid."""
    boxes = make_boxes(100, generator)
    coarse = torch.randn(100, 1, 5, 5, generator=generator)
    grids = torch.nn.functional.interpolate(coarse, size=(28, 28), mode="bicubic")[:, 0].mul(4).add(1).sigmoid()

    def theirs() -> list[dict[str, object]]:
        masks = (paste_masks_in_image(grids[:, None], boxes, (HEIGHT, WIDTH))[:, 0] >= 0.5).to(torch.uint8)
        return [coco_mask.encode(np.asfortranarray(mask.numpy())) for mask in masks]

    ways: dict[str, Way] = {
        "torchvision's paste, pycocotools' encode": theirs,
        "native, straight to RLE": lambda: masks_to_rle(grids, boxes, (HEIGHT, WIDTH)),
    }
    compare(f"masks: 100 of 28 x 28 to COCO RLE in {HEIGHT} x {WIDTH}", ways, rounds, 30)
    ours = [decode(dict(mask)) for mask in masks_to_rle(grids, boxes, (HEIGHT, WIDTH))]
    for name, subsamples in (("at pixel centres", 1), ("by area, 8 x 8 points a pixel", 8)):
        exact = [resample(grid, box, subsamples) for grid, box in zip(grids, boxes, strict=True)]
        of_ours = [overlap(a, b) for a, b in zip(ours, exact, strict=True)]
        of_theirs = [overlap(coco_mask.decode(a).astype(bool), b) for a, b in zip(theirs(), exact, strict=True)]
        print(
            f"  IoU with the exact mask {name}: native {np.mean(of_ours):.5f} (least {min(of_ours):.4f}), "
            f"torchvision {np.mean(of_theirs):.5f} (least {min(of_theirs):.4f})"
        )


def resample(grid: Tensor, box: Tensor, subsamples: int) -> Plane:
    """Evaluate the grid's bilinear interpolant in float64 at points of each pixel; half of them must be in the mask.

    The grid spans the box, a value at the centre of each cell, constant beyond the outer ones and 0 outside the box.
    """
    values, (x1, y1, x2, y2) = grid.double().numpy(), (float(side) for side in box)
    num_cells = len(values)
    cells = np.arange(num_cells)

    def read(start: float, stop: float, limit: int) -> NDArray[np.float64]:
        points = (np.arange(limit * subsamples) + 0.5) / subsamples
        at = np.clip((points - start) / (stop - start) * num_cells - 0.5, 0, num_cells - 1)
        weights: NDArray[np.float64] = np.maximum(1 - np.abs(at[:, None] - cells), 0)
        return np.where(((points >= start) & (points < stop))[:, None], weights, 0.0)

    left, top = max(0, int(x1) - 1), max(0, int(y1) - 1)
    right, bottom = min(WIDTH, int(x2) + 2), min(HEIGHT, int(y2) + 2)
    down, across = read(y1 - top, y2 - top, bottom - top), read(x1 - left, x2 - left, right - left)
    inside = down @ values @ across.T >= 0.5
    share = inside.reshape(bottom - top, subsamples, right - left, subsamples).mean(axis=(1, 3))
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top:bottom, left:right] = share >= 0.5
    return mask


def overlap(a: Plane, b: Plane) -> float:
    """Give the IoU of two masks; 1 for two empty ones."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def main() -> None:
    """Print all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    if native.LIBRARY is None:
        raise SystemExit(f"there is nothing to measure: {native.PROBLEM}")
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads, {native.vectors()}, {arguments.rounds} rounds")
    generator = torch.Generator().manual_seed(0)
    compare_pooling(generator, arguments.rounds)
    compare_masks(generator, arguments.rounds)


if __name__ == "__main__":
    main()
