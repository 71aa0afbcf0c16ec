"""Hostile values, hundreds in one process: run by test_hostile with a limit of memory, `python hostile.py KIND NUMBER`.

Whatever comes, it is refused by name or gives something sound. A signal, another exception, more than 10 s for one
value, or 1 GB more than the libraries themselves take, ends the process with another code than 0.
"""

import contextlib
import json
import math
import os
import resource
import signal
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panet.data.coco import read_coco
from panet.data.dataset import SampleDataset
from panet.data.problems import BadDataError, RowError
from panet.data.segmentation import read_segmentation
from panet.data.transforms import ResizeShortSide

sys.path.insert(0, str(Path(__file__).parents[1]))
from battery import annotations, pictures
from battery.workbench import DOCUMENT, HEIGHT, WIDTH, Bench

GIGABYTE = 1 << 30
ODD = [math.nan, math.inf, -math.inf, 1e12, -1e12, 1e300, 1e-300, 10**40, -(2**63), 2**64, 0, -0.0, None, True, "", "1"]

near = st.integers(-5, 40) | st.floats(-5, 40)
number = near | near | near | st.floats() | st.integers() | st.sampled_from(ODD)
word = st.text(max_size=20) | st.sampled_from(["\ud800", "\0", "../../etc/passwd", "\x1b[2J", "<script>", "{}"])
leaf = number | word | st.binary(max_size=4).map(lambda content: content.decode("latin-1"))
value = st.recursive(leaf, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(word, inner, max_size=4))
polygon = st.lists(number, max_size=24) | st.lists(near, min_size=6, max_size=24)
size = st.just([HEIGHT, WIDTH]) | st.lists(number, max_size=3) | value
codes = st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=60) | st.text(max_size=20)
run = st.integers(-2, 900) | number
rle = st.fixed_dictionaries({}, optional={"size": size, "counts": codes | st.lists(run, max_size=20) | value})
segmentation = st.lists(polygon, max_size=4) | rle | st.lists(polygon | rle | value, max_size=3) | value
name = st.text(max_size=40) | st.lists(
    st.sampled_from(
        ["..", "/", "a.png", "\\", "\0", "~", "b.png", "C:", "http://x", "\n", ".", "\ud800", "é", "*", "x" * 300]
    ),
    max_size=6,
).map("".join)


def segmentations(form):
    try:
        positions = read_segmentation(form, (HEIGHT, WIDTH))
    except RowError:
        return
    assert len(positions) % 2 == 0
    assert (np.diff(positions) > 0).all()
    assert not len(positions) or 0 <= positions[0] <= positions[-1] <= HEIGHT * WIDTH


def rows(spoilt):
    """Put values in the place of a key, a row, a list or the whole document."""
    key, place, entry, new = spoilt
    document = json.loads(json.dumps(DOCUMENT))
    if key is None:
        document = new
    elif place is None:
        document[key] = new
    elif entry is None:
        document[key][place % len(document[key])] = new
    else:
        document[key][place % len(document[key])][entry] = new
    read(lambda bench: setattr(bench, "document", document))


def names(file_name):
    read(lambda bench: bench.document["images"][0].update(file_name=file_name))


def read(spoil):
    BENCH.document = json.loads(json.dumps(DOCUMENT))
    spoil(BENCH)
    before = sorted(os.listdir(BENCH.images))
    BENCH.write()
    for on_bad_data in ("strict", "skip"):
        dataset, problems = None, ()
        try:
            dataset = read_coco(BENCH.json, BENCH.images, on_bad_data)
        except BadDataError as error:
            problems = error.problems
        assert all(str(problem).isprintable() for problem in problems), problems
        if dataset is None:
            continue
        samples = SampleDataset(dataset, ResizeShortSide((16,), 100), [], seed=0)
        for index in range(len(dataset)):
            assert len(samples[0, index].labels) <= len(dataset.annotations[index])
        json.dumps([problem.to_document() for problem in dataset.problems])
    assert sorted(os.listdir(BENCH.images)) == before


KEYS = {
    "images": ["id", "file_name", "width", "height"],
    "annotations": ["id", "image_id", "category_id", "iscrowd", "area", "bbox", "segmentation"],
    "categories": ["id", "name"],
}
place = st.integers(0, 5)
spots = [st.tuples(st.none(), st.none(), st.none(), value)]
for key, entries in KEYS.items():
    spots.append(st.tuples(st.just(key), st.none() | place, st.none(), value))
    spots += [st.tuples(st.just(key), place, st.sampled_from(entries), leaf | value) for _ in range(3)]
spots.append(st.tuples(st.just("annotations"), place, st.just("segmentation"), segmentation))
KINDS = {"segmentations": (segmentations, segmentation), "rows": (rows, st.one_of(spots)), "names": (names, name)}


def run_cases(folder):
    """Read every case of the battery in both modes; give how many there are."""
    cases = pictures.CASES + annotations.CASES
    for number, case in enumerate(cases):
        (folder / str(number)).mkdir()
        bench = Bench(folder / str(number))
        case.spoil(bench)
        bench.write()
        for on_bad_data in ("strict", "skip"):
            signal.alarm(10)
            with contextlib.suppress(BadDataError):
                read_coco(bench.json, bench.images, on_bad_data, decode=True)
            signal.alarm(0)
    return len(cases)


def run_examples(kind, num_examples):
    """Try values of a kind; give how many were tried."""
    check, strategy = KINDS[kind]
    num_tried = 0

    def timed(example):
        nonlocal num_tried
        signal.alarm(10)
        check(example)
        signal.alarm(0)
        num_tried += 1

    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    plan = settings(
        max_examples=num_examples, derandomize=True, deadline=None, database=None, suppress_health_check=quiet
    )
    plan(given(strategy)(timed))()
    return num_tried


if __name__ == "__main__":
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + GIGABYTE, used + GIGABYTE))
        BENCH = Bench(Path(folder))
        kind, number = sys.argv[1], int(sys.argv[2])
        tried = run_cases(Path(folder)) if kind == "cases" else run_examples(kind, number)
        sys.stdout.write(f"{tried} {kind}\n")
