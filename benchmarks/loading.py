"""How fast training pictures come, and what a worker process costs in memory.

    python benchmarks/loading.py [--pictures 20000] [--files 48] [--steps 200]

Pictures a second with 0, 1 and 2 workers: without a cache, while it is filled, and from it. Then the memory that only
one worker has (USS), when it has looked at every annotation once: above what it has for one picture's annotations. Kept
as Python objects, they are copied into each worker, by reference counts (fork) or by pickling (spawn).
"""

import argparse
import gc
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from panet.config import DataConfig, ModelConfig
from panet.data.annotations import ImageAnnotations
from panet.data.build import build_train_loader
from panet.data.coco import CocoDataset, read_coco
from panet.data.records import ImageRecord

OBJECTS_A_PICTURE = 10
WIDTH, HEIGHT = 640, 480
MODEL = ModelConfig(num_classes=1)
LOADING = DataConfig(short_sides=(800,), max_side=1333, batch_size=2)


class Annotations(NamedTuple):
    """Pictures and their objects, packed or as Python objects."""

    images: Sequence[ImageRecord]
    objects: Any


class Looking(Dataset[int]):
    """Looks at the record and the objects of a picture."""

    def __init__(self, annotations: Annotations) -> None:
        self.annotations = annotations

    def __len__(self) -> int:
        return len(self.annotations.images)

    def __getitem__(self, index: int) -> int:
        objects: ImageAnnotations = self.annotations.objects[index]
        shown = [str(self.annotations.images[index].path), *(rle["counts"] for rle in objects.masks)]
        return sum(map(len, shown)) + int(objects.labels.sum())


def write_pictures(folder: Path, suffix: str, num_pictures: int, num_files: int) -> CocoDataset:
    """Write a data set whose pictures share a few files, each picture with ten objects."""
    generator = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for number in range(num_files):
        coarse = Image.fromarray(generator.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)).astype(np.int16)
        grain = generator.integers(-6, 7, pixels.shape)
        picture = Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8))
        picture.save(folder / "images" / f"{number}{suffix}", quality=90)
    turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    rows = []
    for place in range(num_pictures * OBJECTS_A_PICTURE):
        x, y, radius = generator.uniform((60, 60, 10), (WIDTH - 60, HEIGHT - 60, 50))
        corners = np.stack([x + radius * np.cos(turns), y + radius * np.sin(turns)], axis=1).round(1)
        image_id = place // OBJECTS_A_PICTURE
        rows.append({"id": place, "image_id": image_id, "category_id": 1, "segmentation": [corners.ravel().tolist()]})
    images = [
        {"id": i, "file_name": f"{i % num_files}{suffix}", "height": HEIGHT, "width": WIDTH}
        for i in range(num_pictures)
    ]
    document = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "disc"}]}
    (folder / "train.json").write_text(json.dumps(document))
    return read_coco(folder / "train.json", folder / "images")


def pictures_a_second(dataset: CocoDataset, settings: DataConfig, steps: int) -> float:
    """Time the batches after the first few, which wait for the workers to start."""
    batches = iter(build_train_loader(dataset, settings, MODEL, seed=0, start_step=0, num_steps=steps))
    num_early = max(2, 4 * settings.workers)
    for _ in range(num_early):
        next(batches)
    start = time.perf_counter()
    num_pictures = sum(len(batch) for batch in batches)
    return num_pictures / (time.perf_counter() - start)


def own_megabytes(pid: int) -> float:
    """Give a process's USS: what it shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))) / 1024


def worker_megabytes(annotations: Annotations, method: str) -> float:
    """Give the mean USS of two workers that have looked at all annotations."""
    loader: DataLoader[int] = DataLoader(
        Looking(annotations), batch_size=64, num_workers=2, multiprocessing_context=method, persistent_workers=True
    )
    iterator: Any = iter(loader)
    for _ in iterator:
        pass
    return sum(own_megabytes(worker.pid) for worker in iterator._workers) / 2


def print_speed(folder: Path, num_files: int, steps: int) -> None:
    """Print a row a kind of file and number of workers."""
    print(f"pictures a second, {WIDTH} x {HEIGHT} px resized to 800, {steps} batches of {LOADING.batch_size}")
    print(f"{'':14} {'no cache':>10} {'filling':>10} {'from cache':>10}")
    for suffix in (".jpg", ".png"):
        dataset = write_pictures(folder / suffix[1:], suffix, num_files, num_files)
        for workers in (0, 1, 2):
            plain = LOADING.model_copy(update={"workers": workers})
            kept = plain.model_copy(update={"cache_dir": str(folder / f"cache{suffix}{workers}")})
            one_epoch = num_files // LOADING.batch_size
            speeds = [
                pictures_a_second(dataset, plain, steps),
                pictures_a_second(dataset, kept, one_epoch),
                pictures_a_second(dataset, kept, steps),
            ]
            print(f"{suffix[1:]}, {workers} workers " + " ".join(f"{speed:10.1f}" for speed in speeds), flush=True)


def print_memory(folder: Path, num_pictures: int, num_files: int) -> None:
    """Print a row a form of the annotations."""
    dataset = write_pictures(folder / "many", ".jpg", num_pictures, num_files)
    packed = Annotations(dataset.images, dataset.annotations)
    objects = Annotations(tuple(dataset.images), [dataset.annotations[i] for i in range(num_pictures)])
    least = Annotations(dataset.images[:1], [dataset.annotations[0]])
    gc.collect()
    print(f"\nMB a worker alone has, {dataset.annotations.num_objects} annotations of {num_pictures} pictures")
    print(f"{'':22} {'fork':>8} {'spawn':>8}")
    base = {method: worker_megabytes(least, method) for method in ("fork", "spawn")}
    print(f"{'of 1 picture':22} " + " ".join(f"{size:8.1f}" for size in base.values()), flush=True)
    for name, annotations in (("growth: as objects", objects), ("growth: packed", packed)):
        growth = [worker_megabytes(annotations, method) - base[method] for method in base]
        print(f"{name:22} " + " ".join(f"{size:8.1f}" for size in growth), flush=True)


def main() -> None:
    """Measure in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--files", type=int, default=48)
    parser.add_argument("--steps", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        print_speed(Path(folder), arguments.files, arguments.steps)
        print_memory(Path(folder), arguments.pictures, arguments.files)


if __name__ == "__main__":
    main()
