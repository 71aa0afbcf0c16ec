"""Whatever a file holds, a reader gives a data set or a DataError of one line."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from panet.data.formats.reading import read_part
from panet.data.formats.source import find_source
from panet.errors import PANetError

many = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
NUMBER = st.floats(width=16) | st.integers(-9, 20) | st.floats()
SHAPE = st.fixed_dictionaries(
    {},
    optional={
        "label": st.sampled_from(["a", "b", ""]) | JSON,
        "points": st.lists(st.lists(NUMBER, min_size=2, max_size=2), max_size=6) | JSON,
        "group_id": st.none() | st.integers(0, 2) | JSON,
        "shape_type": st.sampled_from(["polygon", "rectangle", "circle", "mask", "line", None]) | JSON,
        "mask": st.text("ABCD=+/", max_size=12) | JSON,
    },
)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


PICTURE = png(np.full((8, 10), 90, dtype=np.uint8))
LABELS = png((np.arange(80).reshape(8, 10) // 20).astype(np.uint16))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("images", "labels", "masks", "train"):
        (tmp_path / name).mkdir()
    (tmp_path / "images" / "a.png").write_bytes(PICTURE)
    (tmp_path / "train" / "a.png").write_bytes(PICTURE)
    return tmp_path


def check(root: Path, kind: str) -> None:
    message = ""
    try:
        source = find_source(root, kind)
        part = source.train or source.val
        if part is not None:
            read_part(part)
    except PANetError as error:
        message = str(error)
    assert message == "" or message.isprintable()


@many
@given(st.binary(max_size=80) | st.text("0123456789. -+enaif\n\t", max_size=80).map(str.encode))
def test_any_label_file_of_yolo(root: Path, content: bytes) -> None:
    (root / "data.yaml").write_bytes(b"names: [a]\ntrain: images\n")
    (root / "labels" / "a.txt").write_bytes(content)
    check(root, "yolo")


@many
@given(st.binary(max_size=80) | st.text("names:train[]{},0 -'\"\n&*!|>./\\", max_size=60).map(str.encode))
@example(b"[" * 3000)
@example(b"? [a]\n: b")
@example(b"*")
@example(b"--- a\n--- b")
@example(b"!!python/object/apply:os.system [ls]")
def test_any_yaml_of_yolo(root: Path, content: bytes) -> None:
    (root / "data.yaml").write_bytes(b"names: [a]\ntrain: images\nval: images\n" + content)
    check(root, "yolo")


@many
@given(st.lists(SHAPE | JSON, max_size=4), st.dictionaries(st.sampled_from(["imagePath", "imageHeight", "x"]), JSON))
def test_any_shapes_of_labelme(root: Path, shapes: list[object], more: dict[str, object]) -> None:
    document = {"shapes": shapes, "imagePath": "a.png", **more}
    (root / "train" / "a.json").write_text(json.dumps(document))
    check(root, "labelme")


@many
@given(JSON)
def test_any_configuration_of_mapillary(root: Path, document: object) -> None:
    for folder in ("training/images", "training/v2.0/instances"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "training" / "images" / "a.png").write_bytes(PICTURE)
    (root / "training" / "v2.0" / "instances" / "a.png").write_bytes(LABELS)
    (root / "config_v2.0.json").write_text(json.dumps({"labels": document}))
    check(root, "mapillary")


@many
@given(st.lists(st.tuples(st.integers(0, len(LABELS) - 1), st.integers(0, 255)), min_size=1, max_size=4), st.booleans())
def test_any_bytes_of_a_label_map(root: Path, changes: list[tuple[int, int]], cut: bool) -> None:
    content = bytearray(LABELS)
    for place, value in changes:
        content[place] = value
    (root / "masks" / "a.png").write_bytes(content[: changes[0][0]] if cut else content)
    check(root, "masks")


@many
@given(st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=30))
def test_any_lists_of_voc(root: Path, content: bytes) -> None:
    for folder in ("ImageSets/Segmentation", "JPEGImages", "SegmentationObject", "SegmentationClass"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "JPEGImages" / "a.png").write_bytes(PICTURE)
    (root / "ImageSets" / "Segmentation" / "train.txt").write_bytes(b"a\n" + content)
    (root / "labelmap.txt").write_bytes(b"background:0,0,0::\n" + content)
    check(root, "voc")
