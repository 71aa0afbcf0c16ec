"""Windows of a picture are the parts of the whole picture, however it is stored."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from panet.data.images import read_image
from panet.data.windows import open_windows
from panet.errors import DataError
from panet.ops.tiles import Tile

WINDOWS = (Tile(0, 0, 1, 1), Tile(3, 5, 20, 17), Tile(10, 0, 30, 50), Tile(0, 0, 40, 50), Tile(39, 49, 1, 1))


def noise(height: int = 40, width: int = 50, depth: tuple[int, ...] = (3,), most: int = 256) -> Any:
    draw = np.random.default_rng(0)
    return draw.integers(0, most, (height, width, *depth), dtype=np.uint16 if most > 256 else np.uint8)


def assert_same_parts(source: Any, whole: torch.Tensor) -> None:
    with open_windows(source) as picture:
        assert picture.size == tuple(whole.shape[1:])
        for window in WINDOWS:
            x1, y1, x2, y2 = window.box
            part = picture.read(window)
            assert part.dtype == torch.uint8
            assert torch.equal(part, whole[:, y1:y2, x1:x2]), window


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("a.png", "RGB", {}),
        ("a.png", "L", {}),
        ("a.png", "1", {}),
        ("a.png", "P", {}),
        ("a.png", "RGBA", {}),
        ("a.jpg", "CMYK", {}),
        ("a.bmp", "RGB", {}),
        ("a.bmp", "L", {}),
        ("a.bmp", "P", {}),
        ("a.bmp", "1", {}),
        ("a.tif", "RGB", {}),
        ("a.tif", "L", {}),
        ("a.tif", "RGBA", {}),
        ("a.tif", "RGB", {"compression": "tiff_lzw"}),
        ("a.tif", "RGB", {"tiffinfo": {278: 7}}),  # rows a strip
        ("a.webp", "RGB", {"lossless": True}),
    ],
)
def test_windows_of_a_file_are_parts_of_it(tmp_path: Path, name: str, mode: str, options: dict[str, Any]) -> None:
    Image.fromarray(noise()).convert(mode).save(tmp_path / name, **options)
    assert_same_parts(tmp_path / name, read_image(tmp_path / name))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_window_is_upright(tmp_path: Path, name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    shape = (50, 40) if orientation > 4 else (40, 50)
    Image.fromarray(noise(*shape)).save(tmp_path / name, exif=exif)
    whole = read_image(tmp_path / name)
    assert whole.shape == (3, 40, 50)
    assert_same_parts(tmp_path / name, whole)


@pytest.mark.parametrize("most", [256, 5000])
def test_deep_pixels_are_stretched_by_the_whole_pictures_range(tmp_path: Path, most: int) -> None:
    Image.fromarray(noise(300, 50, (), most).astype(np.uint16)).save(tmp_path / "a.tif")
    assert_same_parts(tmp_path / "a.tif", read_image(tmp_path / "a.tif"))


def test_an_array_and_an_opened_picture_have_windows(tmp_path: Path) -> None:
    pixels = noise()
    whole = torch.from_numpy(pixels).permute(2, 0, 1)
    assert_same_parts(pixels, whole)
    assert_same_parts(Image.fromarray(pixels), whole)
    mapped = np.memmap(tmp_path / "a.bin", dtype=np.uint8, mode="w+", shape=pixels.shape)
    mapped[:] = pixels
    assert_same_parts(mapped, whole)
    palette = Image.fromarray(pixels).convert("P")
    palette.info["transparency"] = bytes(range(8))
    palette.save(tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as image:
        assert_same_parts(image, read_image(tmp_path / "p.png"))


def test_a_window_is_a_copy() -> None:
    pixels = noise()
    with open_windows(pixels) as picture:
        picture.read(WINDOWS[3])[:] = 0
    assert np.array_equal(pixels, noise())


def test_an_uncompressed_file_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Image.Image) -> None:
        raise AssertionError("loaded")

    for name in ("a.bmp", "a.tif"):
        Image.fromarray(noise()).save(tmp_path / name)
        whole = read_image(tmp_path / name)
        with monkeypatch.context() as patch:
            patch.setattr("PIL.ImageFile.ImageFile.load", refuse)
            assert_same_parts(tmp_path / name, whole)


def test_an_uncompressed_file_costs_the_window_and_not_the_picture(tmp_path: Path) -> None:
    """12,000 x 12,000 px would be 432 MB; the file has a hole in place of nearly all of them."""
    side = 12_000
    path = tmp_path / "large.bmp"
    Image.fromarray(noise(2, 2)).save(path)
    header = bytearray(path.read_bytes()[:54])
    header[18:26] = side.to_bytes(4, "little") * 2
    with path.open("wb") as stream:
        stream.write(header)
        stream.truncate(54 + 3 * side * side)
        stream.seek(54 + 3 * (side * 1000 + 7000))  # from the lowest row upwards, blue first
        stream.write(bytes([1, 2, 3]))
    tracemalloc.start()
    with open_windows(path) as picture:
        part = picture.read(Tile(side - 1 - 1000 - 500, 6500, 1000, 1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert picture.size == (side, side)
    assert part[:, 500, 500].tolist() == [3, 2, 1]
    assert part.count_nonzero() == 3
    assert peak < 10e6


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "l.tif"])
def test_a_cut_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    Image.fromarray(noise()).save(path, **({"compression": "tiff_lzw"} if name == "l.tif" else {}))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 1500] if name != "l.tif" else content[:3000])
    with pytest.raises(DataError, match=rf"{name}: .*"), open_windows(path) as picture:
        picture.read(Tile(0, 0, *picture.size))


def test_a_flipped_bit_of_a_png_is_not_hidden_by_the_search_for_exif(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise()).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: not a readable picture"), open_windows(path):
        pass


def test_an_opened_picture_of_a_cut_file_is_refused_when_windows_are_opened(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise()).save(path)
    path.write_bytes(path.read_bytes()[:-1500])
    message = "PIL picture of mode RGB: cannot be read"
    with Image.open(path) as image, pytest.raises(DataError, match=message), open_windows(image):
        pass


def test_a_garbage_exif_block_of_an_opened_picture_is_passed_over_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise()).save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0")
    with Image.open(path) as image:
        assert_same_parts(image, torch.from_numpy(noise()).permute(2, 0, 1))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("absent.png", "no such file"),
        (7, "a int is no picture"),
        (np.zeros((8, 8), np.uint8), "expected uint8"),
        (np.zeros((8, 8, 3)), "array of float64"),
        (np.broadcast_to(np.zeros(3, np.uint8), (30_000, 30_000, 3)), "a picture may have 1 to 500000000; cut it"),
    ],
)
def test_what_is_no_picture_or_too_large_is_refused(source: Any, message: str) -> None:
    with pytest.raises(DataError, match=message), open_windows(source):
        pass


def test_a_header_of_a_huge_picture_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bmp"
    Image.fromarray(noise()).save(path)
    content = bytearray(path.read_bytes())
    content[18:26] = (30_000).to_bytes(4, "little") + (30_000).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.bmp: "), open_windows(path):
        pass
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # the caller's business, if the caller opens it
    message = "30000 x 30000 pixels: a picture may have 1 to 500000000"
    with Image.open(path) as image, pytest.raises(DataError, match=message), open_windows(image):
        pass


def test_what_fails_in_the_callers_hands_is_not_the_files_fault(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp"):
        Image.fromarray(noise()).save(tmp_path / name)
        with pytest.raises(RuntimeError, match="out of steam"), open_windows(tmp_path / name):
            raise RuntimeError("out of steam")
