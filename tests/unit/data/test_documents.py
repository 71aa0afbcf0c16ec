"""JSON that cannot be used is one line with the place in it."""

import pytest

from panet.data.documents import read_json
from panet.errors import DataError


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": [1, "\xc3\xa9"]}')
    assert read_json(tmp_path / "a.json") == {"a": [1, "é"]}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", r"is empty; write the file again"),
        (b'{\n "a": [1, 2', r"broken JSON at line 2 column 12"),
        (b'{"a": [1,]}', r"broken JSON at line 1 column (9|10)"),
        ('{"a": 1}'.encode("utf-16"), r"is not UTF-8 text \(byte 0\)"),
        (b"\x1f\x8b\x08\x00\x00", r"is gzip, not JSON"),
        (b"\xe9", r"is not UTF-8 text \(byte 0\)"),
        (b"[" * 100_000, r"nested too deeply"),
        (b'{"images": [], "images": []}', r"key 'images' occurs twice"),
        (b"9" * 5000, r"number too long"),
    ],
)
def test_a_file_that_is_no_json_is_refused_with_its_reason(tmp_path, content, why):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=rf"^\S*a\.json: .*{why}") as caught:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"b\.json: no such file"):
        read_json(tmp_path / "b.json")
    with pytest.raises(DataError, match="is a folder, not a JSON file"):
        read_json(tmp_path)
