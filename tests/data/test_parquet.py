"""Parquet files that are broken, or that unpack to far more than their size tells."""

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from modeling_cotpd.data import parquet as module
from modeling_cotpd.data.custom import read_custom
from modeling_cotpd.data.parquet import open_parquet, parquet_rows
from modeling_cotpd.data.records import read_records
from modeling_cotpd.errors import DataError


def write(path, rows: int, text: str = "Mira sings"):
    row = {"tokens": text.split(), "ner_tags": ["O"] * len(text.split())}
    parquet.write_table(pa.Table.from_pylist([row] * rows), path)
    return path


def test_rows_and_columns(tmp_path):
    path = write(tmp_path / "a.parquet", 2500)
    rows = list(parquet_rows(path, ("ner_tags", "absent")))
    assert rows == [{"ner_tags": ["O", "O"]}] * 2500


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\x00" * 40 + b"PAR1", b'{"id": 1}'])
def test_not_parquet(tmp_path, content):
    path = tmp_path / "train.parquet"
    path.write_bytes(content)
    for read in (
        open_parquet,
        lambda place: list(parquet_rows(place)),
        lambda place: list(read_records(place, "mner", "train")),
        lambda place: read_custom(place.parent, "mner"),
    ):
        with pytest.raises(DataError, match=r"train\.parquet: The file is not Parquet"):
            read(path)


def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch):
    """A text that is stored once and repeated by every row: a few kilobytes that stand for 400 MB."""
    path = write(tmp_path / "train.parquet", 4000, "w" * 100_000)
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(module, "MAX_UNPACKED_BYTES", 200_000_000)
    with pytest.raises(DataError, match="unpacks to more than 200,000,000 bytes"):
        list(read_records(path, "mner", "train"))
    monkeypatch.setattr(module, "MAX_UNPACKED_BYTES", 50_000_000)
    with pytest.raises(DataError, match="unpacks to more than 50,000,000 bytes"):
        next(parquet_rows(path))
