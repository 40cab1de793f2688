"""Writing files: complete or not at all, in fresh folders, under a lock that ends with its process."""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import yaml
from filelock import FileLock, Timeout

from modeling_cotpd.errors import SettingError, one_line
from modeling_cotpd.text_safety import whole_characters

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

STAGING = ".saving"
"""Name of the folder, within the target folder, that holds files while they are written."""

TEMPORARY, LEFT_SECONDS = ".cotpd.tmp", 60
"""How a file under way ends, and after how many seconds an unlocked one has no writer."""
MAX_YAML_BYTES = 1_000_000


@contextmanager
def atomic_write(path: str | os.PathLike, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` and rename it to `path` when the block succeeds.

    The data reaches the disk before the rename, so a reader finds the old file or the whole new one, also after a
    power cut. Permissions follow the umask.

    Args:
        path (`str` or `os.PathLike`): The file to write. Missing parent folders are created.
        mode (`str`, *optional*, defaults to `"w"`): `"w"` for UTF-8 text with `\\n` line ends, `"wb"` for bytes.

    Example:
        >>> with atomic_write("scores.json") as file:  # doctest: +SKIP
        ...     file.write("{}")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path.parent)
    number, name = tempfile.mkstemp(prefix=f".{path.name}-", suffix=TEMPORARY, dir=path.parent)
    _lock(number)
    try:
        text: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
        with os.fdopen(number, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~current_umask())
        os.replace(name, path)
        sync_folder(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _lock(number: int) -> bool:
    """Lock an open file until it is closed, and return whether no other process holds it."""
    with suppress(OSError):
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


@lru_cache(maxsize=1000)
def _remove_leftovers(folder: Path) -> None:
    """Remove what killed processes were writing in a folder; a file of a process that lives is locked."""
    if fcntl is None:
        return
    for path in folder.glob(f".*{TEMPORARY}"):
        with suppress(OSError), path.open("rb") as file:
            if _lock(file.fileno()) and time.time() - path.stat().st_mtime > LEFT_SECONDS:
                path.unlink()


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write indented UTF-8 JSON with `atomic_write`."""
    with atomic_write(path) as file:
        file.write(whole_characters(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")


def read_object(path: str | os.PathLike) -> dict[str, Any] | None:
    """Read a file that holds one JSON object; `None` where there is none, as in a file that is missing or cut."""
    try:
        value = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


class _PlainLoader(yaml.SafeLoader):
    """A loader without aliases, by which a few lines can stand for gigabytes."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read")
        return super().compose_node(parent, index)


def read_yaml(path: str | os.PathLike, aliases: bool = False) -> dict[Any, Any]:
    """Read a YAML file of settings, of at most 1 MB; with `aliases`, a value may stand for another (`*name`).

    Raises:
        SettingError: There is no such file, it is not a mapping in YAML, or it is too large.
    """
    path = Path(path)
    if not path.is_file():
        raise SettingError("There is no such file.", place=str(path), fix="Check the name.")
    if path.stat().st_size > MAX_YAML_BYTES:
        raise SettingError(f"The file has more than {MAX_YAML_BYTES:,} bytes.", place=str(path), fix="Shorten it.")
    try:
        settings = (yaml.SafeLoader if aliases else _PlainLoader)(path.read_text("utf-8")).get_single_data()
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = one_line(error)
        raise SettingError(f"This is not YAML: {reason}.", place=str(path), fix="Correct the line.") from error
    if settings is not None and not isinstance(settings, dict):
        raise SettingError("The file does not hold 'key: value' lines.", place=str(path), fix="Write one per line.")
    return settings or {}


@contextmanager
def staged_folder(folder: str | os.PathLike, writes: bool = True) -> Iterator[Path]:
    """Yield a staging folder whose files move into `folder` one by one when the block succeeds.

    A staging folder that a killed process left behind is removed first. A process that does not write gets
    the name only.

    Example:
        >>> with staged_folder("output") as staging:  # doctest: +SKIP
        ...     model.save_pretrained(staging)
    """
    folder = Path(folder)
    staging = folder / STAGING
    if not writes:
        yield staging
        return
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
        sync_tree(staging)
        for path in sorted(staging.iterdir()):
            os.replace(path, folder / path.name)
        sync_folder(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def whole_folder(folder: str | os.PathLike, replaceable: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Yield a new folder that becomes `folder`, in one rename, when the block succeeds.

    A folder that a killed process left half-written is removed first.

    Args:
        folder (`str` or `os.PathLike`): The target: absent, empty, or one that may be replaced.
        replaceable (`Callable[[Path], bool]`, *optional*): Whether an entry of `folder` may be lost; by default none.

    Raises:
        SettingError: `folder` is not empty, or another process writes it.
    """
    folder = require_empty(folder, replaceable=replaceable).resolve()
    staging, old = folder.with_name(f".{folder.name}{STAGING}"), folder.with_name(f".{folder.name}.old")
    lock = folder.with_name(f".{folder.name}.lock")
    with exclusive(lock, "writes this output folder"):
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staging.mkdir(parents=True)
            yield staging
            sync_tree(staging)
            shutil.rmtree(old, ignore_errors=True)
            if folder.exists():
                folder.rename(old)
            staging.rename(folder)
            sync_folder(folder.parent)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            lock.unlink(missing_ok=True)


def require_empty(
    folder: str | os.PathLike,
    fix: str = "Name a new folder or empty this one.",
    replaceable: Callable[[Path], bool] | None = None,
) -> Path:
    """Return `folder` as a `Path`; `fix` says what to do when it is not empty, entries that are replaceable aside.

    Raises:
        SettingError: The folder exists and is not empty, or is a file.
    """
    folder = Path(folder)
    if folder.is_dir() and not all(replaceable is not None and replaceable(path) for path in folder.iterdir()):
        raise SettingError("The output folder is not empty.", place=str(folder), fix=fix)
    if folder.exists() and not folder.is_dir():
        raise SettingError("The output folder is a file.", place=str(folder), fix="Name a new folder.")
    return folder


@contextmanager
def exclusive(path: str | os.PathLike, purpose: str) -> Iterator[None]:
    """Hold an operating-system lock on `path`; it ends with the process, however that ends.

    The file stays behind, empty. `purpose` is what the message calls the work: `"writes this output folder"`.

    Raises:
        SettingError: Another process holds the lock.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise SettingError(
            f"Another process {purpose}.", place=str(path.parent), fix="Wait for it, stop it, or name another output."
        ) from None
    try:
        yield
    finally:
        lock.release()


def sha256_of(path: str | os.PathLike) -> str:
    """Return the sha256 of a file's bytes in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def current_umask() -> int:
    """Return the umask. There is no call that only reads it on every system."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def sync_folder(folder: Path) -> None:
    """Make renames within a folder durable where the system can."""
    if os.name == "nt":  # a folder cannot be opened there
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def sync_tree(folder: Path) -> None:
    """Make all files below a folder durable."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def json_line(row: dict) -> str:
    """Return one line of JSON Lines; half of a surrogate pair is U+FFFD."""
    return whole_characters(json.dumps(row, ensure_ascii=False)) + "\n"


def write_json_lines(path: str | os.PathLike, rows: Iterable[dict]) -> int:
    """Write rows as JSON Lines with `atomic_write`, one in memory at a time, and return their number."""
    count = 0
    with atomic_write(path) as file:
        for row in rows:
            file.write(json_line(row))
            count += 1
    return count
