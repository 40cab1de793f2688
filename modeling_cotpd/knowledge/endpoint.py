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
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

import httpx2
import openai

from modeling_cotpd.errors import KnowledgeError, SettingError, check_at_least, one_line
from modeling_cotpd.knowledge.answer import FAILED, Answer, MalformedAnswer, read_answer, status_of_rejection
from modeling_cotpd.knowledge.images import ImageProblem, Picture
from modeling_cotpd.knowledge.request import Request, unreadable
from modeling_cotpd.text_safety import Redactor, printable, public_url, storable

logger = logging.getLogger(__name__)

OPENAI_URL = "https://api.openai.com/v1"
MOST_BYTES, MOST_REDIRECTS = 80_000_000, 5
_OF_THE_TRANSFER = ("content-encoding", "content-length", "transfer-encoding")
LONGEST_DELAY, LONGEST_RETRY_AFTER = 30.0, 600.0
LONGEST_REASON = 300
_AMOUNT = re.compile(r"\+?(\d+(?:\.\d*)?|\.\d+)\s*(?:(ms|milli|s|m|h)[a-z]*)?", re.IGNORECASE)
_UNITS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
EPOCH = 1e9
"""More seconds than this are a date."""
NO_CONNECTION = "no connection"
"""How the reason of a failed answer begins when the endpoint could not be reached."""
RENAMED = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""What a refused parameter is called at other models."""
OPTIONAL = ("temperature", *RENAMED)
"""The parameters that every request has by default, so that the client may leave them out where they are refused."""
_UNSUPPORTED = re.compile(
    r"unsupported|not (?:be )?(?:support|permitted|allowed|accepted|available)|n't (?:support|allow|accept)"
    r"|unrecognized|unknown|unexpected|extra inputs?|additional propert|deprecated|only the default|no longer"
    r"|only (?:\w+ )?supports?|only [\w.]+ (?:is|are) (?:allowed|supported|accepted|valid)|(?:may|can) only be"
    r"|must be (?:set to |strictly )?(?:1(?:\.0)?\b(?! and)|positive|the default)|cannot (?:both|be set)\b"
    r"|(?:does|is) not (?:accept|allow|take|valid|compatible)|use [`'\"]?max_|不支持|不允许",
    re.IGNORECASE,
)
_HOPELESS = re.compile(
    r"credit balance|billing (?:detail|limit|hard)|arrear|good standing|insufficient (?:credit|fund|balance)|余额|欠费"
    r"|account (?:is |has been |was )?(?:not active|deactivated|suspended|terminated|disabled|banned|overdue)"
    r"|(?:invalid|incorrect|expired) api.?key|api.?key (?:is )?(?:not valid|invalid|expired)",
    re.IGNORECASE,
)
_NO_CREDIT = {"insufficient_quota", "insufficient_user_quota", "exceeded_current_quota_error"}


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
    first_delay: float = 0.5

    def __post_init__(self):
        if not self.model:
            raise SettingError("The model has no name.", place="model", fix="For example --model gpt-5.4-nano")
        for name, least in (("timeout", 0.001), ("retries", 0), ("first_delay", 0)):
            check_at_least(getattr(self, name), least, name)
        if clash := {"model", "messages", "stream", "n"} & set(self.sampling):
            raise SettingError(f"{sorted(clash)[0]!r} cannot be set here.", place="sampling")
        sampling = {"temperature": 0, "max_tokens": 512, **self.sampling}
        object.__setattr__(self, "sampling", {name: value for name, value in sampling.items() if value is not None})
        name, redact = endpoint_name(self.base_url), Redactor(self.secrets())
        object.__setattr__(self, "endpoint", redact(self.endpoint or name))
        if redact(stored := f"{self.model} {json.dumps(self.sampling, default=str)}") != stored:
            message = "The model's name or the sampling holds the API key, and both are stored."
            fix = f"Give the key in the environment variable {self.api_key_variable} alone."
            raise SettingError(message, place="model, sampling", fix=fix)

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
        key, name = _bare_key(os.environ.get(self.api_key_variable, "")), self.api_key_variable
        if not key.isascii() or not key.isprintable() or " " in key:
            message = "The API key has characters that no key has, such as spaces, line ends or quotation marks."
            fix = f"Set it again: export {name}=..."
            raise SettingError(message, place=f"environment variable {name}", fix=fix)
        return key

    def secrets(self) -> list[str]:
        """Return everything that must not be stored or shown: the key in each form, and what the base URL hides."""
        raw, parts = os.environ.get(self.api_key_variable, ""), urlsplit(self.base_url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        basic = base64.b64encode(f"{user}:{password}".encode()).decode() if user or password else ""
        query = [value for name, value in parse_qsl(parts.query) if name != "api-version"]
        # Of a login without a password the name is the secret, as in https://TOKEN@host.
        login = [parts.password or "", password] if password else [parts.username or "", user]
        return [raw, _bare_key(raw), *login, basic, *query, parts.fragment]


def endpoint_name(base_url: str) -> str:
    """Return a base URL as it is stored: without user name, password, query, trailing slash and `/chat/completions`.

    Example:
        >>> endpoint_name("https://me:secret@Example.org/v1/?key=secret")
        'https://example.org/v1'
    """
    try:
        name = public_url(base_url).removesuffix("/chat/completions")
    except ValueError:
        name = ""
    if not name.startswith(("http://", "https://")):
        message = "The base URL does not begin with http:// or https://, a host and a valid port."
        raise SettingError(message, place="base_url", fix="It looks like http://127.0.0.1:8080/v1")
    return name


def _bare_key(raw: str) -> str:
    return re.sub(r"^bearer\s+", "", raw.strip().strip("\"'`“”„‘’‚«»").strip(), flags=re.IGNORECASE)


class _Unanswered(Exception):
    """An attempt that brought no answer, with the seconds to wait that the endpoint asks for."""

    def __init__(self, reason: str, delay: float | None = None):
        super().__init__(reason)
        self.delay = delay


class _RedactingFilter(logging.Filter):
    """Redacts the log records of the HTTP libraries, whose debug output holds URLs and headers."""

    redact = Redactor(())

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if (redacted := self.redact(message)) != message:
            record.msg, record.args = redacted, ()
        return True


_LOGS = _RedactingFilter()


class ChatClient:
    """Sends requests until they are answered or the attempts are used up.

    Retried with growing, randomly shortened delays: dropped connections, timeouts, 408, 409, 425, 429, 5xx, and bodies
    that are not a finished chat completion. The retries of `openai` are switched off, because they leave out the last
    of these and do not count. A `Retry-After` holds back all requests of this client, since a rate limit is the
    account's and not the request's. Parameters that the model refuses are renamed or left out, for all later requests
    too. A key that is missing or malformed, or a proxy that cannot be used, is a `SettingError`.
    """

    def __init__(self, settings: EndpointSettings):
        self.settings = settings
        key = settings.api_key()
        if not key and settings.base_url.startswith(OPENAI_URL):
            place = f"environment variable {settings.api_key_variable}"
            fix = f"Run: export {settings.api_key_variable}=... (or give a server that needs none as --base-url)"
            raise SettingError("There is no API key.", place=place, fix=fix)
        self.redact = Redactor(settings.secrets())
        parts = urlsplit(settings.base_url.strip())
        host, (login, _, address) = parts.hostname or "", parts.netloc.rpartition("@")
        # A name and password go into a header, because URLs appear in logs.
        headers: dict[str, Any] = {"Accept-Encoding": "gzip"}
        if login:
            headers["Authorization"] = f"Basic {base64.b64encode(unquote(login).encode()).decode()}"
        if not host.endswith(".openai.com"):  # the client takes these from the environment
            headers |= {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()}
        if key and host.endswith((".azure.com", ".azure.us", ".azure.cn", ".azure-api.net")):
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
                http_client=_BoundedClient(trust_env=not _is_loopback(host)),
            )
        except (ImportError, ValueError, OSError, httpx2.InvalidURL, openai.OpenAIError) as error:
            message = f"The connection cannot be set up: {self.redact(one_line(error, 1000) or type(error).__name__)}."
            place = "the environment's proxy (ALL_PROXY, HTTPS_PROXY, NO_PROXY) or certificates (SSL_CERT_FILE)"
            fix = "Unset the variable or name an http:// proxy; socks5:// needs: pip install 'httpx2[socks]'"
            raise SettingError(message, place=place, fix=fix) from None
        self._not_before = 0.0
        self._reached = True
        self._renamed: dict[str, str | None] = {}
        _LOGS.redact = self.redact
        for name in list(logging.root.manager.loggerDict):
            if name.partition(".")[0] in ("openai", "httpx2", "httpcore2"):
                logging.getLogger(name).addFilter(_LOGS)

    async def close(self) -> None:
        await self._client.close()

    async def ask(self, request: Request) -> Answer:
        """Return the answer to a request; one with status `failed` or `refused` and the reason when there is none.

        Raises:
            KnowledgeError: No request can succeed: the key or the model is not accepted, or the account has no credit.
        """
        try:
            body = await asyncio.to_thread(request.body_to_send) if request.picture else request.body
        except (ImageProblem, OSError) as error:
            return unreadable(error)
        attempt = failures = 0
        while True:
            attempt += 1
            while (wait := self._not_before - time.monotonic()) > 0:
                # Spread over a little time, so that the requests do not all arrive in the same instant.
                await asyncio.sleep(wait + random.uniform(0, min(0.25 * wait, 1.0)))
            try:
                answer = await self._attempt(self._adapted(body))
                if answer is not None:
                    return replace(answer, attempts=attempt).redacted(self.redact)
                # Else a parameter is named otherwise from now on.
            except _Unanswered as error:
                failures += 1
                if failures > self.settings.retries:
                    reason = storable(f"{error} (after {attempt} attempts)")
                    return Answer(FAILED, reason=self.redact(reason), attempts=attempt)
                longest = min(self.settings.first_delay * 2 ** (failures - 1), LONGEST_DELAY)
                pause = longest * random.uniform(0.5, 1.0)
                if error.delay is None or error.delay < pause:
                    await asyncio.sleep(pause)

    async def _attempt(self, body: dict) -> Answer | None:
        """Send a body once; `None` when it can be sent again with other names of its parameters."""
        try:
            # With the raw body as result, a fifth of the client's time, which goes into checking types, is saved.
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
            if self._reached:  # said at the first failure, because the retries take a while
                self._reached = False
                place, reason = map(self.redact, (endpoint_name(self.settings.base_url), str(cause)))
                hint = "Start the server, or correct the URL (--base-url). Further attempts"
                logger.warning("%s cannot be reached: %s. %s: %d.", place, reason, hint, self.settings.retries)
            raise _Unanswered(f"{NO_CONNECTION}: {cause}") from None
        except openai.APIStatusError as error:
            return self._rejected(error, body)
        except (openai.OpenAIError, ValueError) as error:
            raise _Unanswered(f"malformed response: {type(error).__name__}: {error}") from None

    def _rejected(self, error: openai.APIStatusError, sent: dict) -> Answer | None:
        """What an error status means: as `_attempt` returns and raises it."""
        body = error.body if isinstance(error.body, dict) else {}
        said = body.get("message") or body.get("detail") or error.response.text or error.message
        said = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        message = self.redact(printable(storable(said)))
        reason = f"status {error.status_code}: {message[:LONGEST_REASON]}"
        if error.status_code in (400, 422) and self._learn(body, message, sent):
            return None
        self._raise_if_hopeless(error, reason)
        whole = f"{message} {json.dumps(error.body, default=str)}"
        if (status := status_of_rejection(error.status_code, whole)) is not None:
            return Answer(status, reason=reason)
        if error.status_code not in (408, 409, 425, 429) and error.status_code < 500:
            return Answer(FAILED, reason=reason)
        delay = retry_after(error.response.headers)
        if delay is not None:
            self._not_before = max(self._not_before, time.monotonic() + min(delay, LONGEST_RETRY_AFTER))
        raise _Unanswered(reason, delay)

    def _adapted(self, body: dict) -> dict:
        """The body with the names of parameters that the model accepts."""
        adapted = {name: value for name, value in body.items() if name not in self._renamed}
        for name, other in self._renamed.items():
            if name in body and other is not None:
                adapted.setdefault(other, body[name])
        return adapted

    def _learn(self, body: dict, message: str, sent: dict) -> bool:
        """Whether the request can be sent again because a parameter is refused by name."""
        named = re.findall(r"[A-Za-z_]+", f"{body.get('param')} {message}")
        name = next((name for name in named if name in OPTIONAL and name in sent), None)
        if name is None or not _UNSUPPORTED.search(f"{body.get('code')} {message}"):
            return False
        if status_of_rejection(400, message) is not None:  # the prompt leaves too little for the answer
            return False
        # Another worker may have learned it while this request was under way; then nothing changes here.
        original = next((key for key, value in self._renamed.items() if value == name), name)
        other = RENAMED.get(name) if original == name else None
        if self._renamed.get(original, original) == name:
            self._renamed[original] = other
            now = f"name it {other}" if other else "go without it"
            logger.warning("%s refuses %s; requests %s.", self.settings.model, name, now)
        return True

    def _raise_if_hopeless(self, error: openai.APIStatusError, reason: str) -> None:
        fixes = {
            401: f"Check the key in the environment variable {self.settings.api_key_variable}.",
            402: "Check the account's credit.",
            404: f"Check the model's name, {self.settings.model!r}, and the base URL.",
        }
        status, fix = error.status_code, fixes.get(error.status_code)
        if _NO_CREDIT & {error.code, error.type}:
            fix = fixes[402]
        elif status in (400, 403) and _HOPELESS.search(reason):
            fix = "Check the account and its key."
        elif 300 <= status < 400:
            target = "another place"
            with contextlib.suppress(SettingError):
                target = self.redact(endpoint_name(error.response.headers.get("location", "")))
            fix = f"It redirects to {target}: name that as --base-url, if you trust it."
        if fix is not None:
            raise KnowledgeError(f"The endpoint declines: {reason}.", place=self.settings.endpoint, fix=fix)


def _decoded(response) -> str:
    """The body of a response as text: UTF-8 as JSON is, else what it declares or begins with."""
    content = response.content
    for encoding in (json.detect_encoding(content), response.charset_encoding or "utf-8"):
        with contextlib.suppress(UnicodeError, LookupError):
            return content.decode(encoding)
    return content.decode("utf-8", "replace")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait that a response's headers ask for; `None` for none, zero and the past.

    `Retry-After` holds seconds, with or without a unit, or a date, for some endpoints in seconds since 1970.

    Example:
        >>> retry_after({"retry-after": "3"}), retry_after({"retry-after": "0"})
        (3.0, None)
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        if (amount := _AMOUNT.fullmatch(value.strip())) is not None:
            seconds = float(amount[1]) * _UNITS.get((amount[2] or "").lower(), unit)
            seconds -= time.time() if seconds > EPOCH else 0
        else:
            try:
                seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
            except (ValueError, TypeError, OverflowError):
                continue
        if seconds > 0:
            return seconds
    return None


class _BoundedClient(openai.DefaultAsyncHttpxClient):
    """An HTTP client that stops reading a body that unpacks to too much, and follows redirects within a server only.

    To another server a redirect would take the posts, and headers that hold the key.
    """

    async def send(self, request: httpx2.Request, *, stream: bool = False, **how: Any) -> httpx2.Response:
        for _ in range(MOST_REDIRECTS):
            response = await super().send(request, stream=True, **{**how, "follow_redirects": False})
            body = bytearray()
            try:
                codings = response.headers.get("content-encoding", "").lower().replace(" ", "").split(",")
                if len(codings) > 1 or codings[0] in ("br", "zstd"):  # a few bytes of them can stand for gigabytes
                    raise httpx2.DecodingError(f"the body has the encoding {','.join(codings)}", request=request)
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > MOST_BYTES:
                        raise httpx2.DecodingError(f"the body has more than {MOST_BYTES:,} bytes", request=request)
            finally:
                await response.aclose()
            after = response.next_request
            if after is None or after.method != request.method:
                break
            if (after.url.scheme, after.url.netloc) != (request.url.scheme, request.url.netloc):
                break
            request = after
        headers = [(name, value) for name, value in response.headers.multi_items() if name not in _OF_THE_TRANSFER]
        return httpx2.Response(response.status_code, headers=headers, content=bytes(body), request=request)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
