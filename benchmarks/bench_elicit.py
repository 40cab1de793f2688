"""Time of many requests: the elicitation runner with its store against a bare `AsyncOpenAI` loop, on loopback."""

import asyncio
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import openai
import psutil
from bench import Report, parser

from modeling_cotpd.data.posts import Post
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.explanation import ElicitationPlan, elicitation_jobs
from modeling_cotpd.knowledge.prompt import load_prompts
from modeling_cotpd.knowledge.runner import Asking, run_jobs
from modeling_cotpd.knowledge.store import ResponseStore

PROMPTS = load_prompts()
NUMBERS = itertools.count()


def posts(count: int) -> Iterator[Post]:
    """Posts that have not been asked about before."""
    for number in itertools.islice(NUMBERS, count):
        text = f"post {number} : Varro Quill leaves Lindmere for the season finale tonight"
        yield Post(str(number), text, columns={"caption": "a man on a pier at dusk with two dogs"})


def bare(url: str, count: int, concurrency: int) -> None:
    """A plain loop with the same messages."""

    async def everything() -> None:
        waiting = posts(count)

        async def worker() -> None:
            for post in waiting:
                text = (
                    PROMPTS["post"].fill(text=post.text, caption=post.columns["caption"])
                    + "\n\n"
                    + PROMPTS["noun"].text
                )
                await client.chat.completions.create(
                    model="fast", messages=[{"role": "user", "content": text}], temperature=0, max_tokens=512
                )

        async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
            await asyncio.gather(*[worker() for _ in range(concurrency)])

    asyncio.run(everything())


def runner(url: str, count: int, concurrency: int, memory: list[float]) -> None:
    """The runner with a store on disk; notes the resident memory in MB on the way."""
    settings = EndpointSettings(model="fast", base_url=url)
    plan = ElicitationPlan(settings, PROMPTS, ("noun",), "independent")

    asking = Asking(concurrency)
    with tempfile.TemporaryDirectory() as folder, ResponseStore(Path(folder) / "answers.sqlite") as store:
        jobs = elicitation_jobs(posts(count), plan)
        for number, _ in enumerate(run_jobs(jobs, settings, store, asking)):
            if number % 5000 == 0:
                memory.append(psutil.Process().memory_info().rss / 2**20)
    if asking.progress.asked != {"answered": count}:
        raise SystemExit(f"{count} requests were to be answered: {asking.progress.asked}")


def main() -> None:
    """Measure both."""
    options = parser(__doc__, dataset=False)
    options.add_argument("--requests", type=int, default=25_000, help="Of each side in each alternation.")
    options.add_argument("--concurrency", type=int, default=32, help="Requests under way at once.")
    asked = options.parse_args()
    report = Report(asked)
    endpoint = [sys.executable, str(Path(__file__).parent / "fast_endpoint.py")]
    memory: list[float] = []
    with subprocess.Popen(endpoint, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
            report.compare(
                f"elicitation, {asked.requests} requests",
                "a bare AsyncOpenAI loop",
                lambda: runner(url, asked.requests, asked.concurrency, memory),
                lambda: bare(url, asked.requests, asked.concurrency),
                1.11,
            )
        finally:
            server.kill()
    report.add("resident memory, MB", first=memory[0], highest=max(memory), last=memory[-1])
    report.finish()


if __name__ == "__main__":
    main()
