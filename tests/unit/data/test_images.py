"""Picture files of every kind: the pixels they stand for, or one clear line."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from panet.data.images import list_images, printable, read_image, read_size
from panet.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def chunk(kind, content):
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png_header(width, height):
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def rgb(path):
    return read_image(path).permute(1, 2, 0).numpy()


def test_pixels_come_as_channels_first_bytes(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == torch.uint8
    assert image.shape == (3, 6, 9)
    assert image.permute(1, 2, 0).is_contiguous()  # channels last: resizing takes half the time
    np.testing.assert_array_equal(rgb(tmp_path / "a.png"), PIXELS)
    assert read_size(tmp_path / "a.png") == (6, 9)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "PNG"])
def test_lossless_formats_keep_every_pixel(tmp_path, suffix):
    Image.fromarray(PIXELS).save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(rgb(tmp_path / f"a.{suffix}"), PIXELS)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK"])
def test_every_colour_mode_becomes_rgb(tmp_path, mode):
    image = Image.fromarray(PIXELS).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(path)
    np.testing.assert_array_equal(rgb(path), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("suffix", ["jpg", "webp", "gif"])
def test_lossy_formats_are_read(tmp_path, suffix):
    Image.fromarray(PIXELS).save(tmp_path / f"a.{suffix}")
    assert read_image(tmp_path / f"a.{suffix}").shape == (3, 6, 9)


def test_a_cmyk_jpeg_is_read(tmp_path):
    Image.fromarray(PIXELS).convert("CMYK").save(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").shape == (3, 6, 9)


def test_alpha_is_dropped_and_the_colour_under_it_kept(tmp_path):
    alpha = np.zeros((6, 9, 1), dtype=np.uint8)
    Image.fromarray(np.concatenate([PIXELS, alpha], axis=2)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(rgb(tmp_path / "a.png"), PIXELS)


def test_palette_transparency_changes_nothing_and_warns_of_nothing(tmp_path):
    image = Image.fromarray(PIXELS).convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "clear.png", transparency=bytes(range(0, 80, 10)))
    np.testing.assert_array_equal(rgb(tmp_path / "clear.png"), rgb(tmp_path / "plain.png"))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[1000, 2000, 3000]], [[0, 128, 255]]),  # 127.5 rounds to the even 128
        ([[0, 255, 7]], [[0, 255, 7]]),
        ([[0, 256, 128]], [[0, 255, 128]]),  # 127.5 again
        ([[4000, 4000, 4000]], [[0, 0, 0]]),
    ],
)
def test_sixteen_bits_are_stretched_only_when_eight_do_not_hold_them(tmp_path, values, expected):
    Image.fromarray(np.array(values, dtype=np.uint16)).save(tmp_path / "a.tif")
    for channel in read_image(tmp_path / "a.tif"):
        assert channel.tolist() == expected


@pytest.mark.parametrize("kind", ["<u2", ">u2"])
def test_both_byte_orders_are_read(tmp_path, kind):
    Image.fromarray(np.array([[300, 256, 513]], dtype=kind)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[2].tolist() == [[44, 0, 255]]  # 44 * 255 / 257 = 43.66


def test_thirty_two_bit_integers_are_stretched_also_from_below_zero(tmp_path):
    Image.fromarray(np.array([[-100, 0, 100]], dtype=np.int32)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[0].tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, orientation):
    upright = np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40, np.ones((8, 8), dtype=np.uint8))
    inverse = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda a: np.rot90(a, 1),  # stored so that a clockwise quarter turn shows it upright
        7: lambda a: np.rot90(a, 2).T,
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(inverse[orientation](upright))
    for suffix in ("png", "tif", "webp"):
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(stored).save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
        np.testing.assert_array_equal(rgb(path)[..., 0], upright)
        assert read_size(path) == (16, 24)


@pytest.mark.parametrize("garbage", [b"II*\x00" + b"\xff" * 30, b"garbage", b"", b"II*\x00\x08\x00\x00\x00\x09"])
def test_a_garbage_exif_block_does_not_matter(tmp_path, garbage):
    for name in ("a.jpg", "a.png"):
        Image.fromarray(PIXELS).save(tmp_path / name, exif=b"Exif\x00\x00" + garbage)
        assert read_image(tmp_path / name).shape == (3, 6, 9)
        assert read_size(tmp_path / name) == (6, 9)


def test_an_orientation_that_does_not_exist_is_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 77
    Image.fromarray(PIXELS).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(rgb(tmp_path / "a.png"), PIXELS)


def test_an_animation_gives_its_first_frame(tmp_path):
    first = Image.fromarray(np.zeros((6, 9), dtype=np.uint8))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[Image.fromarray(PIXELS)])
    assert read_image(tmp_path / "a.gif").max() == 0


def test_float_pixels_are_refused(tmp_path):
    Image.fromarray(np.full((2, 3), 0.5, dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif: its pixels are floats; save it with 8 or 16 bits"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (10_000, 9_000), (8_001, 8_000)])
def test_too_many_pixels_are_refused_from_the_header(tmp_path, width, height):
    (tmp_path / "a.png").write_bytes(png_header(width, height) + chunk(b"IDAT", b""))
    for read in (read_image, read_size):
        with pytest.raises(DataError, match=r"a\.png: .*(64000000|exceeds limit)"):
            read(tmp_path / "a.png")


@pytest.mark.parametrize(
    "damage",
    [
        lambda png: b"",
        lambda png: b"<html>404</html>",
        lambda png: png[:-30],
        lambda png: png[: len(png) // 2] + bytes([png[len(png) // 2] ^ 1]) + png[len(png) // 2 + 1 :],
        lambda png: png_header(0, 0),
        lambda png: png_header(9, 6),
        lambda png: png[:33] + chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(4_000_000))) + png[33:],
        lambda png: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 6\n",
        lambda png: b"P6 1 1 255 abc",  # a sound PPM picture, but not of the allowed formats
    ],
    ids=["empty", "html", "cut", "flipped_bit", "no_pixels", "header_only", "text_bomb", "eps", "ppm"],
)
def test_a_damaged_file_is_one_line_that_names_it(tmp_path, damage):
    path = tmp_path / "a.png"
    Image.fromarray(np.tile(PIXELS, (8, 8, 1))).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"^\S*a\.png: .+$") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


def test_a_jpeg_without_its_end_is_refused(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-2])
    with pytest.raises(DataError, match="truncated"):
        read_image(tmp_path / "a.jpg")


def test_absent_files_and_folders_are_named(tmp_path):
    with pytest.raises(DataError, match=r"b\.png: no such file"):
        read_image(tmp_path / "b.png")
    with pytest.raises(DataError, match="is a folder"):
        read_image(tmp_path)


def test_pictures_are_listed_in_order_from_file_folder_and_pattern(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", "c[1].tif"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()

    def names(source):
        return [path.name for path in list_images(source)]

    assert names(tmp_path) == ["a.png", "b.JPG", "c[1].tif"]
    assert names(str(tmp_path / "*.[pt][ni][gf]")) == ["a.png", "c[1].tif"]
    assert names(tmp_path / "c[1].tif") == ["c[1].tif"]
    assert names(tmp_path / "notes.txt") == ["notes.txt"]  # named by the user: its content decides


def test_no_picture_found_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"the folder holds no picture \(\.bmp, "):
        list_images(tmp_path)
    with pytest.raises(DataError, match="no such file, folder or pattern"):
        list_images(tmp_path / "*.png")


def test_control_characters_are_escaped():
    assert printable("a\nb\x1b[0m \udc80 é 😀") == "a\\nb\\x1b[0m \\udc80 é 😀"


@pytest.mark.shared
def test_the_sixteen_bit_demonstration_picture_holds_bytes_and_keeps_them(shared_data):
    path = shared_data / "demo_images" / "img2d.tif"
    with Image.open(path) as stored:
        expected = np.asarray(stored)
    assert (expected.dtype, expected.max()) == (np.uint16, 235)
    np.testing.assert_array_equal(read_image(path)[1].numpy(), expected)
