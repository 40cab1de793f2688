"""A stub of an OpenAI-compatible endpoint on loopback, fast, deterministic, and faulty on demand.

The answer is a function of the messages alone, as a teacher's at temperature 0 is. Run as a script it serves in a
process of its own and prints its port: `python stub_server.py [LOG] [SECONDS]`.
"""

import asyncio
import contextlib
import hashlib
import json
import sys
import threading
import time
from collections import Counter

REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many", 500: "Error"}


def default_answer(body: dict) -> str:
    return "About this: " + hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()


def completion(text: str, finish_reason: str = "stop", **message: object) -> dict:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "stub",
        "choices": [
            {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text, **message}}
        ],
        "usage": {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30},
    }


class StubServer:
    """Serves chat completions.

    `answer(body)` gives the text; `fault(body, number)` may give a fault for the number-th time (from 1) that this
    body is asked: a tuple ("status", code, headers, message or error), ("drop",), ("half",), ("malformed",),
    ("stall", seconds), ("empty",), ("length",), ("refusal",), ("html",), ("body", object), ("raw", bytes, headers).
    Nothing is answered before `together` requests were under way at once.
    """

    def __init__(self, answer=default_answer, fault=lambda body, number: None, delay=0.0, together=0, log=None):
        self.answer, self.fault, self.delay, self.together, self.log = answer, fault, delay, together, log
        self.asked: Counter = Counter()
        self.answered: Counter = Counter()
        self.headers: list[bytes] = []
        self.times: list[float] = []
        self.bodies: list[dict] = []
        self.most_at_once = self._now = 0
        self.port = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                content = await reader.readexactly(length)
                if len(self.headers) < 50:
                    self.headers.append(head)
                    self.times.append(time.monotonic())
                    self.bodies.append(json.loads(content))
                self._now += 1
                self.most_at_once = max(self.most_at_once, self._now)
                try:
                    if not await self.respond(json.loads(content), writer):
                        break
                finally:
                    self._now -= 1
        writer.close()

    async def respond(self, body: dict, writer: asyncio.StreamWriter) -> bool:
        key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        self.asked[key] += 1
        while self.most_at_once < self.together:
            await asyncio.sleep(0.005)
        if self.delay:
            await asyncio.sleep(self.delay)
        fault = self.fault(body, self.asked[key]) or ("answer",)
        kind, status, headers, data = fault[0], 200, {}, b""
        if kind == "status":
            status, headers = fault[1], fault[2] if len(fault) > 2 else {}
            error = fault[3] if len(fault) > 3 else "out of order"
            data = json.dumps({"error": error if isinstance(error, dict) else {"message": error}}).encode()
        elif kind == "drop":
            writer.transport.abort()
            return False
        elif kind == "stall":
            await asyncio.sleep(fault[1])
        elif kind == "malformed":
            data = b'{"choices": [{"message": {"content": "un'
        elif kind == "html":
            data = b"<html><body>Bad gateway</body></html>"
        elif kind == "raw":
            data, headers = fault[1], fault[2]
        elif kind == "body":
            data = json.dumps(fault[1]).encode()
        elif kind in ("empty", "length", "refusal", "filter"):
            data = {
                "empty": json.dumps(completion("")),
                "length": json.dumps(completion("This goes on and", "length")),
                "refusal": json.dumps(completion(None, refusal="I cannot talk about this.")),
                "filter": json.dumps(completion("", "content_filter")),
            }[kind].encode()
        if not data:
            data = json.dumps(completion(self.answer(body))).encode()
        if kind == "half":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
            writer.write(f"content-length: {len(data)}\r\n\r\n".encode() + data[: len(data) // 2])
            await writer.drain()
            writer.transport.close()
            return False
        lines = {"content-type": "application/json", "content-length": str(len(data)), **headers}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\n{text}\r\n".encode() + data)
        await writer.drain()
        if status == 200 and kind in ("answer", "stall", "empty", "length", "refusal", "filter"):
            self.answered[key] += 1
            if self.log is not None:
                print(key, file=self.log, flush=True)
        return True

    async def serve(self, started) -> None:
        server = await asyncio.start_server(self.handle, "127.0.0.1", 0, limit=2**24)
        self.port = server.sockets[0].getsockname()[1]
        started()
        async with server:
            await server.serve_forever()

    def __enter__(self) -> "StubServer":
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()

        def run():
            asyncio.set_event_loop(self._loop)
            with contextlib.suppress(asyncio.CancelledError):
                self._task = self._loop.create_task(self.serve(ready.set))
                self._loop.run_until_complete(self._task)
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0.01))
            self._loop.close()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        ready.wait()
        return self

    def __exit__(self, *error) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(5)


if __name__ == "__main__":
    log = open(sys.argv[1], "a") if len(sys.argv) > 1 and sys.argv[1] != "-" else None  # noqa: SIM115
    stub = StubServer(log=log, delay=float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
    asyncio.run(stub.serve(lambda: print(stub.port, flush=True)))
