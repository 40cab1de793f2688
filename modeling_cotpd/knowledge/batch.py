"""Batch mode: requests as OpenAI Batch files, which vLLM's `run-batch` takes as they are, and their outputs back."""

import json
import os
import uuid
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from modeling_cotpd.data.values import whole_number
from modeling_cotpd.errors import KnowledgeError
from modeling_cotpd.files import atomic_write
from modeling_cotpd.knowledge.answer import (
    ANSWERED,
    CUT,
    FAILED,
    MISSING,
    WAITING,
    Answer,
    MalformedAnswer,
    read_answer,
    status_of_rejection,
)
from modeling_cotpd.knowledge.images import ImageProblem
from modeling_cotpd.knowledge.request import Job, Request, replay_all, unreadable
from modeling_cotpd.knowledge.store import ResponseStore
from modeling_cotpd.text_safety import Redactor, storable

MOST_REQUESTS = 50_000
MOST_BYTES = 200_000_000
"""The limits of OpenAI's Batch API for one file: 50,000 requests and 200 MB."""
URL = "/v1/chat/completions"


class BatchWriter:
    """Writes the requests that can be asked now, and marks them in the store as waiting.

    A file is renamed to its place and its requests are marked in one step. Killed before, nothing is marked, and the
    same files come out of the next run, named after their first request's key. `again` names statuses of stored
    answers to ask again, beside `failed`; `waiting` gives up on files that were written before.
    """

    def __init__(
        self,
        store: ResponseStore,
        out: str | os.PathLike,
        again: Iterable[str] = (),
        most_requests: int = MOST_REQUESTS,
        most_bytes: int = MOST_BYTES,
    ):
        self.store, self.out, self.to_ask = store, Path(out), {MISSING, FAILED, *again}
        self.most_requests, self.most_bytes = most_requests, most_bytes
        self.files: list[Path] = []
        self.counts: Counter = Counter()
        self._requests: dict[str, Request] = {}
        self._lines: list[str] = []
        self._bytes = 0
        self._run = uuid.uuid4().hex[:12]

    def write(self, jobs: Iterable[Job]) -> None:
        """Write everything that the jobs can ask before they need an answer that is not there.

        In dialogue mode that is one question per post: write, have it answered, read, and write again for the next.
        """
        for _ in replay_all(jobs, self._answer_to):
            pass
        self._finish_file()

    def _answer_to(self, request: Request) -> Answer:
        written = Answer(WAITING, reason="written to a batch file")
        if request.key in self._requests:
            return written
        answer, waiting = self.store.get(request.key), self.store.batch_of(request.key)
        # When waiting requests are written again, those of an earlier file of this run are not.
        if waiting is not None and (WAITING not in self.to_ask or waiting.endswith(self._run)):
            answer = Answer(WAITING, reason=f"in the batch file {waiting}")
        elif answer.status in self.to_ask:
            try:
                self._add(request)
            except (ImageProblem, OSError) as error:
                return unreadable(error)
            return written
        self.counts[answer.status] += 1
        return answer

    def _add(self, request: Request) -> None:
        body = request.body_to_send()
        line = json.dumps({"custom_id": request.key, "method": "POST", "url": URL, "body": body}) + "\n"
        if len(line) > self.most_bytes:
            message = f"One request has {len(line):,} bytes, a batch file may have {self.most_bytes:,}."
            place = f"{request.purpose}, request {request.key[:12]}"
            raise KnowledgeError(message, place=place, fix="Scale the pictures down.")
        if len(self._requests) == self.most_requests or self._bytes + len(line) > self.most_bytes:
            self._finish_file()
        self._requests[request.key] = request
        self._lines.append(line)
        self._bytes += len(line)

    def _finish_file(self) -> None:
        if not self._requests:
            return
        path = self.out / f"requests-{next(iter(self._requests))[:16]}.jsonl"
        with self.store.transaction():
            for request in self._requests.values():
                self.store.put_in_batch(request, f"{path.name}, run {self._run}")
            with atomic_write(path) as file:
                file.writelines(self._lines)
        self.files.append(path)
        self.counts["written"] += len(self._requests)
        self._requests, self._lines, self._bytes = {}, [], 0


def read_batch(
    paths: Iterable[str | os.PathLike], store: ResponseStore, secrets: Iterable[str] = ()
) -> tuple[Counter, list[str]]:
    """Read output and error files of OpenAI's Batch API or vLLM's `run-batch`, in any order, repeatedly.

    `secrets` are redacted. Returns the number of lines by status of their answer (`known` for what was answered
    before), and one message with file and line for everything that could not be used.
    """
    counts: Counter = Counter()
    problems: list[str] = []
    redact = Redactor(secrets)
    for path in paths:
        with Path(path).open("rb") as lines, store.transaction():
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        counts[_read_line(line, store, redact)] += 1
                    except _Unusable as error:
                        problems.append(f"{path}, line {number}: {error}")
    return counts, problems


class _Unusable(ValueError):
    """A line that holds no answer to a request of the store."""


def _read_line(line: bytes, store: ResponseStore, redact: Redactor) -> str:
    """Store the answer of a line and return its status; `known` when the store has a better one."""
    try:
        row = json.loads(line)
        key, response, error = row["custom_id"], row.get("response") or {}, row.get("error")
        body, given = response.get("body"), response.get("status_code")
        status = whole_number(given)
        if not isinstance(key, str) or (status is None and given is not None):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise _Unusable(f"this is not a line of a batch output ({type(problem).__name__}).") from None
    key = storable(key)
    request = store.request(key)
    if request is None:
        raise _Unusable(f"the store knows no request {redact(key)[:16]!r}.")
    if error or not 200 <= (status or 0) < 300:
        message = redact(json.dumps(error or body, ensure_ascii=False))
        kind = status_of_rejection(status or 0, message)
        answer = Answer(kind or FAILED, reason=f"batch status {status}: {message[:300]}", attempts=1)
    else:
        try:
            text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
            answer = read_answer(redact(text)).redacted(redact)
        except (MalformedAnswer, RecursionError) as problem:
            answer = Answer(FAILED, reason=f"malformed response: {problem}", attempts=1)
    # The answer to what was asked again replaces the stored one; so does a better one, of a file read before it.
    stored, again = store.get(key), store.batch_of(key) is not None
    store.end_batch(key)
    rank = {ANSWERED: 2, CUT: 1}
    better = rank.get(answer.status, 0) > rank.get(stored.status, 0)
    if not (again or better or stored.status in (WAITING, FAILED, MISSING)):
        return "known"
    store.save(request, answer)
    return answer.status
