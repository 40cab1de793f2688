"""Parquet files that are broken, or that unpack to far more than their size tells."""

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from modeling_cotpd.data import parquet as module
from modeling_cotpd.data.parquet import open_parquet, parquet_rows
from modeling_cotpd.data.records import read_folder, read_records
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
        lambda place: read_folder(place.parent, "mner"),
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


def arrow(path, table, **options):
    with pa.OSFile(str(path), "wb") as sink:
        stream = pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options))
        stream.write_table(table)
        stream.close()
    return path


def test_arrow_files(tmp_path):
    table = pa.table({"id": ["1", "2"], "tokens": [["Mira"], ["sings", "!"]]})
    assert list(parquet_rows(arrow(tmp_path / "a.arrow", table), ("tokens",))) == [
        {"tokens": ["Mira"]},
        {"tokens": ["sings", "!"]},
    ]


@pytest.mark.parametrize("kind", ["compressed", "dictionary", "view", "cut", "text"])
def test_arrow_files_that_may_unpack_to_more_or_are_broken(tmp_path, kind):
    table, path = pa.table({"text": ["w" * 100_000] * 50}), tmp_path / "a.arrow"
    if kind == "compressed":
        arrow(path, table, compression="zstd")
    elif kind == "dictionary":
        arrow(path, pa.table({"text": table["text"].dictionary_encode()}))
    elif kind == "view":
        arrow(path, pa.table({"text": pa.array(table["text"].to_pylist(), pa.string_view())}))
    else:
        path.write_bytes(arrow(path, table).read_bytes()[:3000] if kind == "cut" else b"not arrow")
    with pytest.raises(DataError, match=r"a\.arrow: The (Arrow )?file (holds compressed or shared|is not Arrow)"):
        list(parquet_rows(path))


@pytest.mark.parametrize("name", ["train.parquet", "data/train-00000-of-00001.parquet", "train/0000.parquet"])
def test_a_bomb_under_every_name(tmp_path, monkeypatch, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    write(tmp_path / name, 4000, "w" * 100_000)
    monkeypatch.setattr(module, "MAX_UNPACKED_BYTES", 50_000_000)
    with pytest.raises(DataError, match="unpacks to more than 50,000,000 bytes"):
        read_folder(tmp_path, "mner")


@pytest.mark.parametrize("kind", ["one row", "lists of numbers", "one long text"])
def test_other_bombs(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(module, "MAX_UNPACKED_BYTES", 50_000_000)
    monkeypatch.setattr(module, "LARGE_COLUMN", 10_000_000)
    rows = {
        "one row": [{"tokens": ["w" * 100_000] * 1000}],
        "lists of numbers": [{"tokens": [1] * 10_000_000}],
        "one long text": [{"tokens": ["w" * 30_000_000]}],
    }
    parquet.write_table(pa.Table.from_pylist(rows[kind]), tmp_path / "a.parquet", compression="zstd")
    with pytest.raises(DataError, match="unpacks to more"):
        list(parquet_rows(tmp_path / "a.parquet"))


def test_large_row_groups_are_read_a_few_rows_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGE_COLUMN", 1000)
    monkeypatch.setattr(module, "MAX_RATIO", 100_000)
    path = write(tmp_path / "a.parquet", 100, " ".join(f"word{number}" for number in range(500)))
    assert {len(batch) for batch in module.read_batches(path)} <= {module.LARGE_BATCH_ROWS, 4}
