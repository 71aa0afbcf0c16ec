"""Pictures kept on disk: the same bits, whatever happens to the files."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image

from panet.data.cache import PictureCache
from panet.data.coco import read_coco
from panet.data.dataset import SampleDataset, read_record
from panet.data.records import ImageRecord
from panet.data.transforms import RandomCrop, ResizeShortSide, ScaleJitter
from panet.errors import ConfigError, DataError

SIZE = (6, 9)
ENTRY = 20 + 6 * 9 * 3


@pytest.fixture
def record(tmp_path):
    path = tmp_path / "images" / "a.png"
    path.parent.mkdir()
    write_picture(path, seed=0)
    return ImageRecord(1, "a.png", path, *SIZE)


def write_picture(path, seed):
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(path)


def cache_in(tmp_path, max_bytes=10**6, num_workers=0):
    return PictureCache(tmp_path / "cache", max_bytes, num_workers)


def entries(tmp_path):
    return sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file())


def load(cache, record, size=SIZE):
    """Give the picture, and whether it was made."""
    made = []
    pixels = cache.load(record, size, lambda: made.append(1) or read_record(record))
    assert pixels.permute(1, 2, 0).is_contiguous()
    assert torch.equal(pixels, read_record(record))
    return bool(made)


def test_an_empty_cache_makes_its_folder_and_nothing_else(tmp_path):
    PictureCache(tmp_path / "deep" / "cache", 1000, 2)
    assert list((tmp_path / "deep" / "cache").iterdir()) == []


def test_a_picture_is_made_once_and_read_by_later_runs(tmp_path, record):
    assert load(cache_in(tmp_path), record)
    assert not load(cache_in(tmp_path), record)
    assert [path.stat().st_size for path in entries(tmp_path)] == [ENTRY]


def test_a_kept_picture_can_be_written_to(tmp_path, record):
    load(cache_in(tmp_path), record)
    cache_in(tmp_path).load(record, SIZE, lambda: None).zero_()
    assert not load(cache_in(tmp_path), record)


@pytest.mark.parametrize("change", ["pixels", "time", "stated_size", "made_size", "path", "versions"])
def test_what_decides_the_pixels_makes_another_entry(tmp_path, record, change, monkeypatch):
    cache = cache_in(tmp_path)
    before = cache._path(record, SIZE)
    size, other = SIZE, record
    if change == "pixels":
        status = record.path.stat()
        Image.fromarray(np.zeros((*SIZE, 3), dtype=np.uint8)).save(record.path)
        os.utime(record.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "time":
        os.utime(record.path, ns=(1, 1))
    elif change == "stated_size":
        other = ImageRecord(1, "a.png", record.path, *reversed(SIZE))
    elif change == "made_size":
        size = (12, 18)
    elif change == "path":
        other = ImageRecord(1, "b.png", record.path.rename(record.path.with_name("b.png")), *SIZE)
    else:
        monkeypatch.setattr("panet.data.cache._MAKERS", "another Pillow")
    assert cache._path(other, size) not in (before, None)
    assert cache._path(other, size) == cache_in(tmp_path)._path(other, size)


DAMAGES = {
    "empty": lambda content: b"",
    "cut": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "flipped_pixel_bit": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "flipped_header_bit": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "another_shape": lambda content: content[:8] + content[12:16] + content[8:12] + content[16:],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_made_and_written_again_with_a_warning(tmp_path, record, damage):
    load(cache_in(tmp_path), record)
    [path] = entries(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    with pytest.warns(UserWarning, match=f"{path.name}: is damaged; made and written again"):
        assert load(cache_in(tmp_path), record)
    assert path.read_bytes() == whole
    assert not load(cache_in(tmp_path), record)


def test_an_entry_that_cannot_be_read_is_made_again_with_a_warning(tmp_path, record):
    cache = cache_in(tmp_path)
    cache._path(record, SIZE).mkdir(parents=True)
    with pytest.warns(UserWarning, match="cannot be") as told:
        assert load(cache, record)
    assert [str(each.message).partition(": ")[2] for each in told] == [
        "cannot be read (Is a directory); made again",
        "cannot be written (Is a directory); no more pictures are kept there",
    ]
    assert [path for path in entries(tmp_path) if path.suffix == ".part"] == []


def test_a_full_disk_is_told_once_and_stops_nothing(tmp_path, record, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    cache = cache_in(tmp_path)
    with pytest.warns(UserWarning, match=r"cache: cannot be written \(No space left on device\); no more") as told:
        assert [load(cache, record) for _ in range(3)] == [True] * 3
    assert len(told) == 1
    assert entries(tmp_path) == []


def test_the_limit_is_for_all_files_of_earlier_runs_and_other_processes_too(tmp_path, record):
    write_picture(record.path.with_name("b.png"), seed=1)
    other = ImageRecord(2, "b.png", record.path.with_name("b.png"), *SIZE)
    assert load(cache_in(tmp_path, ENTRY - 1), record)
    assert entries(tmp_path) == []
    first = cache_in(tmp_path, 2 * ENTRY - 1, num_workers=2)
    load(first, record)
    for cache in (first, cache_in(tmp_path, 2 * ENTRY - 1)):
        assert load(cache, other)
        assert not load(cache, record)
    assert len(entries(tmp_path)) == 1
    first._num_bytes[2] += ENTRY  # as another process would
    first._max_bytes = 3 * ENTRY - 1
    assert load(first, other)
    assert len(entries(tmp_path)) == 1
    first._max_bytes = 3 * ENTRY
    load(first, other)
    assert len(entries(tmp_path)) == 2


def test_writing_an_entry_again_counts_it_once(tmp_path, record):
    cache = cache_in(tmp_path)
    load(cache, record)
    [path] = entries(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.warns(UserWarning, match="is damaged"):
        load(cache, record)
    assert int(cache._num_bytes.sum()) == ENTRY


def test_a_picture_that_is_gone_is_named_and_one_that_changed_is_read_anew(tmp_path, record):
    cache = cache_in(tmp_path)
    load(cache, record)
    write_picture(record.path, seed=1)
    os.utime(record.path, ns=(1, 1))
    assert load(cache, record)
    record.path.unlink()
    with pytest.raises(DataError, match=r"a\.png: no such file"):
        load(cache, record)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(ConfigError, match=r"data\.cache_dir: .*cache cannot be made \(File exists\)"):
        cache_in(tmp_path)


@pytest.mark.parametrize(
    ("view_rule", "num_entries"),
    [
        (ResizeShortSide((10, 24), 40), 4),
        (ResizeShortSide((24,), 40, "legacy"), 2),
        (ResizeShortSide((24,), 40, "torchvision"), 2),
        (RandomCrop((8, 8)), 2),
        (ScaleJitter(ResizeShortSide((24,), 40), (0.5, 2.0), (40, 40)), 2),
    ],
    ids=["resized", "legacy", "late", "crop", "jitter"],
)
def test_samples_are_the_same_bits_with_and_without(tmp_path, view_rule, num_entries):
    (tmp_path / "images").mkdir()
    for name, size in (("a.jpg", (16, 20)), ("b.png", (21, 15))):
        pixels = np.random.default_rng(len(name)).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / name)
    rows = [{"id": i, "file_name": name} for i, name in enumerate(("a.jpg", "b.png"))]
    document = {"images": rows, "annotations": [], "categories": [{"id": 1, "name": "cell"}]}
    (tmp_path / "train.json").write_text(json.dumps(document))
    dataset = read_coco(tmp_path / "train.json", tmp_path / "images")
    plain = SampleDataset(dataset, view_rule, [], 0)
    for _ in range(2):
        kept = SampleDataset(dataset, view_rule, [], 0, cache_in(tmp_path))
        for key in ((epoch, index) for epoch in range(6) for index in range(2)):
            image, same = plain[key].image, kept[key].image
            assert torch.equal(image, same)
            assert image.stride() == same.stride()
    assert len(entries(tmp_path)) == num_entries
