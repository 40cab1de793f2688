"""The runner: a fixed number of workers pulls jobs, asks what is missing, and stores every answer at once."""

import asyncio
import heapq
import itertools
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from modeling_cotpd.errors import KnowledgeError, SettingError
from modeling_cotpd.knowledge.answer import FAILED, MISSING, Answer
from modeling_cotpd.knowledge.job import Job, Talk
from modeling_cotpd.knowledge.request import Request
from modeling_cotpd.knowledge.store import ResponseStore
from modeling_cotpd.knowledge.store_thread import StoreThread
from modeling_cotpd.knowledge.teacher import Teacher, TeacherSettings

POLL_SECONDS = 0.2
MOST_WORKERS = 1000


@dataclass
class Progress:
    """Where a run stands.

    Args:
        jobs (`int`): Jobs that came to their end.
        asked (`Counter`): Requests sent in this run, by status of their answer.
        stored (`int`): Requests whose answer was there already.
        prompt_tokens (`int`), completion_tokens (`int`): Usage of this run.
        stopped (`bool`): Whether the run was asked to stop before its end.
    """

    jobs: int = 0
    asked: Counter = field(default_factory=Counter)
    stored: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    stopped: bool = False

    def count(self, answer: Answer) -> None:
        """Count an answer that was just asked for."""
        self.asked[answer.status] += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens


class Runner:
    """Drives jobs against a teacher and a store.

    Memory does not grow with the number of jobs: each worker holds one, and those that wait for another process's
    answer are bounded too.

    Args:
        teacher (`Teacher`): Whom to ask.
        store (`StoreThread`): Where answers are.
        concurrency (`int`): Requests under way at once.
        on_change (`Callable[[Progress], None]`): Called after every finished job, for progress bars.
    """

    def __init__(self, teacher: Teacher, store: StoreThread, concurrency: int, on_change: Callable[[Progress], None]):
        if not 1 <= concurrency <= MOST_WORKERS:
            raise SettingError(f"{concurrency} is not between 1 and {MOST_WORKERS}.", place="concurrency")
        self.teacher, self.store, self.concurrency, self.on_change = teacher, store, concurrency, on_change
        self.progress = Progress()
        self._waiting: list[tuple[float, int, Talk, Request]] = []
        self._numbers = itertools.count()
        self._failures_in_a_row = 0
        self._stop = False

    def stop(self) -> None:
        """Begin nothing new; requests under way still come to their end."""
        self._stop = self.progress.stopped = True

    async def run(self, jobs: Iterable[Job]) -> Progress:
        """Drive all jobs.

        Raises:
            KnowledgeError: The endpoint declines everything. Answers that came before are stored.
        """
        source = iter(jobs)
        workers = [asyncio.create_task(self._work(source)) for _ in range(self.concurrency)]
        _, pending = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        if pending:
            # One worker failed. The others may still bring home answers that were paid for.
            self._stop = True
            await asyncio.wait(pending)
        # Every failure is looked at, or asyncio logs those that are not, with tracebacks.
        failures = [failure for worker in workers if (failure := worker.exception())]
        if failures:
            raise failures[0]
        return self.progress

    async def _work(self, source: Iterator[Job]) -> None:
        request: Request | None
        while not self._stop:
            if self._waiting and (
                self._waiting[0][0] <= time.monotonic() or len(self._waiting) > 2 * self.concurrency
            ):
                due, _, talk, request = heapq.heappop(self._waiting)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            elif (job := next(source, None)) is not None:
                talk = job.start()
                request = advance(talk, None)
            elif self._waiting:
                await asyncio.sleep(POLL_SECONDS)
                continue
            else:
                return
            await self._converse(talk, request)

    async def _converse(self, talk: Talk, request: Request | None) -> None:
        while request is not None:
            answer = await self.store.claim(request.key)
            if answer is not None and answer.status == MISSING:
                heapq.heappush(self._waiting, (time.monotonic() + POLL_SECONDS, next(self._numbers), talk, request))
                return
            if answer is None:
                answer = await self.teacher.ask(request)
                self.store.save_soon(request, answer)
                self.progress.count(answer)
                self._give_up_when_all_fails(answer)
            else:
                self.progress.stored += 1
            if self._stop:
                return
            request = advance(talk, answer)
        self.progress.jobs += 1
        self.on_change(self.progress)

    def _give_up_when_all_fails(self, answer: Answer) -> None:
        self._failures_in_a_row = self._failures_in_a_row + 1 if answer.status == FAILED else 0
        if self._failures_in_a_row >= max(20, 2 * self.concurrency):
            raise KnowledgeError(
                f"The last {self._failures_in_a_row} requests all failed, the last one with: {answer.reason}.",
                place=self.teacher.settings.endpoint,
                fix="Answers so far are stored; run the same command again when the endpoint works.",
            )


def advance(talk: Talk, answer: Answer | None) -> Request | None:
    """The next request of a conversation, `None` at its end; `answer` is `None` at its beginning."""
    try:
        return next(talk) if answer is None else talk.send(answer)
    except StopIteration:
        return None


def run_jobs(
    jobs: Iterable[Job],
    settings: TeacherSettings,
    store: ResponseStore,
    *,
    concurrency: int = 16,
    again: Iterable[str] = (),
    on_change: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Ask the teacher for everything in `jobs` that the store does not have.

    Stops in an orderly way at the first interrupt (Ctrl-C) or SIGTERM: requests under way are waited for and stored.
    A second one ends the process at once.

    Args:
        jobs (`Iterable[Job]`): What to ask; may be a generator over any number of jobs.
        settings (`TeacherSettings`): Whom to ask.
        store (`ResponseStore`): Where answers are.
        concurrency (`int`): Requests under way at once. 16 is ours: gentle enough for hosted services' lowest tiers.
        again (`Iterable[str]`): Statuses of stored answers to ask again, beside `failed`, which always is.
        on_change (`Callable[[Progress], None]`): Called after every finished job.

    Raises:
        KnowledgeError: The endpoint declines everything, or the store can not be written.
    """

    async def run() -> Progress:
        teacher = Teacher(settings)
        thread = StoreThread(store, {FAILED, *again}, since=time.time())
        try:
            runner = Runner(teacher, thread, concurrency, on_change)
            restore = stop_on_signals(runner.stop)
            try:
                return await runner.run(jobs)
            finally:
                restore()
        finally:
            await thread.close()
            await teacher.close()

    return asyncio.run(run())


def stop_on_signals(stop: Callable[[], None]) -> Callable[[], None]:
    """Call `stop` at the first SIGINT or SIGTERM; gives back a function that restores what was before."""
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
