"""The response store: one SQLite file, one row per request, safe for several processes and for `kill -9`.

`export_answers` and `import_answers` move answers between stores as JSON Lines.
"""

import contextlib
import json
import os
import platform
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil

from modeling_cotpd.errors import KnowledgeError
from modeling_cotpd.files import write_json_lines
from modeling_cotpd.knowledge.answer import FAILED, MISSING, WAITING, Answer
from modeling_cotpd.knowledge.request import Request, request_key
from modeling_cotpd.text_safety import storable

Parsed = TypeVar("Parsed")
BUSY_SECONDS = 120.0
LEASE_SECONDS = 60.0
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    endpoint TEXT NOT NULL, model TEXT NOT NULL, purpose TEXT NOT NULL, prompt TEXT NOT NULL,
    request TEXT NOT NULL,
    status TEXT NOT NULL, text TEXT NOT NULL, reason TEXT NOT NULL, finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    response TEXT NOT NULL, attempts INTEGER NOT NULL, created REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS owners (
    owner TEXT PRIMARY KEY, machine TEXT NOT NULL, pid INTEGER NOT NULL, seen REAL NOT NULL
) WITHOUT ROWID;
"""
_ANSWER_COLUMNS = "status, text, reason, finish_reason, prompt_tokens, completion_tokens, response, attempts"
ROW_COLUMNS = ("key", "endpoint", "model", "purpose", "prompt", "request", *_ANSWER_COLUMNS.split(", "), "created")
# REPLACE gives the row a new rowid, by which a run knows what was stored after it began, whatever the clock says.
_WRITE = f"INSERT OR REPLACE INTO answers ({', '.join(ROW_COLUMNS)}) VALUES ({', '.join('?' * len(ROW_COLUMNS))})"
_NO_ANSWER = (FAILED, WAITING)
BATCH_OWNER = "batch:"
"""How the owner of a claim begins that a batch file holds; it ends when the batch is read."""


def machine_name() -> str:
    """Return a name for what shares process ids: host, boot and process-id namespace."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()}/{boot}/{os.readlink('/proc/self/ns/pid')}"
    return platform.node()


class ResponseStore:
    """Answers by request key, and claims, which keep two processes from sending the same request.

    A claim belongs to its owner, one per open store. It ends when the answer is saved, when the store is closed, when
    the owner's process is gone, or, for processes that cannot be seen from here (another container), when the owner
    has not renewed it for `LEASE_SECONDS`. So `kill -9` leaves nothing stuck.

    The file is in WAL mode with `synchronous=FULL`: a saved answer survives a power cut. `StoreWriter` gathers the
    answers that arrive during one commit into the next. WAL needs a local disk; a network file system will not do. A
    file that cannot be written can still be read.

    Args:
        path (`str` or `os.PathLike`): The file; it is made when missing.

    Raises:
        KnowledgeError: The file is something else, damaged, or was written by a newer version.

    Example:
        >>> with ResponseStore("answers.sqlite") as store:  # doctest: +SKIP
        ...     store.get(request.key).status
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.owner = uuid.uuid4().hex
        self.machine = machine_name()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._explained("opened"):
            try:
                self._database = self._connect()
            except sqlite3.OperationalError as error:
                if "locked" in str(error):
                    raise
                self._database = self._connect_for_reading()

    def _connect(self) -> sqlite3.Connection:
        # One connection may be used by the writer's thread; its callers never use it at the same time.
        database = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            self._version(database)  # before anything is written
            deadline = time.monotonic() + BUSY_SECONDS
            while True:
                try:
                    database.execute("PRAGMA journal_mode=WAL")
                    break
                except sqlite3.OperationalError as error:
                    # Switching to WAL does not wait for a process that is switching at the same moment.
                    if "locked" not in str(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
            database.execute("PRAGMA synchronous=FULL")
            database.execute("BEGIN IMMEDIATE")
            if self._version(database) == 0:
                for statement in SCHEMA.split(";"):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            database.execute("COMMIT")
            return database
        except BaseException:
            database.close()
            raise

    def _connect_for_reading(self) -> sqlite3.Connection:
        """Open a file that cannot be written: on a read-only or full disk, or of another user."""
        if not self.path.is_file():
            raise sqlite3.OperationalError("there is no such file and none can be made")
        log = self.path.with_name(f"{self.path.name}-wal")
        # Without its log, a file in WAL mode can be read as if nothing ever changed it.
        how = "mode=ro" if log.is_file() and log.stat().st_size else "mode=ro&immutable=1"
        database = sqlite3.connect(
            f"{self.path.resolve().as_uri()}?{how}", uri=True, isolation_level=None, check_same_thread=False
        )
        try:
            self._version(database)
        except BaseException:
            database.close()
            raise
        return database

    def _version(self, database: sqlite3.Connection) -> int:
        """Return the format, 0 for a new file; a `KnowledgeError` says that the file holds something else."""
        version = database.execute("PRAGMA user_version").fetchone()[0]
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='table'")}
        columns = {row[1] for row in database.execute("PRAGMA table_info(answers)")}
        if (tables or version) and not columns.issuperset(ROW_COLUMNS):
            message = "The file is a database of something else."
            raise KnowledgeError(message, place=str(self.path), fix="Name another --store.")
        if version > SCHEMA_VERSION:
            message = f"The store has format {version}, this version knows {SCHEMA_VERSION}."
            raise KnowledgeError(message, place=str(self.path), fix="Update modeling_cotpd.")
        return version

    @contextlib.contextmanager
    def _explained(self, done: str) -> Iterator[None]:
        """Turn errors of SQLite into one line with a fix."""
        try:
            yield
        except sqlite3.Error as error:
            fix = f"Is it a response store? {self._recovery}"
            if isinstance(error, sqlite3.OperationalError):
                fix = "Answers stored so far are safe; free space or give write permission, then run again."
            message = f"The response store cannot be {done}: {error}."
            raise KnowledgeError(message, place=str(self.path), fix=fix) from None

    @property
    def _recovery(self) -> str:
        return f"If it is damaged, recover a copy with: sqlite3 {self.path.name} .recover | sqlite3 recovered.sqlite"

    def _parsed(self, parse: Callable[[], Parsed]) -> Parsed:
        """Return what is made of a row, or name the store whose row holds something else."""
        try:
            return parse()
        except (TypeError, ValueError, AttributeError, RecursionError) as error:
            message = f"A row of the response store is damaged: {error}."
            raise KnowledgeError(message, place=str(self.path), fix=self._recovery) from None

    def __enter__(self) -> "ResponseStore":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up all claims and close the file."""
        # On a full or read-only disk the claims stay behind; they end with this process.
        with contextlib.suppress(KnowledgeError), self.transaction():
            self._database.execute("DELETE FROM claims WHERE owner=?", (self.owner,))
            self._database.execute("DELETE FROM owners WHERE owner=?", (self.owner,))
        with contextlib.suppress(sqlite3.Error):
            self._database.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Run all writes within together or not at all; other processes wait meanwhile."""
        with self._explained("written"):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        self._database.execute("ROLLBACK")
                raise

    def _rows(self, query: str, values: Iterable = ()) -> list[tuple]:
        with self._explained("read"):
            return self._database.execute(query, tuple(values)).fetchall()

    def get(self, key: str) -> Answer:
        """Return the stored answer; one with status `missing` when there is none."""
        return self.known(key, again=()) or Answer(MISSING, reason="not asked yet")

    def request(self, key: str) -> Request | None:
        """Return the request that a row holds, without its pictures; `None` when there is no such row."""
        rows = self._rows("SELECT endpoint, purpose, prompt, request FROM answers WHERE key=?", (key,))
        if not rows:
            return None
        endpoint, purpose, prompt, body = rows[0]
        return self._parsed(lambda: Request(endpoint, purpose, prompt, json.loads(body)))

    def save(self, request: Request, answer: Answer) -> None:
        """Store an answer and end the claim on it; call it within a `transaction`.

        A failure replaces no answer: the process that failed may have been suspended while another one asked.
        """
        if answer.status not in _NO_ANSWER or self._status(request.key) in (None, *_NO_ANSWER):
            about = (request.key, request.endpoint, request.body["model"], request.purpose, request.prompt)
            body = json.dumps(request.body, ensure_ascii=False)
            answered = (getattr(answer, name) for name in _ANSWER_COLUMNS.split(", "))
            row = (*about, body, *answered, time.time())
            self._database.execute(_WRITE, [storable(each) if isinstance(each, str) else each for each in row])
        self.release(request.key)

    def _status(self, key: str) -> str | None:
        rows = self._rows("SELECT status FROM answers WHERE key=?", (key,))
        return rows[0][0] if rows else None

    def newest(self) -> int:
        """Return a number that grows with every saved answer."""
        return self._rows("SELECT COALESCE(MAX(rowid), 0) FROM answers")[0][0]

    def put_in_batch(self, request: Request, name: str) -> None:
        """Note that a batch file holds a request; an answer that is asked again stays until the new one is read."""
        self.save(request, Answer(WAITING, reason=f"in the batch file {name}"))
        self._database.execute("INSERT OR REPLACE INTO claims VALUES (?, ?)", (request.key, f"{BATCH_OWNER}{name}"))

    def batch_of(self, key: str) -> str | None:
        """Return the name of the batch file that holds a request and was not read yet."""
        rows = self._rows("SELECT owner FROM claims WHERE key=?", (key,))
        return rows[0][0].removeprefix(BATCH_OWNER) if rows and rows[0][0].startswith(BATCH_OWNER) else None

    def end_batch(self, key: str) -> None:
        """End the note of `put_in_batch`; call it within a `transaction`."""
        self._database.execute("DELETE FROM claims WHERE key=? AND owner LIKE ?", (key, f"{BATCH_OWNER}%"))

    def release(self, key: str) -> None:
        """End this store's claim on a request; call it within a `transaction`."""
        self._database.execute("DELETE FROM claims WHERE key=? AND owner=?", (key, self.owner))

    def heartbeat(self) -> None:
        """Tell other processes that this one is alive; call it within a `transaction`, more often than the lease."""
        self._database.execute(
            "INSERT INTO owners VALUES (?, ?, ?, ?) ON CONFLICT(owner) DO UPDATE SET seen=excluded.seen",
            (self.owner, self.machine, os.getpid(), time.time()),
        )

    def known(self, key: str, again: Iterable[str] = (FAILED,), since: int | None = None) -> Answer | None:
        """Return the stored answer unless it is to be asked again; the arguments are those of `claim`."""
        rows = self._rows(f"SELECT {_ANSWER_COLUMNS}, rowid FROM answers WHERE key=?", (key,))
        if not rows:
            return None
        answer = self._parsed(Answer(*rows[0][:-1]).reread)
        return answer if answer.status not in again or (since is not None and rows[0][-1] > since) else None

    def claim(self, key: str, again: Iterable[str] = (FAILED,), since: int | None = None) -> Answer | None:
        """Ask for the right to send a request; call it within a `transaction`.

        Returns `None` when the request is now this store's to send, else the stored answer; one with status `missing`
        says that another process is asking. `again` names statuses of stored answers to ask again, but not of those
        stored after `since`, a number from `newest`.
        """
        if (answer := self.known(key, again, since)) is not None:
            return answer
        holder = self._rows("SELECT owner FROM claims WHERE key=?", (key,))
        if holder and self._lives(holder[0][0]):
            return Answer(MISSING, reason="another process is asking")
        self._database.execute("INSERT OR REPLACE INTO claims VALUES (?, ?)", (key, self.owner))
        return None

    def _lives(self, owner: str) -> bool:
        rows = self._rows("SELECT machine, pid, seen FROM owners WHERE owner=?", (owner,))
        # A sign of life from the future is as old as one from the past: the clock was set back.
        if not rows or abs(time.time() - rows[0][2]) > LEASE_SECONDS:
            return False
        return rows[0][0] != self.machine or psutil.pid_exists(rows[0][1])

    def rows(self, **equal: str) -> Iterator[dict]:
        """Yield the rows with the given column values, such as `status="failed"`, in the order of their keys."""
        columns, last = ", ".join(ROW_COLUMNS), ""
        where = " AND ".join(["key>?", *(f"{name}=?" for name in equal)])
        # Page by page, so that neither memory nor a read transaction grows with the store.
        while page := self._rows(
            f"SELECT {columns} FROM answers WHERE {where} ORDER BY key LIMIT 500", (last, *equal.values())
        ):
            yield from (dict(zip(ROW_COLUMNS, row, strict=True)) for row in page)
            last = page[-1][0]

    def add_row(self, row: dict) -> bool:
        """Insert a row as `rows` yields it unless an answer is there, and return whether; within a `transaction`."""
        known = self._status(row["key"])
        if known is not None and (row["status"] in _NO_ANSWER or known not in _NO_ANSWER):
            return False
        self._database.execute(_WRITE, [row[name] for name in ROW_COLUMNS])
        return True

    def usage(self, endpoint: str, model: str) -> dict[str, tuple[int, float]]:
        """Return per purpose the number of paid answers and their mean output."""
        query = (
            "SELECT purpose, COUNT(*), AVG(completion_tokens) FROM answers "
            "WHERE endpoint=? AND model=? AND completion_tokens>0 GROUP BY purpose"
        )
        return {purpose: (count, mean) for purpose, count, mean in self._rows(query, (endpoint, model))}

    def counts(self) -> list[tuple[str, str, str, str, int, int, int]]:
        """Return endpoint, model, purpose, status, number of rows, prompt tokens and completion tokens, summed."""
        return self._rows(
            "SELECT endpoint, model, purpose, status, COUNT(*), SUM(prompt_tokens), SUM(completion_tokens) "
            "FROM answers GROUP BY endpoint, model, purpose, status ORDER BY endpoint, model, purpose, status"
        )


def export_answers(store: ResponseStore, out: str | os.PathLike, **equal: str) -> int:
    """Write `store.rows(**equal)` as JSON Lines; return their number."""
    if Path(out).resolve() == store.path.resolve():
        raise KnowledgeError("The output is the store itself.", place=str(out), fix="Name another file.")

    def exported(row: dict) -> dict:
        return store._parsed(lambda: {**row, "request": json.loads(row["request"])})

    return write_json_lines(out, map(exported, store.rows(**equal)))


def import_answers(store: ResponseStore, path: str | os.PathLike) -> tuple[int, int]:
    """Read rows that `export_answers` wrote, all or none; return the number of rows taken and read.

    An answer that the store has is kept; failures and waiting requests are replaced by answers. A line that is no row,
    or whose key does not belong to its request, is a `KnowledgeError`.
    """
    taken = read = 0
    with Path(path).open("rb") as lines, store.transaction():
        for number, line in enumerate(lines, 1):
            if line.strip():
                taken += store.add_row(_read_row(line, f"{path}, line {number}"))
                read += 1
    return taken, read


def _read_row(line: bytes, place: str) -> dict:
    try:
        row = json.loads(line)
        missing = [name for name in ROW_COLUMNS if name not in row]
        key = request_key(row["endpoint"], row["prompt"], row["request"]) if not missing else ""
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise KnowledgeError(f"The line is not a stored answer: {error}.", place=place) from None
    if missing:
        raise KnowledgeError(f"The field {missing[0]!r} is missing.", place=place, fix="Export the answers again.")
    if key != row["key"]:
        fix = "The row was changed after it was exported; export it again."
        raise KnowledgeError("The key does not belong to this endpoint, prompt and request.", place=place, fix=fix)
    read: dict = {}
    for name in ROW_COLUMNS:
        value = row[name]
        if name in ("prompt_tokens", "completion_tokens", "attempts", "created"):
            right = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53
        else:
            right = isinstance(value, dict if name == "request" else str)
        if not right:
            raise KnowledgeError(f"The field {name!r} is not of its kind or out of range.", place=place)
        text = json.dumps(value, ensure_ascii=False) if name == "request" else value
        read[name] = storable(text) if isinstance(text, str) else value
    return read
