"""Reading Parquet so that a broken file is told in one sentence, and a small one can not fill the memory."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet

from modeling_cotpd.errors import DataError

MOST_BYTES = 1 << 30
"""What a thousand rows may take in memory, and what any file may unpack to; ours."""
MOST_TIMES = 100
"""How many times its size a larger file may unpack to; ours: texts seldom reach 20, repeated ones stay under 1 GiB."""
ROWS_AT_ONCE = 1000
BROKEN = (pyarrow.ArrowException, OSError, UnicodeDecodeError, MemoryError)
"""What pyarrow raises on files that are not what they should be."""


def open_parquet(path: str | os.PathLike) -> pyarrow.parquet.ParquetFile:
    """Open a Parquet file.

    Raises:
        DataError: It is not one.
    """
    try:
        return pyarrow.parquet.ParquetFile(path)
    except BROKEN as error:
        raise _not_parquet(path, error) from None


def parquet_rows(path: str | os.PathLike, columns: Sequence[str] | None = None) -> Iterator[dict]:
    """Rows one after another, a thousand in memory at a time.

    Args:
        path (`str` or `os.PathLike`): The file.
        columns (`Sequence[str]`, *optional*): Which of these columns to read, of those that the file has.

    Raises:
        DataError: The file is not Parquet, or a thousand rows take more than 1 GiB.
    """
    for batch in _batches(path, columns):
        try:
            rows = batch.to_pylist()
        except BROKEN as error:
            raise _not_parquet(path, error) from None
        yield from rows


def parquet_table(path: str | os.PathLike) -> pyarrow.Table:
    """The whole file.

    Raises:
        DataError: The file is not Parquet, or unpacks to more than 1 GiB and a hundred times its size.
    """
    limit = max(MOST_BYTES, MOST_TIMES * Path(path).stat().st_size) if Path(path).is_file() else MOST_BYTES
    batches, total = [], 0
    with open_parquet(path) as file:
        schema = file.schema_arrow
    for batch in _batches(path, None):
        total += batch.nbytes
        if total > limit:
            raise _too_large(path, limit)
        batches.append(batch)
    try:
        return pyarrow.Table.from_batches(batches, schema)
    except BROKEN as error:
        raise _not_parquet(path, error) from None


def _batches(path: str | os.PathLike, columns: Sequence[str] | None) -> Iterator[pyarrow.RecordBatch]:
    with open_parquet(path) as file:
        try:
            names = file.schema_arrow.names
            wanted = None if columns is None else [name for name in names if name in columns]
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=wanted):
                if batch.nbytes > MOST_BYTES:
                    raise _too_large(path, MOST_BYTES)
                yield batch
        except BROKEN as error:
            raise _not_parquet(path, error) from None


def _not_parquet(path: str | os.PathLike, error: BaseException) -> DataError:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return DataError(f"The file is not Parquet ({reason[0]}).", place=str(path), fix="Write it again.")


def _too_large(path: str | os.PathLike, limit: int) -> DataError:
    return DataError(
        f"The file unpacks to more than {limit:,} bytes, far more than its size tells.",
        place=str(path),
        fix="Write it again with its texts as they are, or split it.",
    )
