"""Records go in and come out."""

from pathlib import Path

import pytest

from panet.data.image_table import ImageTable
from panet.data.records import ImageRecord

FOLDER = Path("pictures")
RECORDS = [
    ImageRecord(1, "a.png", FOLDER / "a.png", 6, 9),
    ImageRecord("1", "sub/é 😀.png", FOLDER / "sub" / "é 😀.png", 8, 7),
    ImageRecord(-(10**30), "x/../b.png", FOLDER / "b.png", 64_000_000, 1),
    ImageRecord("", "\udcff.png", FOLDER / "\udcff.png", 1, 1),
]


def test_no_pictures_have_shaped_sizes():
    table = ImageTable([], FOLDER)
    assert len(table) == 0
    assert list(table) == []
    assert table.sizes.shape == (0, 2)


def test_every_record_comes_back_equal_in_order():
    table = ImageTable(RECORDS, FOLDER)
    assert len(table) == 4
    assert list(table) == [table[i] for i in range(4)] == RECORDS
    assert [type(record.id) for record in table] == [int, str, int, str]
    assert table[1:3] == tuple(RECORDS[1:3])
    assert table.sizes.tolist() == [[6, 9], [8, 7], [64_000_000, 1], [1, 1]]


@pytest.mark.parametrize("index", [-1, 4])
def test_there_is_no_record_outside(index):
    with pytest.raises(IndexError):
        ImageTable(RECORDS, FOLDER)[index]
