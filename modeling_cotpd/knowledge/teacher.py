"""The teacher: any OpenAI-compatible endpoint, asked with bounded patience."""

import asyncio
import email.utils
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import openai

from modeling_cotpd.errors import KnowledgeError, SettingError
from modeling_cotpd.knowledge.answer import FAILED, Answer, MalformedAnswer, read_answer
from modeling_cotpd.knowledge.request import Request, endpoint_name

OPENAI_URL = "https://api.openai.com/v1"
FIRST_DELAY, LONGEST_DELAY, LONGEST_RETRY_AFTER = 0.5, 30.0, 600.0
# Only keys of this length are blotted out of texts: local servers take "none" or "EMPTY", which are words.
SHORTEST_SECRET = 8


@dataclass(frozen=True)
class TeacherSettings:
    """Whom to ask, and how.

    Args:
        model (`str`): The model's name at the endpoint.
        base_url (`str`): The endpoint, up to `/v1`.
        endpoint (`str`): The name under which answers are stored; `base_url` without secrets by default. Give one when
            the same teacher is reached at changing addresses, such as another port after each start.
        sampling (`dict`): Everything in a request's body beside `model` and `messages`; part of every answer's key.
            `temperature` 0 as in the paper, so that a teacher's knowledge can be repeated; `max_tokens` 512 is ours:
            the longest of 22,000 published explanations of Twitter-2015 and 2017 has 830 characters, about 210 tokens.
            `None` removes a setting.
        api_key_variable (`str`): The environment variable that holds the key. The key itself is kept nowhere.
        timeout (`float`): Seconds after which one attempt counts as stalled, waiting and reading together.
        retries (`int`): Further attempts after a failed one. 6 with delays doubling from 0.5 s is half a minute.
        first_delay (`float`): Seconds before the first retry; each further one waits twice as long, up to 30 s.

    Raises:
        SettingError: A setting is out of range.
    """

    model: str
    base_url: str = OPENAI_URL
    endpoint: str = ""
    sampling: dict = field(default_factory=dict)
    api_key_variable: str = "OPENAI_API_KEY"
    timeout: float = 120.0
    retries: int = 6
    first_delay: float = FIRST_DELAY

    def __post_init__(self):
        if not self.model:
            raise SettingError(
                "The teacher's model has no name.", place="model", fix="For example --model gpt-5.4-nano"
            )
        for name, least in (("timeout", 0.001), ("retries", 0), ("first_delay", 0)):
            if getattr(self, name) < least:
                raise SettingError(f"{getattr(self, name)} is too small, the least is {least}.", place=name)
        if clash := {"model", "messages", "stream", "n"} & set(self.sampling):
            raise SettingError(f"{sorted(clash)[0]!r} can not be set here.", place="sampling")
        sampling = {"temperature": 0, "max_tokens": 512, **self.sampling}
        object.__setattr__(self, "sampling", {name: value for name, value in sampling.items() if value is not None})
        name = endpoint_name(self.base_url)
        object.__setattr__(self, "endpoint", self.endpoint or name)

    def body(self, messages: list[dict], **more: object) -> dict:
        """A request's body: model, messages, sampling, and what else this one request needs."""
        return {"model": self.model, "messages": messages, **self.sampling, **more}


class Teacher:
    """Sends requests until they are answered or patience ends.

    Retried with growing, randomly shortened delays: dropped connections, timeouts, 408, 409, 429, 5xx, and bodies that
    are no chat completion. `openai`'s own retries are switched off, because they leave out the last of these and
    would not show in the count of attempts. A `Retry-After` holds back all requests of this teacher, since a rate
    limit is the account's and not the request's.

    Args:
        settings (`TeacherSettings`): Whom to ask, and how.
    """

    def __init__(self, settings: TeacherSettings):
        self.settings = settings
        self._key = os.environ.get(settings.api_key_variable, "")
        if not self._key and settings.base_url.startswith(OPENAI_URL):
            raise SettingError(
                "There is no API key.",
                place=f"environment variable {settings.api_key_variable}",
                fix=f"Run: export {settings.api_key_variable}=... (or give a server that needs none as --base-url)",
            )
        self._client = openai.AsyncOpenAI(
            api_key=self._key or "none", base_url=settings.base_url, timeout=settings.timeout, max_retries=0
        )
        self._not_before = 0.0

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def ask(self, request: Request) -> Answer:
        """The answer to a request, one with status `failed` and the reason when none was to be had.

        Raises:
            KnowledgeError: Asking on is senseless, whatever the request: the key or the model is not accepted, or the
                account has no credit.
        """
        try:
            body = request.body_to_send()
        except OSError as error:
            return Answer(FAILED, reason=f"the picture can not be read: {error}")
        attempt = 0
        while True:
            attempt += 1
            await self._hold_back()
            try:
                # `post` with the raw body as result: its text is stored as it came, a body that is no JSON is ours to
                # judge, and the fifth of the client's time that goes into checking the types of our dicts is saved.
                response = await asyncio.wait_for(
                    self._client.post("/chat/completions", body=body, cast_to=openai.HttpxBinaryResponseContent),
                    self.settings.timeout,
                )
                return read_answer(self.blot_out(response.text), attempt)
            except MalformedAnswer as error:
                reason, delay = f"malformed response: {error}", None
            except (TimeoutError, openai.APITimeoutError):
                reason, delay = f"no response within {self.settings.timeout:g} s", None
            except openai.APIConnectionError as error:
                reason, delay = f"connection failed: {error.__cause__ or error}", None
            except openai.APIStatusError as error:
                reason = f"status {error.status_code}: {_status_message(error)}"
                self._raise_if_hopeless(error, reason)
                if error.status_code not in (408, 409, 429) and error.status_code < 500:
                    return Answer(FAILED, reason=self.blot_out(reason), attempts=attempt)
                delay = retry_after(error.response.headers)
                if delay is not None:
                    self._not_before = max(self._not_before, time.monotonic() + min(delay, LONGEST_RETRY_AFTER))
            if attempt > self.settings.retries:
                reason = f"{reason} (after {attempt} attempts)"
                return Answer(FAILED, reason=self.blot_out(reason), attempts=attempt)
            if delay is None:
                await asyncio.sleep(self._delay(attempt))

    def blot_out(self, text: str) -> str:
        """A text without the API key, which an endpoint may repeat in what it says."""
        return text.replace(self._key, "[key]") if len(self._key) >= SHORTEST_SECRET else text

    def _delay(self, attempt: int) -> float:
        return min(self.settings.first_delay * 2 ** (attempt - 1), LONGEST_DELAY) * random.uniform(0.5, 1.0)

    async def _hold_back(self) -> None:
        while (wait := self._not_before - time.monotonic()) > 0:
            # Spread over a little time, so that the requests do not all arrive in the same instant.
            await asyncio.sleep(wait + random.uniform(0, min(0.25 * wait, 1.0)))

    def _raise_if_hopeless(self, error: openai.APIStatusError, reason: str) -> None:
        fixes = {
            401: f"Check the key in the environment variable {self.settings.api_key_variable}.",
            402: "Check the account's credit.",
            404: f"Check the model's name, {self.settings.model!r}, and the base URL.",
        }
        code = error.code if isinstance(error.code, str) else ""
        fix = fixes[402] if code == "insufficient_quota" else fixes.get(error.status_code)
        if fix is not None:
            raise KnowledgeError(
                self.blot_out(f"The endpoint declines: {reason}."), place=self.settings.endpoint, fix=fix
            )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait that a response asks for: `Retry-After` in seconds or as a date, or `retry-after-ms`.

    Args:
        headers (`Mapping[str, str]`): The response's headers, looked up without regard to case.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) / unit
        except ValueError:
            date = email.utils.parsedate_tz(value)
            if date is None:
                continue
            seconds = email.utils.mktime_tz(date) - time.time()
        return max(seconds, 0.0) if seconds == seconds else None
    return None


def _status_message(error: openai.APIStatusError) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    return str(body.get("message") or error.response.text or error.message)[:300]
