"""The dry run: which requests a run would send, and their cost."""

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from modeling_cotpd.errors import SettingError, check_at_least
from modeling_cotpd.knowledge.answer import ANSWERED, FAILED, MISSING, Answer
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.request import Job, Request, replay_all
from modeling_cotpd.knowledge.store import ResponseStore

PRICE_FILE = Path(__file__).parent / "prices.json"
CHARACTERS_PER_TOKEN = 4.0
TOKENS_PER_MESSAGE = 4
TOKENS_PER_PICTURE = 1000
EXPECTED_CHARACTERS = {
    **{"noun": 90, "sentence": 300, "multimodality": 200},
    **{"summarize": 300, "entities": 120, "relation": 40, "caption": 100},
}
"""Mean lengths of the published ChatGPT explanations of Twitter-2015 and 2017; for other purposes, assumptions."""
EXPECTED_OTHERWISE = 200
ENOUGH_ANSWERS = 20
"""With this many stored answers of a purpose, their mean length is the expected length."""


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens, of input and of output."""

    input: float
    output: float

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


def find_price(model: str, price_in: float | None = None, price_out: float | None = None) -> Price | None:
    """Return the price of a model: as given, in dollars per million tokens, else from `prices.json`, else `None`.

    A date behind a listed name is ignored (`gpt-4o-mini-2024-07-18`).
    """
    place = "--price-in, --price-out"
    if price_in is not None and price_out is not None:
        check_at_least(price_in, 0, place)
        check_at_least(price_out, 0, place)
        return Price(price_in, price_out)
    if price_in is not None or price_out is not None:
        raise SettingError("Give both prices or neither.", place=place)
    models = json.loads(PRICE_FILE.read_text("utf-8"))["models"]
    name = model.rsplit("/", 1)[-1]
    for listed in sorted(models, key=len, reverse=True):
        if name == listed or (name.startswith(f"{listed}-") and name[len(listed) + 1].isdigit()):
            return Price(*models[listed])
    return None


@dataclass
class Estimate:
    """Requests to send by purpose, tokens, and purposes whose output was `measured` on stored answers."""

    requests: Counter = field(default_factory=Counter)
    stored: int = 0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    most_completion_tokens: float = 0.0
    measured: set[str] = field(default_factory=set)

    def lines(self, price: Price | None) -> list[str]:
        """Return the estimate in words."""
        kinds = ", ".join(f"{count:,} {purpose}" for purpose, count in self.requests.items()) or "nothing"
        output = (
            "output as long as this model's answers in the store so far"
            if self.requests and self.measured == set(self.requests)
            else "output as long as published ChatGPT explanations; after a run with --limit 50, as measured"
        )
        cost = "cost: unknown price; give --price-in and --price-out in dollars per million tokens"
        if price is not None:
            expected = price.cost(self.prompt_tokens, self.completion_tokens)
            # In a dialogue long answers also come back as input of the next questions.
            most = price.cost(self.prompt_tokens + self.most_completion_tokens, self.most_completion_tokens)
            cost = (
                f"cost, estimated: ${expected:,.2f}, at most about ${most:,.2f} if every answer reaches its token "
                f"limit (${price.input:g} in, ${price.output:g} out per million tokens; check your provider's prices)"
            )
        return [
            f"requests to send: {self.requests.total():,} ({kinds}); answered already: {self.stored:,}",
            f"tokens, estimated: {self.prompt_tokens:,.0f} in, {self.completion_tokens:,.0f} out ({output})",
            cost,
        ]


def estimate(
    jobs: Iterable[Job], store: str | os.PathLike, settings: EndpointSettings, again: Iterable[str] = ()
) -> Estimate:
    """Count the requests that a run would send, and estimate their tokens; nothing is sent, and no store is made.

    A request without a stored answer is taken to be answered with its `Request.example`, or with a text of the
    expected length, so that the later questions of a dialogue are counted. Equal requests are counted once.
    """
    result, to_ask = Estimate(), {MISSING, FAILED, *again}

    def answer_to(request: Request) -> Answer:
        answer = opened.get(request.key) if opened is not None else Answer(MISSING)
        new = is_new(request.key)
        if answer.status not in to_ask:
            result.stored += new
            return answer
        count, output = usage.get(request.purpose, (0, 0.0))
        limit = request.body.get("max_tokens") or request.body.get("max_completion_tokens") or 0
        if count >= ENOUGH_ANSWERS:
            result.measured.add(request.purpose)
        else:
            output = EXPECTED_CHARACTERS.get(request.purpose, EXPECTED_OTHERWISE) / CHARACTERS_PER_TOKEN
        output = min(output, limit or output)
        if new:
            result.requests[request.purpose] += 1
            result.prompt_tokens += message_tokens(request.body["messages"])
            result.completion_tokens += output
            result.most_completion_tokens += limit or output
        return Answer(ANSWERED, request.example or "x" * round(output * CHARACTERS_PER_TOKEN))

    with ResponseStore(store) if Path(store).exists() else nullcontext() as opened, seen_keys() as is_new:
        usage = opened.usage(settings.endpoint, settings.model) if opened is not None else {}
        for _ in replay_all(jobs, answer_to):
            pass
    return result


@contextmanager
def seen_keys() -> Iterator[Callable[[str], bool]]:
    """Yield a test of whether a text comes for the first time; many texts go to a temporary file, not into memory."""
    with closing(sqlite3.connect("")) as database:
        database.execute("CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID")
        yield lambda key: database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount > 0


def message_tokens(messages: list[dict]) -> float:
    """Return the estimated tokens of messages: 4 characters each, 4 more per message, 1,000 per picture."""
    contents = [message["content"] for message in messages]
    parts = [part for each in contents for part in ([{"text": each}] if isinstance(each, str) else each)]
    tokens = (len(part["text"]) / CHARACTERS_PER_TOKEN if "text" in part else TOKENS_PER_PICTURE for part in parts)
    return sum(tokens) + TOKENS_PER_MESSAGE * len(messages)
