"""The response store for asyncio: one thread writes, and everything that came in meanwhile shares a commit."""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Iterable

from modeling_cotpd.knowledge.answer import Answer
from modeling_cotpd.knowledge.request import Request
from modeling_cotpd.knowledge.store import ResponseStore

HEARTBEAT_SECONDS = 10.0
MOST_PER_COMMIT = 256


class StoreWriter:
    """Claims and saves for an event loop, without blocking it.

    An answer is written when it arrives unless a commit is running; then it goes with the next one. A request is sent
    only after its claim is committed.

    Args:
        store (`ResponseStore`): The open store; nothing else may use it until `close`.
        again (`Iterable[str]`): Statuses of stored answers to ask again. What is stored from now on is not.
    """

    def __init__(self, store: ResponseStore, again: Iterable[str]):
        self.store, self.again, self.since = store, frozenset(again), store.newest()
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        self._error: Exception | None = None
        with store.transaction():
            store.heartbeat()
        self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS
        self._thread = threading.Thread(target=self._run, name="response-store", daemon=True)
        self._thread.start()

    async def claim(self, key: str) -> Answer | None:
        """`ResponseStore.claim`."""
        self._raise_error()
        future = self._loop.create_future()
        self._queue.put((key, None, future))
        return await future

    def save(self, request: Request, answer: Answer) -> None:
        """`ResponseStore.save` without waiting; an error shows at the next call or at `close`."""
        self._raise_error()
        self._queue.put((request, answer, None))

    def release(self, key: str) -> None:
        """`ResponseStore.release` without waiting."""
        self._queue.put((key, None, None))

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    async def close(self) -> None:
        """Write everything that is waiting and end the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
        self._raise_error()

    def _run(self) -> None:
        go_on = True
        while go_on:
            batch: list = []
            with contextlib.suppress(queue.Empty):
                batch.append(self._queue.get(timeout=HEARTBEAT_SECONDS))
                while len(batch) < MOST_PER_COMMIT:
                    batch.append(self._queue.get_nowait())
            if None in batch:
                go_on = False
                batch.remove(None)
            try:
                self._raise_error()
                results = self._write(batch)
            except Exception as error:  # given to the tasks that wait: a thread has no caller to raise to
                self._error = self._error or error
                results = [(future, self._error) for *_, future in batch if future is not None]
            with contextlib.suppress(RuntimeError):  # the loop is closed and no task waits any more
                self._loop.call_soon_threadsafe(_resolve, results)

    def _write(self, batch: list[tuple]) -> list[tuple[asyncio.Future, object]]:
        results: list[tuple[asyncio.Future, object]] = []
        writes: list[tuple] = []
        for first, answer, future in batch:
            known = self.store.known(first, self.again, self.since) if future is not None else None
            if known is None:
                writes.append((first, answer, future))
            else:
                results.append((future, known))
        due = time.monotonic() >= self._next_heartbeat
        if not writes and not due:
            return results
        with self.store.transaction():
            if due:
                self.store.heartbeat()
            for first, answer, future in writes:
                if future is not None:
                    results.append((future, self.store.claim(first, self.again, self.since)))
                elif answer is None:
                    self.store.release(first)
                else:
                    self.store.save(first, answer)
        if due:
            self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS
        return results


def _resolve(results: list[tuple[asyncio.Future, object]]) -> None:
    for future, result in results:
        if future.cancelled():
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
