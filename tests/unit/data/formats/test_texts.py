"""Text files are read strictly, and every value of YAML is text."""

from pathlib import Path

import pytest

from panet.data.formats.reading import read_part
from panet.data.formats.source import find_source
from panet.data.formats.texts import read_lines, read_yaml
from panet.errors import DataError


def test_lines_end_as_any_system_ends_them_and_a_mark_of_byte_order_goes(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\ntwo\rthree\x0bx\n".encode())
    assert read_lines(tmp_path / "a.txt") == ["one", "two", "three\x0bx", ""]


def test_words_of_yaml_stay_words(tmp_path):
    (tmp_path / "a.yaml").write_text("names: {0: no, 1: 'on', 2: 1e3, 3: ~, 4: 2020-01-01}\nnc: 05\nempty:\n")
    assert read_yaml(tmp_path / "a.yaml") == {
        "names": {"0": "no", "1": "on", "2": "1e3", "3": "~", "4": "2020-01-01"},
        "nc": "05",
        "empty": "",
    }


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a: [1", r"a\.yaml: line 1 column \d+: .*; write valid YAML"),
        (b"a: 1\nb: 2\na: 3", r"a\.yaml: line 3 column 1: key 'a' twice; write valid YAML"),
        (b"? [a]\n: b", r"a\.yaml: line 1 column 3: a key that is not a word"),
        (b"a: &x 1\nb: *x", r"a\.yaml: line 2 column 4: alias \*x: write it out"),
        (b"[a, b]", r"a\.yaml: holds no keys; expected 'names:' and 'train:'"),
        (b"a: \x00", r"a\.yaml: not readable as YAML; write it again"),
        (b"a: " + b"[" * 5000, r"a\.yaml: not readable as YAML; write it again"),
        (b"a: \xff", r"a\.yaml: is not UTF-8 text \(byte 3\)"),
    ],
)
def test_yaml_that_is_unclear_is_refused(tmp_path, content, why):
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(DataError, match=why) as caught:
        read_yaml(tmp_path / "a.yaml")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "why"), [("b", "no such file"), ("b" * 300, r"cannot be read \(File name too long\)")]
)
def test_a_file_that_cannot_be_read_is_told(tmp_path, name, why):
    with pytest.raises(DataError, match=why):
        read_lines(tmp_path / name)


def test_a_folder_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    """As for one without permission, which the system's first user always has."""

    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    part = find_source(tmp_path).train
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"images: cannot be read \(Permission denied\)"):
        read_part(part)
    for kind in (None, "yolo"):
        with pytest.raises(DataError, match=r": cannot be read \(Permission denied\)"):
            find_source(tmp_path, kind)
