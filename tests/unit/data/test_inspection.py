"""What tells a whole picture from one that is not, without decoding it."""

import zlib

import numpy as np
import pytest
from PIL import Image

from battery.workbench import END, chunk, png
from panet.data.images import open_picture
from panet.data.inspection import inspect_picture
from panet.errors import DataError

NOISE = np.random.default_rng(0).integers(0, 256, (701, 903, 3), dtype=np.uint8)


@pytest.fixture
def undecoded(monkeypatch):
    """Fail where pixels are decoded."""

    def refuse(self):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("pixels", [NOISE, np.zeros_like(NOISE), NOISE[:1], NOISE[:, :1]], ids=len)
def test_a_whole_png_is_known_by_its_lines_alone(tmp_path, mode, pixels, request):
    height, width = pixels.shape[:2]
    Image.fromarray(pixels).convert("L" if mode == "I;16" else "RGB").convert(mode).save(tmp_path / "a.png")
    request.getfixturevalue("undecoded")
    assert inspect_picture(tmp_path / "a.png").upright == (height, width)


@pytest.mark.parametrize("kept", [0, 1, 500, 700])
def test_a_png_that_lacks_lines_is_damaged_though_it_can_be_decoded(tmp_path, kept):
    lines = zlib.compress(b"".join(b"\0" + row.tobytes() for row in NOISE[:kept, :, 0]))
    halves = chunk(b"IDAT", lines[:1000]) + chunk(b"IDAT", lines[1000:])
    (tmp_path / "a.png").write_bytes(png(903, 701, halves, END))
    with pytest.raises(DataError, match=r"a\.png: the PNG is damaged: its last lines are missing; copy or download it"):
        inspect_picture(tmp_path / "a.png")


@pytest.mark.parametrize("form", [{}, {"progressive": True}, {"quality": 100}, {"optimize": True}])
def test_a_whole_jpeg_is_known_by_its_markers_alone(tmp_path, form, undecoded):
    Image.fromarray(NOISE).save(tmp_path / "a.jpg", **form)
    assert inspect_picture(tmp_path / "a.jpg").stored == (701, 903)


def test_a_file_of_another_user_is_told(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.png").touch()
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match=r"a\.png: must not be read by this user"), open_picture(tmp_path / "a.png"):
        pass
