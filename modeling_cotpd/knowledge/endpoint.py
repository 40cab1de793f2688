"""The client of an OpenAI-compatible endpoint: patient with faults, silent about secrets."""

import asyncio
import base64
import contextlib
import email.utils
import json
import logging
import os
import random
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import httpx2
import openai

from modeling_cotpd.errors import KnowledgeError, SettingError
from modeling_cotpd.knowledge.answer import FAILED, REFUSED, Answer, MalformedAnswer, read_answer
from modeling_cotpd.knowledge.images import Picture
from modeling_cotpd.knowledge.request import Request, endpoint_name
from modeling_cotpd.text_safety import Redactor, printable, storable

logger = logging.getLogger(__name__)

OPENAI_URL = "https://api.openai.com/v1"
FIRST_DELAY, LONGEST_DELAY, LONGEST_RETRY_AFTER = 0.5, 30.0, 600.0
LONGEST_REASON = 300
NO_CONNECTION = "no connection"
"""How the reason of a failed answer begins when the endpoint could not be reached."""
RENAMED = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""What a refused parameter is called at other models."""
OPTIONAL = ("temperature", *RENAMED)
"""The parameters that every request has by default, so that the client may leave them out where they are refused."""
_UNSUPPORTED = re.compile(
    r"unsupported|not (?:be )?(?:support|permitted|allowed|accepted)|n't support|unrecognized|unknown|unexpected"
    r"|extra inputs?|additional propert|deprecated|only the default|only (?:\w+ )?supports?|no longer|use '?max_",
    re.IGNORECASE,
)
_FILTERED = re.compile(
    r"content.?(?:filter|policy|management|moderation)|responsible.?ai|moderation|flagged|data.?inspection"
    r"|safety (?:system|polic|setting|reason)|inappropriate|usage polic|sensitive (?:content|information|word)"
    r"|prohibited.?content|violat|guardrail|risk.?control|invalid_prompt|high risk|unsafe|敏感|违规|不当内容|安全审核",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context.?(?:length|window|size)|maximum (?:context|prompt|input|sequence)|max_model_len|input length"
    r"|too (?:long|many (?:input |prompt )?tokens)"
    r"|(?:prompt|input|request|context|image)s? (?:\w+ )?(?:is |are )?too large"
    r"|(?:exceed|longer|larger|more)\w* (?:than )?(?:the )?(?:\w+ ){0,4}(?:tokens?|context|length|limit)"
    r"|string_above_max_length|token limit|reduce (?:the|your) (?:length|prompt|input)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class EndpointSettings:
    """Which model is asked, where and how.

    Args:
        model (`str`): The model's name at the endpoint.
        base_url (`str`, *optional*): The endpoint, up to `/v1`. A query, such as Azure's `?api-version=...`, is sent
            along with every request.
        endpoint (`str`, *optional*): The name under which answers are stored; `base_url` without secrets by default.
            Name one when the address of the same endpoint changes, such as another port after each start.
        sampling (`dict`, *optional*): Everything in a request's body beside `model` and `messages`; part of every
            answer's key. Defaults: `temperature` 0 as in the paper, `max_tokens` 512 (the longest of 22,000 published
            explanations has about 210 tokens). `None` removes a setting.
        api_key_variable (`str`, *optional*): The environment variable that holds the key. The key is stored nowhere.
        timeout (`float`, *optional*, defaults to 120): Seconds until one attempt counts as stalled.
        retries (`int`, *optional*, defaults to 6): Further attempts after a failed one.
        first_delay (`float`, *optional*, defaults to 0.5): Seconds before the first retry; each further one waits
            twice as long, up to 30 s.

    Raises:
        SettingError: A setting is out of range.

    Example:
        >>> EndpointSettings("my-model", "http://127.0.0.1:8000/v1").endpoint
        'http://127.0.0.1:8000/v1'
    """

    model: str
    base_url: str = field(default=OPENAI_URL, repr=False)
    endpoint: str = ""
    sampling: dict = field(default_factory=dict)
    api_key_variable: str = "OPENAI_API_KEY"
    timeout: float = 120.0
    retries: int = 6
    first_delay: float = FIRST_DELAY

    def __post_init__(self):
        if not self.model:
            raise SettingError("The model has no name.", place="model", fix="For example --model gpt-5.4-nano")
        for name, least in (("timeout", 0.001), ("retries", 0), ("first_delay", 0)):
            if getattr(self, name) < least:
                raise SettingError(f"{getattr(self, name)} is too small, the least is {least}.", place=name)
        if clash := {"model", "messages", "stream", "n"} & set(self.sampling):
            raise SettingError(f"{sorted(clash)[0]!r} cannot be set here.", place="sampling")
        sampling = {"temperature": 0, "max_tokens": 512, **self.sampling}
        object.__setattr__(self, "sampling", {name: value for name, value in sampling.items() if value is not None})
        name = endpoint_name(self.base_url)
        object.__setattr__(self, "endpoint", Redactor(self.secrets())(self.endpoint or name))

    def request(
        self, purpose: str, prompt: str, messages: list[dict], picture: Picture | None = None, **more: object
    ) -> Request:
        """Return the request with these messages, this sampling, and what `more` its body needs."""
        body = {"model": self.model, "messages": messages, **self.sampling, **more}
        return Request(self.endpoint, purpose, prompt, body, picture)

    def api_key(self) -> str:
        """Return the key without white space and quotation marks around it; empty when there is none.

        Raises:
            SettingError: It cannot be sent in a header; the message does not show it.
        """
        key = _bare_key(os.environ.get(self.api_key_variable, ""))
        if not key.isascii() or not key.isprintable() or " " in key:
            raise SettingError(
                "The API key has characters that no key has, such as spaces, line ends or quotation marks.",
                place=f"environment variable {self.api_key_variable}",
                fix=f"Set it again: export {self.api_key_variable}=...",
            )
        return key

    def secrets(self) -> list[str]:
        """Return everything that must not be stored or shown: the key in each form, and what the base URL hides."""
        raw, parts = os.environ.get(self.api_key_variable, ""), urlsplit(self.base_url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        basic = base64.b64encode(f"{user}:{password}".encode()).decode() if user or password else ""
        query = [value for name, value in parse_qsl(parts.query) if name != "api-version"]
        return [raw, _bare_key(raw), parts.password or "", password, basic, *query]


def _bare_key(raw: str) -> str:
    return re.sub(r"^bearer\s+", "", raw.strip().strip("\"'`“”„‘’‚«»").strip(), flags=re.IGNORECASE)


class _Unanswered(Exception):
    """An attempt that brought no answer, with the seconds to wait that the endpoint asks for."""

    def __init__(self, reason: str, delay: float | None = None):
        super().__init__(reason)
        self.delay = delay


class ChatClient:
    """Sends requests until they are answered or the attempts are used up.

    Retried with growing, randomly shortened delays: dropped connections, timeouts, 408, 409, 429, 5xx, and bodies
    that are not a finished chat completion. The retries of `openai` are switched off, because they leave out the last
    of these and do not count. A `Retry-After` holds back all requests of this client, since a rate limit is the
    account's and not the request's. Parameters that the model refuses are renamed or left out, for all later requests
    too.

    Args:
        settings (`EndpointSettings`): Which model is asked, where and how.

    Raises:
        SettingError: The key is missing or malformed, or the environment's proxy cannot be used.
    """

    def __init__(self, settings: EndpointSettings):
        self.settings = settings
        key = settings.api_key()
        if not key and settings.base_url.startswith(OPENAI_URL):
            raise SettingError(
                "There is no API key.",
                place=f"environment variable {settings.api_key_variable}",
                fix=f"Run: export {settings.api_key_variable}=... (or give a server that needs none as --base-url)",
            )
        self.redact = Redactor(settings.secrets())
        parts = urlsplit(settings.base_url.strip())
        host, (login, _, address) = parts.hostname or "", parts.netloc.rpartition("@")
        # A name and password go into a header, because URLs appear in logs.
        headers = {"Authorization": f"Basic {base64.b64encode(unquote(login).encode()).decode()}"} if login else {}
        if key and host.endswith(".azure.com"):
            headers["api-key"] = key
        try:
            self._client = openai.AsyncOpenAI(
                api_key=key or "none",
                base_url=urlunsplit((parts.scheme, address, parts.path.removesuffix("/chat/completions"), "", "")),
                default_query=dict(parse_qsl(parts.query)),
                default_headers=headers,
                timeout=settings.timeout,
                max_retries=0,
                # A proxy is no way to a server on this machine.
                http_client=openai.DefaultAsyncHttpxClient(trust_env=False) if _is_loopback(host) else None,
            )
        except (ImportError, ValueError, OSError, httpx2.InvalidURL, openai.OpenAIError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise SettingError(
                f"The connection cannot be set up: {self.redact(reason)}.",
                place="the environment's proxy (ALL_PROXY, HTTPS_PROXY, NO_PROXY) or certificates (SSL_CERT_FILE)",
                fix="Unset the variable or name an http:// proxy; socks5:// needs: pip install 'httpx2[socks]'",
            ) from None
        self._not_before = 0.0
        self._reached = True
        self._renamed: dict[str, str | None] = {}
        _redact_logs(self.redact)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def ask(self, request: Request) -> Answer:
        """Return the answer to a request; one with status `failed` or `refused` and the reason when there is none.

        Raises:
            ImageProblem: The request's picture cannot be decoded; nothing was sent.
            KnowledgeError: No request can succeed: the key or the model is not accepted, or the account has no credit.
        """
        try:
            body = await asyncio.to_thread(request.body_to_send) if request.picture else request.body
        except OSError as error:
            return Answer(FAILED, reason=f"the picture cannot be read: {error}")
        attempt = failures = 0
        while True:
            attempt += 1
            await self._hold_back()
            sent = self._adapted(body)
            try:
                answer = await self._attempt(sent)
                if answer is not None:
                    return replace(answer, attempts=attempt).redacted(self.redact)
                continue  # a parameter is named otherwise from now on
            except _Unanswered as error:
                failures += 1
                if failures > self.settings.retries:
                    reason = storable(f"{error} (after {attempt} attempts)")
                    return Answer(FAILED, reason=self.redact(reason), attempts=attempt)
                pause = self._delay(failures)
                if error.delay is None or error.delay < pause:
                    await asyncio.sleep(pause)

    async def _attempt(self, body: dict) -> Answer | None:
        """Send a body once; `None` when it can be sent again with other names of its parameters.

        Raises:
            _Unanswered: There is no answer, and another attempt may bring one.
        """
        try:
            # `post` with the raw body as result: its bytes are decoded and judged here, and the fifth of the client's
            # time that goes into checking the types of our dicts is saved.
            response = await asyncio.wait_for(
                self._client.post("/chat/completions", body=body, cast_to=openai.HttpxBinaryResponseContent),
                self.settings.timeout,
            )
            self._reached = True
            return read_answer(self.redact(_decoded(response.response)))
        except MalformedAnswer as error:
            raise _Unanswered(f"malformed response: {error}") from None
        except (TimeoutError, openai.APITimeoutError):
            raise _Unanswered(f"no response within {self.settings.timeout:g} s") from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            if not isinstance(cause, httpx2.ConnectError):
                raise _Unanswered(f"connection failed: {cause}") from None
            self._warn_of_no_connection(cause)
            raise _Unanswered(f"{NO_CONNECTION}: {cause}") from None
        except openai.APIStatusError as error:
            return self._rejected(error, body)
        except (openai.OpenAIError, ValueError) as error:
            raise _Unanswered(f"malformed response: {type(error).__name__}: {error}") from None

    def _warn_of_no_connection(self, cause: Exception) -> None:
        """Log the first of the failures to connect, because the retries take a while."""
        if self._reached:
            self._reached = False
            logger.warning(
                "%s cannot be reached: %s. Start the server, or correct the URL (--base-url). Further attempts: %d.",
                *map(self.redact, (endpoint_name(self.settings.base_url), str(cause))),
                self.settings.retries,
            )

    def _rejected(self, error: openai.APIStatusError, sent: dict) -> Answer | None:
        """What an error status means: as `_attempt` returns and raises it."""
        message = self.redact(_message_of(error))
        reason = f"status {error.status_code}: {message[:LONGEST_REASON]}"
        if self._learn(error, message, sent):
            return None
        said = f"{message} {json.dumps(error.body, default=str)}"
        if (status := status_of_rejection(error.status_code, said)) is not None:
            return Answer(status, reason=reason)
        self._raise_if_hopeless(error, reason)
        if error.status_code not in (408, 409, 429) and error.status_code < 500:
            return Answer(FAILED, reason=reason)
        delay = retry_after(error.response.headers)
        if delay is not None:
            self._not_before = max(self._not_before, time.monotonic() + min(delay, LONGEST_RETRY_AFTER))
        raise _Unanswered(reason, delay)

    def _adapted(self, body: dict) -> dict:
        """The body with the names of parameters that the model accepts."""
        if not any(name in body for name in self._renamed):
            return body
        adapted = {name: value for name, value in body.items() if name not in self._renamed}
        for name, other in self._renamed.items():
            if name in body and other is not None and other not in body:
                adapted[other] = body[name]
        return {name: value for name, value in adapted.items() if self._renamed.get(name, name) is not None}

    def _learn(self, error: openai.APIStatusError, message: str, sent: dict) -> bool:
        """Whether the request can be sent again because a parameter is refused by name."""
        if error.status_code not in (400, 422):
            return False
        body = error.body if isinstance(error.body, dict) else {}
        named = [body.get("param"), *re.findall(r"[A-Za-z_]+", message)]
        name = next((name for name in named if name in OPTIONAL and name in sent), None)
        if name is None or not _UNSUPPORTED.search(f"{body.get('code')} {message}"):
            return False
        # Another worker may have learned it while this request was under way; then nothing changes here.
        original = next((key for key, value in self._renamed.items() if value == name), name)
        other = RENAMED.get(name) if original == name else None
        if self._renamed.get(original, original) == name:
            self._renamed[original] = other
            now = f"name it {other}" if other else "go without it"
            logger.warning("%s refuses %s; requests %s.", self.settings.model, name, now)
        return True

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
            raise KnowledgeError(f"The endpoint declines: {reason}.", place=self.settings.endpoint, fix=fix)


def status_of_rejection(status: int, message: str) -> str | None:
    """Return `refused` when an HTTP status and message are about this post: filtered, or too long for the model."""
    if status in (413, 451) or (status in (400, 403, 422) and _FILTERED.search(message)):
        return REFUSED
    # llama.cpp reports a prompt that is too long with 500.
    return REFUSED if status in (400, 422, 500) and _TOO_LONG.search(message) else None


def _decoded(response) -> str:
    """The body of a response as text: UTF-8 as JSON is, else what it declares or begins with."""
    content = response.content
    for encoding in (json.detect_encoding(content), response.charset_encoding or "utf-8"):
        with contextlib.suppress(UnicodeError, LookupError):
            return content.decode(encoding)
    return content.decode("utf-8", "replace")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait that a response's headers ask for, `None` when they ask for none.

    `Retry-After` holds seconds or a date. Zero and the past say nothing about when to come back.

    Example:
        >>> retry_after({"retry-after": "3"}), retry_after({"retry-after": "0"})
        (3.0, None)
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) / unit
        except ValueError:
            try:
                seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
            except (ValueError, TypeError, OverflowError):
                continue
        if seconds > 0:  # false for what is not a number
            return seconds
    return None


def _message_of(error: openai.APIStatusError) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    message = body.get("message") or body.get("detail") or error.response.text or error.message
    return printable(storable(message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class _RedactingFilter(logging.Filter):
    """Redacts the log records of the HTTP libraries, whose debug output holds URLs and headers."""

    def __init__(self, redact: Redactor):
        super().__init__()
        self.redact = redact

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if (redacted := self.redact(message)) != message:
            record.msg, record.args = redacted, ()
        return True


def _redact_logs(redact: Redactor) -> None:
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("openai", "httpx2", "httpcore2"):
            found = logging.getLogger(name)
            for old in [each for each in found.filters if isinstance(each, _RedactingFilter)]:
                found.removeFilter(old)
            found.addFilter(_RedactingFilter(redact))
