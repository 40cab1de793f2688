"""`examples/service.py` under many clients at once, on loopback: wrong answers, p50, p99, and requests per second.

The service runs in a process of its own with the exported model in float32. Every client sends its next request when
it has the answer to the last. The reference is a call of the predictor per core with a share of the posts. The clients
run on the same machine and take their share of it.
"""

import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import aiohttp
from bench import ROOT, Report, load_split, parser, posts_of, save_student, timed

from modeling_cotpd.data.posts import Post
from modeling_cotpd.inference.load import load_predictor
from modeling_cotpd.inference.run import map_in_threads


def free_port() -> int:
    """Return a port on loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(url: str, process: subprocess.Popen, seconds: float = 300) -> None:
    """Wait until a server answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/docs", timeout=1)
            return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.2)
    raise SystemExit("The service did not start.")


async def ask(url: str, texts: list[str], clients: int) -> tuple[list, list[float]]:
    """Send every text once, from many clients; return the answers and how long each took."""
    answers, seconds = [None] * len(texts), [0.0] * len(texts)
    waiting = iter(range(len(texts)))

    async def client(session: aiohttp.ClientSession) -> None:
        for number in waiting:
            begin = time.perf_counter()
            async with session.post(f"{url}/predict", json={"text": texts[number]}) as response:
                body = await response.json()
                answers[number] = body if response.status == 200 else {"status": response.status}
            seconds[number] = time.perf_counter() - begin

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=clients)) as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    return answers, seconds


def same(answer: dict | None, expected: list[dict]) -> bool:
    """Return whether an answer has these entities, scores to a thousandth."""
    found = (answer or {}).get("entities")
    keys = ("start", "end", "type", "text")
    return (
        found is not None
        and [[e[key] for key in keys] for e in found] == [[e[key] for key in keys] for e in expected]
        and all(abs(a["score"] - b["score"]) < 1e-3 for a, b in zip(found, expected, strict=True))
    )


def main() -> None:
    """Measure the service."""
    options = parser(__doc__)
    options.add_argument("--clients", type=int, default=200, help="Clients at once.")
    options.add_argument("--requests", type=int, default=2000, help="Requests of a turn.")
    arguments = options.parse_args()
    report = Report(arguments)
    split, info = load_split(arguments, "train")
    texts = [f"{text} {number}" for number, text in enumerate(posts_of(split, arguments.requests))]
    with tempfile.TemporaryDirectory() as name:
        save_student(arguments, info, name, [])
        predict, _ = load_predictor(f"{name}/onnx", onnx=True)
        posts = [Post("1", text, "") for text in texts]
        expected = [row["entities"] for row in predict(posts)]
        cores = os.cpu_count() or 1
        shares = [posts[begin::cores] for begin in range(cores)]
        url = f"http://127.0.0.1:{(port := free_port())}"
        command = [sys.executable, "-m", "uvicorn", "service:app", "--app-dir", "examples", "--port", str(port)]
        environment = {
            **os.environ,
            "MODEL": f"{name}/onnx",
            "ONNX": "1",
            "OMP_NUM_THREADS": str(os.cpu_count()),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        with subprocess.Popen([*command, "--log-level", "error"], cwd=ROOT, env=environment) as server:
            try:
                wait_for(url, server)
                wrong, latencies, rates, direct = 0, [], [], []
                asyncio.run(ask(url, texts[: arguments.clients], arguments.clients))  # warm up
                for _ in range(arguments.alternations):
                    done: list = []
                    wall, _ = timed(lambda: done.extend(asyncio.run(ask(url, texts, arguments.clients))))  # noqa: B023
                    wrong += sum(not same(a, e) for a, e in zip(done[0], expected, strict=True))
                    latencies += done[1]
                    rates.append(len(texts) / wall)
                    direct.append(len(texts) / timed(lambda: list(map_in_threads(predict, shares, cores)))[0])
            finally:
                server.terminate()
    latencies.sort()
    report.add(f"service, {arguments.clients} clients: errors and wrong answers", value=wrong, target=0)
    for share in (50, 99):
        report.add(f"service, p{share}, ms", value=1000 * latencies[len(latencies) * share // 100])
    ratio = statistics.median(b / a for a, b in zip(rates, direct, strict=True))
    report.add(
        f"service, {arguments.clients} clients, time of a request",
        reference="a call per core with a share of the posts",
        requests_per_second=statistics.median(rates),
        direct_per_second=statistics.median(direct),
        ratio=ratio,
    )
    report.finish()


if __name__ == "__main__":
    main()
