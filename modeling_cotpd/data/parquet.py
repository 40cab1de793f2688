"""Reading Parquet and Arrow files; a broken file gives one sentence, and a small one cannot fill the memory."""

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow
import pyarrow.compute
import pyarrow.ipc
import pyarrow.parquet
from datasets import Features

from modeling_cotpd.errors import DataError

MAX_UNPACKED_BYTES = 1 << 30
"""What any file may unpack to."""
MAX_RATIO = 100
"""How many times its size a larger file may unpack to: texts seldom reach 20."""
BATCH_ROWS = 1000
LARGE_COLUMN, LARGE_BATCH_ROWS = 1 << 26, 16
"""A row group with a larger column than this, unpacked, is read so many rows at a time."""
BROKEN = (pyarrow.ArrowException, OSError, UnicodeDecodeError, MemoryError)
"""What pyarrow raises on files that are not what they should be."""


@contextmanager
def _readable_errors(path: str | os.PathLike) -> Iterator[None]:
    """Turn what pyarrow raises on a broken file into one sentence."""
    try:
        yield
    except (*BROKEN, struct.error, IndexError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        kind = "Arrow" if Path(path).suffix == ".arrow" else "Parquet"
        raise DataError(f"The file is not {kind} ({reason[0]}).", place=str(path), fix="Write it again.") from None


def open_parquet(path: str | os.PathLike) -> pyarrow.parquet.ParquetFile:
    """Open a Parquet file; a `DataError` where it is not one."""
    with _readable_errors(path):
        return pyarrow.parquet.ParquetFile(path)


def read_features(path: str | os.PathLike, fix: str) -> Features:
    """The features that a `.parquet` or `.arrow` file declares; a `DataError` with `fix` where they cannot be read."""
    with _readable_errors(path), open(path, "rb") as file:
        is_arrow = Path(path).suffix == ".arrow"
        schema = pyarrow.ipc.open_stream(file).schema if is_arrow else pyarrow.parquet.read_schema(file)
    try:
        return Features.from_arrow_schema(schema)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"The columns cannot be read ({error}).", place=str(path), fix=fix) from None


def parquet_rows(path: str | os.PathLike, columns: Sequence[str] | None = None) -> Iterator[dict]:
    """Rows of a `.parquet` or `.arrow` file one after another, with those of the `columns` that it has.

    Raises:
        DataError: The file is broken, or unpacks to more than 1 GiB and a hundred times its size.
    """
    batches = _arrow_batches(path) if Path(path).suffix == ".arrow" else read_batches(path, columns)
    for batch in batches:
        names = [name for name in batch.schema.names if columns is None or name in columns]
        with _readable_errors(path):
            rows = batch.select(names).to_pylist()
        yield from rows


def read_batches(path: str | os.PathLike, columns: Sequence[str] | None = None) -> Iterator[pyarrow.RecordBatch]:
    """Batches of at most a thousand rows of a Parquet file; see `parquet_rows`.

    A text that is stored once and used by every row takes no space in the file, and neither does a compressed one. So
    row groups are measured before their texts are unpacked: by the file's metadata, then with every text read as a
    number into the list of different texts. Larger row groups are read a few rows at a time instead.
    """
    limit = max(MAX_UNPACKED_BYTES, MAX_RATIO * (Path(path).stat().st_size if Path(path).is_file() else 0))
    total = 0

    def count(size: int) -> None:
        nonlocal total
        total += size
        if total > limit:
            raise DataError(
                f"The file unpacks to more than {limit:,} bytes, far more than its size tells.",
                place=str(path),
                fix="Write it again with its texts as they are, or split it.",
            )

    with open_parquet(path) as file, _readable_errors(path):
        wanted = [name for name in file.schema_arrow.names if columns is None or name in columns]
        groups = [_leaves(file, group, wanted) for group in range(file.metadata.num_row_groups)]
        for leaf in (leaf for group in groups for leaf in group):
            packed_well = leaf.total_uncompressed_size > max(LARGE_COLUMN, MAX_RATIO * leaf.total_compressed_size)
            count(limit + 1 if packed_well else max(leaf.total_uncompressed_size, 8 * leaf.num_values))
        total = 0
        large = [any(leaf.total_uncompressed_size > LARGE_COLUMN for leaf in group) for group in groups]
        texts = [leaf.path_in_schema for leaf in (groups or [[]])[0] if leaf.physical_type == "BYTE_ARRAY"]
        with pyarrow.parquet.ParquetFile(path, read_dictionary=texts) as packed:
            for group in (group for group, is_large in enumerate(large) if not is_large):
                table = packed.read_row_group(group, columns=wanted, use_threads=False)
                count(sum(_unpacked_bytes(chunk) for column in table.columns for chunk in column.chunks))
        for group, is_large in enumerate(large):
            rows = LARGE_BATCH_ROWS if is_large else BATCH_ROWS
            for batch in file.iter_batches(rows, row_groups=[group], columns=wanted, use_threads=False):
                count(batch.nbytes if is_large else 0)
                yield batch


def _leaves(file: pyarrow.parquet.ParquetFile, group: int, wanted: Sequence[str]) -> list:
    row_group = file.metadata.row_group(group)
    leaves = [row_group.column(number) for number in range(row_group.num_columns)]
    return [leaf for leaf in leaves if leaf.path_in_schema.split(".")[0] in wanted]


def _unpacked_bytes(array: pyarrow.Array) -> int:
    """What an array takes once every entry of its dictionaries stands in its place."""
    kind = array.type
    if pyarrow.types.is_dictionary(kind):
        lengths = pyarrow.compute.binary_length(array.dictionary)
        return 8 * len(array) + (pyarrow.compute.sum(lengths.take(array.indices)).as_py() or 0)
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        return 8 * len(array) + _unpacked_bytes(array.flatten())
    if pyarrow.types.is_struct(kind):
        return sum(_unpacked_bytes(array.field(number)) for number in range(kind.num_fields))
    return array.nbytes


def _arrow_batches(path: str | os.PathLike) -> Iterator[pyarrow.RecordBatch]:
    """Batches of an Arrow stream as `save_to_disk` writes it; its buffers lie in the file as they are."""
    with _readable_errors(path), pyarrow.memory_map(str(path)) as source:
        schema = None
        for message in pyarrow.ipc.MessageReader.open_stream(source):
            if message.type == "schema":
                schema = pyarrow.ipc.read_schema(message)
                continue
            if (
                schema is None
                or message.type != "record batch"
                or not all(_is_stored_whole(field.type) for field in schema)
                or _is_compressed(message.metadata.to_pybytes())
            ):
                fix = "Write it again with Dataset.save_to_disk or Dataset.to_parquet."
                raise DataError("The Arrow file holds compressed or shared values.", place=str(path), fix=fix)
            batch = pyarrow.ipc.read_record_batch(message, schema)
            batch.validate(full=True)
            for start in range(0, len(batch), BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)


def _is_stored_whole(kind: pyarrow.DataType) -> bool:
    """Whether every value of a type takes its own bytes: not for dictionaries, views and runs."""
    types = pyarrow.types
    if types.is_nested(kind) and not types.is_run_end_encoded(kind):
        plain = types.is_list(kind) or types.is_large_list(kind) or types.is_struct(kind)
        return plain and all(_is_stored_whole(kind.field(number).type) for number in range(kind.num_fields))
    texts = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    return any(is_kind(kind) for is_kind in (*texts, types.is_primitive, types.is_null))


def _is_compressed(message: bytes) -> bool:
    """Whether a record batch's FlatBuffers header has the field `compression`; pyarrow does not tell."""

    def field(table: int, number: int) -> int:
        vtable = table - struct.unpack_from("<i", message, table)[0]
        size = struct.unpack_from("<H", message, vtable)[0]
        entry = 4 + 2 * number
        offset = struct.unpack_from("<H", message, vtable + entry)[0] if entry < size else 0
        return table + offset if offset else 0

    header = field(struct.unpack_from("<I", message, 0)[0], 2)
    return bool(field(header + struct.unpack_from("<I", message, header)[0], 3))
