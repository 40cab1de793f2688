"""The runner: asks what the store lacks, stores every answer at once, and yields the results in order."""

import asyncio
import contextlib
import heapq
import itertools
import queue
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from modeling_cotpd.errors import Interrupted, KnowledgeError, SettingError
from modeling_cotpd.knowledge.answer import FAILED, MISSING, Answer
from modeling_cotpd.knowledge.endpoint import NO_CONNECTION, ChatClient, EndpointSettings
from modeling_cotpd.knowledge.estimate import Price
from modeling_cotpd.knowledge.request import Dialogue, Job, Request, replay_all
from modeling_cotpd.knowledge.store import ResponseStore

POLL_SECONDS = 0.2
HEARTBEAT_SECONDS = 10.0
MOST_PER_COMMIT = 256
MOST_WORKERS = 1000
MOST_FAILURES, MOST_WITHOUT_CONNECTION = 20, 5
"""Failures in a row at which a run ends; more with many workers, fewer when there is no connection."""
WINDOW = 10_000
"""Jobs that may be finished while an earlier one is not. It bounds the memory of a run."""


@dataclass
class Progress:
    """Finished jobs, requests sent by status, requests answered before, and tokens."""

    jobs: int = 0
    asked: Counter = field(default_factory=Counter)
    stored: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    def count(self, answer: Answer) -> None:
        self.asked[answer.status] += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens


@dataclass
class Asking:
    """How a run asks, for all commands alike.

    Args:
        concurrency (`int`, *optional*, defaults to 16): Requests under way at once.
        again (`Iterable[str]`, *optional*): Statuses of stored answers to ask again, beside `failed`, which always is.
        ask (`bool`, *optional*, defaults to `True`): `False` yields what is stored and sends nothing.
        price (`Price`, *optional*): Shows the cost in the progress bar.
        bar (`bool`, *optional*, defaults to `False`): Show a progress bar.
        progress (`Progress`, *optional*): Counts; several runs may share one.

    Raises:
        SettingError: The concurrency is not between 1 and 1,000.
    """

    concurrency: int = 16
    again: Iterable[str] = ()
    ask: bool = True
    price: Price | None = None
    bar: bool = False
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self):
        if not 1 <= self.concurrency <= MOST_WORKERS:
            raise SettingError(f"{self.concurrency} is not between 1 and {MOST_WORKERS}.", place="concurrency")


def run_jobs(
    jobs: Iterable[Job],
    settings: EndpointSettings,
    store: ResponseStore,
    asking: Asking | None = None,
    *,
    total: int | None = None,
    unit: str = "posts",
) -> Generator[tuple[str, Any]]:
    """Ask for everything in `jobs` that the store lacks, and yield ids and results in the order of the jobs.

    At the first interrupt (Ctrl-C) or SIGTERM the requests under way are finished and stored, and the run ends; a
    second one does not wait for them. Memory does not grow with the number of jobs. Where the end may not be reached,
    close the generator before the store.

    Args:
        jobs (`Iterable[Job]`): What to ask; may be a generator over any number of jobs.
        store (`ResponseStore`): Where answers are stored. Do not use it before the last result.
        total (`int`, *optional*), unit (`str`, *optional*): Number and name of the jobs, for the progress bar.

    Raises:
        KnowledgeError: The endpoint declines everything or cannot be reached, or the store cannot be written.
        Interrupted: After Ctrl-C or SIGTERM.

    Example:
        >>> for id, answers in run_jobs(elicitation_jobs(posts, plan), plan.settings, store):  # doctest: +SKIP
        ...     print(id, answers["noun"].text)
    """
    asking = asking or Asking()
    begin = time.monotonic()
    if not asking.ask:
        yield from replay_all(jobs, lambda request: store.get(request.key))
        return
    run = _Run(jobs, settings, store, asking)
    thread = threading.Thread(target=run.start, name="requests", daemon=True)
    restore = _stop_on_signals(run.stop)
    done = False
    try:
        thread.start()
        with _progress_bar(asking, total, unit) as show:
            while True:
                try:
                    item = run.results.get(timeout=0.5)  # on Windows, a wait without end cannot be interrupted
                except queue.Empty:
                    show()
                    continue
                show()
                if not isinstance(item, tuple):
                    break
                run.taken += 1
                yield item
        done = True
        if item is not None:
            raise item
        if run.stopped:
            raise Interrupted("finished answers are in the store; the same command asks for the others.")
    except KeyboardInterrupt:
        done = True  # the second interrupt: do not wait for the requests under way
        raise
    finally:
        restore()
        if not done:
            run.stop()
            thread.join()
        asking.progress.seconds += time.monotonic() - begin


class StoreWriter:
    """Claims and saves for an event loop without blocking it: one thread writes, and what waits shares a commit.

    Nothing else may use the store until `close`. What is stored from now on is not asked again, whatever `again` says.
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
        """`ResponseStore.claim`, committed before a request is sent."""
        self._raise_error()
        future = self._loop.create_future()
        self._queue.put((key, None, future))
        return await future

    def save(self, request: Request, answer: Answer) -> None:
        """`ResponseStore.save` without waiting; an error shows at the next call or at `close`."""
        self._raise_error()
        self._queue.put((request, answer, None))

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
                self._next_heartbeat = time.monotonic() + HEARTBEAT_SECONDS
            for first, answer, future in writes:
                if future is not None:
                    results.append((future, self.store.claim(first, self.again, self.since)))
                else:
                    self.store.save(first, answer)
        return results


def _resolve(results: list[tuple[asyncio.Future, object]]) -> None:
    for future, result in results:
        if future.cancelled():
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)


class _Run:
    """One run of jobs in a thread with an event loop of its own, so that notebooks and servers can call it."""

    def __init__(self, jobs: Iterable[Job], settings: EndpointSettings, store: ResponseStore, asking: Asking):
        self.settings, self.store, self.asking, self.progress = settings, store, asking, asking.progress
        self.results: queue.SimpleQueue = queue.SimpleQueue()
        self.taken = 0
        self._source = enumerate(jobs)
        self._started: dict[int, Job] = {}
        self._finished: dict[int, tuple[str, Any]] = {}
        self._next = 0
        self._waiting: list[tuple[float, int, int, Dialogue]] = []
        self._numbers = itertools.count()
        self._failures_in_a_row = 0
        self._answered = self.stopped = False

    def stop(self) -> None:
        """Begin nothing new; requests under way still finish."""
        self.stopped = True

    def start(self) -> None:
        """Run all jobs; the last thing that is put is `None` or the exception."""
        try:
            asyncio.run(self._main())
            self.results.put(None)
        except BaseException as error:
            self.results.put(error)

    async def _main(self) -> None:
        client = ChatClient(self.settings)
        try:
            writer = StoreWriter(self.store, {FAILED, *self.asking.again})
            try:
                workers = [asyncio.create_task(self._work(client, writer)) for _ in range(self.asking.concurrency)]
                _, pending = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
                if pending:
                    # One worker failed. The others may still receive answers that are paid for.
                    self.stop()
                    await asyncio.wait(pending)
                # Every failure is looked at, or asyncio logs those that are not, with tracebacks.
                if failures := [failure for worker in workers if (failure := worker.exception())]:
                    raise failures[0] from None
            except BaseException:
                with contextlib.suppress(KnowledgeError):  # the first error says what is wrong; a full disk repeats it
                    await writer.close()
                raise
            await writer.close()
        finally:
            await client.close()

    async def _work(self, client: ChatClient, writer: StoreWriter) -> None:
        while not self.stopped:
            due = self._waiting and self._waiting[0][0] <= time.monotonic()
            if due or len(self._waiting) > 2 * self.asking.concurrency:
                when, _, number, dialogue = heapq.heappop(self._waiting)
                await asyncio.sleep(max(0.0, when - time.monotonic()))
            elif len(self._finished) > WINDOW or self._next - self.taken > WINDOW:
                await asyncio.sleep(POLL_SECONDS)
                continue
            elif (started := next(self._source, None)) is not None:
                number, job = started
                self._started[number] = job
                dialogue = Dialogue(job)
            elif self._waiting:
                await asyncio.sleep(POLL_SECONDS)
                continue
            else:
                return
            await self._converse(number, dialogue, client, writer)

    async def _converse(self, number: int, dialogue: Dialogue, client: ChatClient, writer: StoreWriter) -> None:
        while dialogue.request is not None:
            request, answer = dialogue.request, await writer.claim(dialogue.request.key)
            if answer is not None and answer.status == MISSING:
                entry = (time.monotonic() + POLL_SECONDS, next(self._numbers), number, dialogue)
                heapq.heappush(self._waiting, entry)
                return
            if answer is None:
                answer = await client.ask(request)
                writer.save(request, answer)
                if answer.attempts:  # there is none where its picture cannot be read
                    self.progress.count(answer)
                    self._give_up_when_all_fails(answer)
            else:
                self.progress.stored += 1
                self._answered |= answer.status != FAILED
            if self.stopped:
                return
            dialogue.send(answer)
        self.progress.jobs += 1
        self._finish(number, dialogue.result)

    def _finish(self, number: int, result: Any) -> None:
        self._finished[number] = (self._started.pop(number).id, result)
        while self._next in self._finished:
            self.results.put(self._finished.pop(self._next))
            self._next += 1

    def _give_up_when_all_fails(self, answer: Answer) -> None:
        if answer.status != FAILED:
            self._failures_in_a_row, self._answered = 0, True
        elif not (self._answered and answer.reason.startswith("status 4")):
            # A request that is rejected while others are answered says nothing about the endpoint.
            self._failures_in_a_row += 1
        most = max(MOST_FAILURES, 2 * self.asking.concurrency)
        if self._failures_in_a_row >= (MOST_WITHOUT_CONNECTION if answer.reason.startswith(NO_CONNECTION) else most):
            message = f"The last {self._failures_in_a_row} requests all failed, the last one with: {answer.reason}."
            fix = "Answers so far are stored; run the same command again when the endpoint works."
            raise KnowledgeError(message, place=self.settings.endpoint, fix=fix)


@contextlib.contextmanager
def _progress_bar(asking: Asking, total: int | None, unit: str) -> Iterator[Callable[[], None]]:
    """A bar over jobs with rate, time left, tokens, cost and failures; yields the function that updates it."""
    if not asking.bar:
        yield lambda: None
        return
    progress, first = asking.progress, asking.progress.jobs
    with tqdm(total=total, unit=f" {unit}", file=sys.stderr, dynamic_ncols=True, mininterval=0.5) as bar:

        def show() -> None:
            elapsed = max(bar.format_dict["elapsed"], 1e-9)
            shown = {
                "asked": f"{progress.asked.total():,}",
                "req/s": f"{progress.asked.total() / elapsed:.1f}",
                "tokens": f"{progress.prompt_tokens:,}+{progress.completion_tokens:,}",
            }
            if asking.price is not None:
                shown["cost"] = f"${asking.price.cost(progress.prompt_tokens, progress.completion_tokens):.2f}"
            if progress.asked[FAILED]:
                shown["failed"] = f"{progress.asked[FAILED]:,}"
            bar.set_postfix(shown, refresh=False)
            bar.update(progress.jobs - first - bar.n)

        yield show


def _stop_on_signals(stop: Callable[[], None]) -> Callable[[], None]:
    """Call `stop` at the first SIGINT or SIGTERM; returns a function that restores the earlier handlers."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: object) -> None:
        restore()
        stop()

    for number in before:
        signal.signal(number, handle)
    return restore
