"""The response store: one SQLite file, one row per request, safe for several processes and for `kill -9`."""

import contextlib
import json
import os
import platform
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from modeling_cotpd.errors import KnowledgeError
from modeling_cotpd.knowledge.answer import FAILED, MISSING, WAITING, Answer
from modeling_cotpd.knowledge.request import Request

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
ROW_COLUMNS = (
    *("key", "endpoint", "model", "purpose", "prompt", "request", "status", "text", "reason", "finish_reason"),
    *("prompt_tokens", "completion_tokens", "response", "attempts", "created"),
)
_ANSWER_COLUMNS = "status, text, reason, finish_reason, prompt_tokens, completion_tokens, response, attempts"
_UPSERT = (
    f"INSERT INTO answers ({', '.join(ROW_COLUMNS)}) VALUES ({', '.join('?' * len(ROW_COLUMNS))}) "
    f"ON CONFLICT(key) DO UPDATE SET {', '.join(f'{name}=excluded.{name}' for name in ROW_COLUMNS[6:])} WHERE "
)
_NO_ANSWER = f"('{FAILED}', '{WAITING}')"
# A failure never replaces an answer: the process that failed may have been suspended while another one asked.
_SAVE = f"{_UPSERT} excluded.status NOT IN {_NO_ANSWER} OR answers.status IN {_NO_ANSWER}"
_ADD = f"{_UPSERT} excluded.status NOT IN {_NO_ANSWER} AND answers.status IN {_NO_ANSWER}"


def machine_name() -> str:
    """Names the set of process ids that this process shares: host, boot and process-id namespace."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()}/{boot}/{os.readlink('/proc/self/ns/pid')}"
    return platform.node()


def process_is_gone(pid: int) -> bool:
    """Whether no process of this machine has this id; `False` where that can not be told without harm (Windows)."""
    if os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


class ResponseStore:
    """Answers by request key, and claims, which keep two processes from sending the same request.

    A claim belongs to its owner, one per open store. It ends when the answer is saved, when the store is closed, when
    the owner's process is gone, or, for what can not be seen from here (another container, Windows), when the owner
    has given no sign of life for `LEASE_SECONDS`. So `kill -9` leaves nothing stuck.

    The file is in WAL mode with `synchronous=FULL`: a saved answer was paid for and survives a power cut, not just a
    dead process. `store_thread.StoreThread` gathers the answers that arrive while one commit runs into the next, which
    makes that cheap. WAL needs a local disk; a network file system will not do.

    Args:
        path: The file; it is made when missing.

    Raises:
        KnowledgeError: The file is something else, or was written by a newer version.

    Example:
        >>> with ResponseStore("answers.sqlite") as store:  # doctest: +SKIP
        ...     store.get(request.key).status
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self.owner = uuid.uuid4().hex
        self.machine = machine_name()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # One connection may be used by StoreThread's thread; its callers never use it at the same time.
        self._database = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            self._open()
        except (sqlite3.Error, KnowledgeError) as error:
            self._database.close()
            if isinstance(error, KnowledgeError):
                raise
            raise KnowledgeError(f"The response store can not be opened: {error}.", place=str(self.path)) from None

    def _open(self) -> None:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._database.execute("PRAGMA journal_mode=WAL")
                break
            except sqlite3.OperationalError as error:
                # Switching to WAL does not wait for a process that is switching at the same moment.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self._database.execute("PRAGMA synchronous=FULL")
        with self.transaction():
            version = self._database.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise KnowledgeError(
                    f"The store has format {version}, this version knows {SCHEMA_VERSION}.",
                    place=str(self.path),
                    fix="Update modeling_cotpd.",
                )
            if version == 0:
                for statement in SCHEMA.split(";"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def __enter__(self) -> "ResponseStore":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up all claims and close the file."""
        with self.transaction():
            self._database.execute("DELETE FROM claims WHERE owner=?", (self.owner,))
            self._database.execute("DELETE FROM owners WHERE owner=?", (self.owner,))
        self._database.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes within happen together or not at all; other processes wait meanwhile."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def get(self, key: str) -> Answer:
        """The stored answer; one with status `missing` when there is none."""
        row = self._database.execute(f"SELECT {_ANSWER_COLUMNS} FROM answers WHERE key=?", (key,)).fetchone()
        return Answer(MISSING, reason="not asked yet") if row is None else Answer(*row)

    def request(self, key: str) -> Request | None:
        """The request that a row holds, without its pictures; `None` when there is no such row."""
        row = self._database.execute(
            "SELECT endpoint, purpose, prompt, request FROM answers WHERE key=?", (key,)
        ).fetchone()
        return None if row is None else Request(row[0], row[1], row[2], json.loads(row[3]))

    def save(self, request: Request, answer: Answer) -> None:
        """Store an answer and end the claim on it; call it within a `transaction`."""
        self._database.execute(
            _SAVE,
            (
                *(request.key, request.endpoint, request.model, request.purpose, request.prompt),
                json.dumps(request.body, ensure_ascii=False),
                *(answer.status, answer.text, answer.reason, answer.finish_reason),
                *(answer.prompt_tokens, answer.completion_tokens, answer.response, answer.attempts, time.time()),
            ),
        )
        self.release(request.key)

    def release(self, key: str) -> None:
        """End this store's claim on a request; call it within a `transaction`."""
        self._database.execute("DELETE FROM claims WHERE key=? AND owner=?", (key, self.owner))

    def heartbeat(self) -> None:
        """Tell other processes that this one lives; call it within a `transaction`, more often than the lease."""
        self._database.execute(
            "INSERT INTO owners VALUES (?, ?, ?, ?) ON CONFLICT(owner) DO UPDATE SET seen=excluded.seen",
            (self.owner, self.machine, os.getpid(), time.time()),
        )

    def known(self, key: str, again: Iterable[str] = (FAILED,), since: float = 0.0) -> Answer | None:
        """The stored answer unless it is to be asked again, which the arguments say as for `claim`."""
        row = self._database.execute(f"SELECT {_ANSWER_COLUMNS}, created FROM answers WHERE key=?", (key,)).fetchone()
        if row is not None and (row[0] not in again or row[-1] >= since):
            return Answer(*row[:-1])
        return None

    def claim(self, key: str, again: Iterable[str] = (FAILED,), since: float = 0.0) -> Answer | None:
        """Ask for the right to send a request; call it within a `transaction`.

        Args:
            key (`str`): The request's key.
            again (`Iterable[str]`): Statuses of stored answers to ask again.
            since (`float`): Seconds of `time.time()`; what was stored later than this is not asked again.

        Returns:
            `None` when the request is now this store's to send, else the stored answer. An answer with status
            `missing` says that somebody else is asking right now.
        """
        if (answer := self.known(key, again, since)) is not None:
            return answer
        holder = self._database.execute("SELECT owner FROM claims WHERE key=?", (key,)).fetchone()
        if holder is not None and self._lives(holder[0]):
            return Answer(MISSING, reason="another process is asking")
        self._database.execute("INSERT OR REPLACE INTO claims VALUES (?, ?)", (key, self.owner))
        return None

    def _lives(self, owner: str) -> bool:
        row = self._database.execute("SELECT machine, pid, seen FROM owners WHERE owner=?", (owner,)).fetchone()
        if row is None or row[2] < time.time() - LEASE_SECONDS:
            return False
        return not (row[0] == self.machine and process_is_gone(row[1]))

    def rows(self, **equal: str) -> Iterator[dict]:
        """All rows in the order of their keys, those with the given column values only; as they are when read.

        Example:
            >>> list(store.rows(status="failed"))  # doctest: +SKIP
        """
        columns, last = ", ".join(ROW_COLUMNS), ""
        where = " AND ".join(["key>?", *(f"{name}=?" for name in equal)])
        # Page by page, so that neither memory nor a read transaction grows with the store.
        while page := self._database.execute(
            f"SELECT {columns} FROM answers WHERE {where} ORDER BY key LIMIT 500", (last, *equal.values())
        ).fetchall():
            yield from (dict(zip(ROW_COLUMNS, row, strict=True)) for row in page)
            last = page[-1][0]

    def add_row(self, row: dict) -> bool:
        """Insert a row as `rows` gives it unless an answer is there; call it within a `transaction`.

        Returns:
            Whether the row was taken.
        """
        return self._database.execute(_ADD, [row[name] for name in ROW_COLUMNS]).rowcount > 0

    def usage(self, endpoint: str, model: str) -> dict[str, dict[str, float]]:
        """Per purpose: number of paid answers and mean tokens, for estimates.

        Returns:
            `{purpose: {"answers": n, "prompt_tokens": mean, "completion_tokens": mean}}`
        """
        query = (
            "SELECT purpose, COUNT(*), AVG(prompt_tokens), AVG(completion_tokens) FROM answers "
            "WHERE endpoint=? AND model=? AND completion_tokens>0 GROUP BY purpose"
        )
        return {
            purpose: {"answers": count, "prompt_tokens": asked, "completion_tokens": got}
            for purpose, count, asked, got in self._database.execute(query, (endpoint, model))
        }

    def counts(self) -> list[tuple[str, str, str, str, int, int, int]]:
        """Endpoint, model, purpose, status, number of rows, prompt tokens and completion tokens, summed."""
        return self._database.execute(
            "SELECT endpoint, model, purpose, status, COUNT(*), SUM(prompt_tokens), SUM(completion_tokens) "
            "FROM answers GROUP BY endpoint, model, purpose, status ORDER BY endpoint, model, purpose, status"
        ).fetchall()
