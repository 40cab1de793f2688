"""Reading Parquet and Arrow files; a broken file gives one sentence, and a small one cannot fill the memory."""

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow
import pyarrow.compute
import pyarrow.ipc
import pyarrow.parquet

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


def open_parquet(path: str | os.PathLike) -> pyarrow.parquet.ParquetFile:
    """Open a Parquet file.

    Raises:
        DataError: It is not one.
    """
    try:
        return pyarrow.parquet.ParquetFile(path)
    except BROKEN as error:
        raise _broken(path, error) from None


def read_schema(path: str | os.PathLike) -> pyarrow.Schema:
    """The schema of a `.parquet` or `.arrow` file.

    Raises:
        DataError: The file is neither.
    """
    if Path(path).suffix == ".arrow":
        try:
            with open(path, "rb") as file, pyarrow.ipc.open_stream(file) as stream:
                return stream.schema
        except BROKEN as error:
            raise _broken(path, error) from None
    with open_parquet(path) as file:
        return file.schema_arrow


def parquet_rows(path: str | os.PathLike, columns: Sequence[str] | None = None) -> Iterator[dict]:
    """Rows of a `.parquet` or `.arrow` file one after another.

    Args:
        path (`str` or `os.PathLike`): The file.
        columns (`Sequence[str]`, *optional*): Which of these columns to read, of those that the file has.

    Raises:
        DataError: The file is broken, or unpacks to more than 1 GiB and a hundred times its size.
    """
    batches = _arrow_batches(path) if Path(path).suffix == ".arrow" else read_batches(path, columns)
    for batch in batches:
        try:
            names = [name for name in batch.schema.names if columns is None or name in columns]
            rows = batch.select(names).to_pylist()
        except BROKEN as error:
            raise _broken(path, error) from None
        yield from rows


def read_batches(path: str | os.PathLike, columns: Sequence[str] | None = None) -> Iterator[pyarrow.RecordBatch]:
    """Batches of at most a thousand rows of a Parquet file; see `parquet_rows`.

    A text that is stored once and used by every row takes no space in the file, and neither does a compressed one. So
    row groups are measured before their texts are unpacked: by what the file says of itself, then with every text read
    as a number into the list of different texts. Larger row groups are read a few rows at a time instead.
    """
    limit = _limit(path)
    with open_parquet(path) as file:
        try:
            wanted = [name for name in file.schema_arrow.names if columns is None or name in columns]
            groups = [_leaves(file, group, wanted) for group in range(file.metadata.num_row_groups)]
            total = sum(max(leaf.total_uncompressed_size, 8 * leaf.num_values) for group in groups for leaf in group)
            if total > limit or any(_is_suspicious(leaf) for group in groups for leaf in group):
                raise _too_large(path, limit)
            large = [any(leaf.total_uncompressed_size > LARGE_COLUMN for leaf in group) for group in groups]
            texts = [leaf.path_in_schema for leaf in (groups or [[]])[0] if leaf.physical_type == "BYTE_ARRAY"]
            total = 0
            with pyarrow.parquet.ParquetFile(path, read_dictionary=texts) as packed:
                for group, is_large in enumerate(large):
                    if not is_large:
                        table = packed.read_row_group(group, columns=wanted, use_threads=False)
                        total += sum(_unpacked_bytes(chunk) for column in table.columns for chunk in column.chunks)
                        if total > limit:
                            raise _too_large(path, limit)
            for group, is_large in enumerate(large):
                rows = LARGE_BATCH_ROWS if is_large else BATCH_ROWS
                for batch in file.iter_batches(rows, row_groups=[group], columns=wanted, use_threads=False):
                    total += batch.nbytes if is_large else 0
                    if total > limit:
                        raise _too_large(path, limit)
                    yield batch
        except BROKEN as error:
            raise _broken(path, error) from None


def _is_suspicious(leaf: pyarrow.parquet.ColumnChunkMetaData) -> bool:
    return leaf.total_uncompressed_size > max(LARGE_COLUMN, MAX_RATIO * leaf.total_compressed_size)


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
    try:
        with pyarrow.memory_map(str(path)) as source:
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
                    raise DataError(
                        "The Arrow file holds compressed or shared values.",
                        place=str(path),
                        fix="Write it again with Dataset.save_to_disk or Dataset.to_parquet.",
                    )
                batch = pyarrow.ipc.read_record_batch(message, schema)
                batch.validate(full=True)
                for start in range(0, len(batch), BATCH_ROWS):
                    yield batch.slice(start, BATCH_ROWS)
    except (*BROKEN, struct.error, IndexError) as error:
        raise _broken(path, error) from None


def _is_stored_whole(kind: pyarrow.DataType) -> bool:
    """Whether every value of a type takes its own bytes: not for dictionaries, views and runs."""
    types = pyarrow.types
    if types.is_nested(kind) and not types.is_run_end_encoded(kind):
        plain = types.is_list(kind) or types.is_large_list(kind) or types.is_struct(kind)
        return plain and all(_is_stored_whole(kind.field(number).type) for number in range(kind.num_fields))
    texts = (
        types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)
    )
    return texts or types.is_primitive(kind) or types.is_null(kind)


def _is_compressed(message: bytes) -> bool:
    """Whether a record batch's FlatBuffers header has the field `compression`; pyarrow does not tell."""

    def field(table: int, number: int) -> int:
        vtable = table - struct.unpack_from("<i", message, table)[0]
        size = struct.unpack_from("<H", message, vtable)[0]
        entry = 4 + 2 * number
        offset = struct.unpack_from("<H", message, vtable + entry)[0] if entry < size else 0
        return table + offset if offset else 0

    root = struct.unpack_from("<I", message, 0)[0]
    header = field(root, 2)
    return bool(field(header + struct.unpack_from("<I", message, header)[0], 3))


def _limit(path: str | os.PathLike) -> int:
    size = Path(path).stat().st_size if Path(path).is_file() else 0
    return max(MAX_UNPACKED_BYTES, MAX_RATIO * size)


def _broken(path: str | os.PathLike, error: BaseException) -> DataError:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    kind = "Arrow" if Path(path).suffix == ".arrow" else "Parquet"
    return DataError(f"The file is not {kind} ({reason[0]}).", place=str(path), fix="Write it again.")


def _too_large(path: str | os.PathLike, limit: int) -> DataError:
    return DataError(
        f"The file unpacks to more than {limit:,} bytes, far more than its size tells.",
        place=str(path),
        fix="Write it again with its texts as they are, or split it.",
    )
