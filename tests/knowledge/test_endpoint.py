import asyncio
import json
import time
from email.utils import formatdate

import pytest
from stub_server import StubServer

from modeling_cotpd.errors import KnowledgeError, SettingError
from modeling_cotpd.knowledge.request import Request
from modeling_cotpd.knowledge.endpoint import Teacher, EndpointSettings, retry_after

SECRET = "sk-very-secret-0123456789"


def ask(server, number=1, **settings):
    settings = EndpointSettings(**{"model": "m", "base_url": server.base_url, "first_delay": 0.01, **settings})

    async def run():
        teacher = Teacher(settings)
        body = settings.body([{"role": "user", "content": f"Post {number}"}])
        try:
            return await teacher.ask(Request(settings.endpoint, "noun", "p", body))
        finally:
            await teacher.close()

    return asyncio.run(run())


def once(*fault):
    return lambda body, number: fault if number == 1 else None


def always(*fault):
    return lambda body, number: fault


@pytest.mark.parametrize(
    "fault",
    [
        ("status", 500),
        ("status", 503),
        ("status", 408),
        ("status", 409),
        ("status", 429),
        ("drop",),
        ("half",),
        ("malformed",),
        ("html",),
        ("body", {"error": {"message": "busy"}}),
        ("stall", 5),
    ],
)
def test_passing_faults_are_retried(fault):
    with StubServer(fault=once(*fault)) as server:
        answer = ask(server, timeout=0.5)
        assert (answer.status, answer.attempts) == ("answered", 2)
        assert server.asked.total() == 2


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (("status", 500), "status 500: out of order (after 3 attempts)"),
        (("drop",), "connection failed: "),
        (("half",), "connection failed: "),
        (("malformed",), "malformed response: the body is not JSON"),
        (("body", [1]), "malformed response: the body is not a chat completion: '[1]'"),
        (("stall", 5), "no response within 0.2 s (after 3 attempts)"),
    ],
)
def test_lasting_faults_end_with_their_reason(fault, reason):
    with StubServer(fault=always(*fault)) as server:
        answer = ask(server, retries=2, timeout=0.2)
        assert (answer.status, answer.attempts) == ("failed", 3)
        assert answer.reason.startswith(reason)
        assert server.asked.total() == 3


def test_a_rejected_request_is_not_retried():
    with StubServer(fault=always("status", 400, {}, "context too long")) as server:
        answer = ask(server)
        assert (answer.status, answer.reason) == ("failed", "status 400: context too long")
        assert server.asked.total() == 1


@pytest.mark.parametrize(("status", "fix"), [(401, "Check the key"), (404, "Check the model's name"), (402, "credit")])
def test_a_hopeless_endpoint_stops_everything(status, fix):
    with StubServer(fault=always("status", status)) as server, pytest.raises(KnowledgeError, match=fix):
        ask(server)


def test_an_account_without_credit_stops_everything():
    class NoCredit(StubServer):
        async def respond(self, body, writer):
            data = json.dumps({"error": {"message": "no money", "code": "insufficient_quota"}}).encode()
            writer.write(f"HTTP/1.1 429 X\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
            await writer.drain()
            return True

    with NoCredit() as server, pytest.raises(KnowledgeError, match="no money"):
        ask(server)


def test_retry_after_holds_back_all_requests():
    times = []

    class Timed(StubServer):
        async def respond(self, body, writer):
            times.append(time.monotonic())
            return await super().respond(body, writer)

    first = []

    def fault(body, number):
        if not first:
            first.append(1)
            return ("status", 429, {"retry-after": "1"})
        return None

    settings = EndpointSettings(model="m", first_delay=0.01)
    with Timed(fault=fault) as server:
        settings = EndpointSettings(model="m", base_url=server.base_url, first_delay=0.01)

        async def run():
            teacher = Teacher(settings)
            requests = [
                Request("e", "noun", "p", settings.body([{"role": "user", "content": f"Post {number}"}]))
                for number in range(3)
            ]
            limited = asyncio.create_task(teacher.ask(requests[0]))
            while not first:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.3)
            answers = await asyncio.gather(limited, *map(teacher.ask, requests[1:]))
            await teacher.close()
            return answers

        assert {answer.status for answer in asyncio.run(run())} == {"answered"}
    assert len(times) == 4
    assert min(times[1:]) - times[0] >= 0.99


def test_retry_after_is_read_in_all_its_forms():
    assert retry_after({}) is None
    assert retry_after({"retry-after": "3"}) == 3
    assert retry_after({"retry-after-ms": "250", "retry-after": "3"}) == 0.25
    assert 8 < retry_after({"retry-after": formatdate(time.time() + 10, usegmt=True)}) <= 10
    assert retry_after({"retry-after": formatdate(time.time() - 10, usegmt=True)}) == 0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({"retry-after": "nan"}) is None


def test_the_key_is_sent_and_never_told(monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET)
    echo = ("status", 400, {}, f"Incorrect key {SECRET} given")
    with StubServer(fault=always(*echo)) as server:
        answer = ask(server, api_key_variable="MY_KEY")
        assert f"authorization: bearer {SECRET}" in server.headers[0].decode().lower()
    assert answer.reason == "status 400: Incorrect key [key] given"
    with StubServer(fault=always("status", 401, {}, f"bad {SECRET}")) as server:
        with pytest.raises(KnowledgeError) as error:
            ask(server, api_key_variable="MY_KEY")
        assert SECRET not in str(error.value)
    with StubServer(answer=lambda body: f"your key is {SECRET}") as server:
        answer = ask(server, api_key_variable="MY_KEY")
        assert SECRET not in repr(answer) and "your key is [key]" in answer.text
    assert SECRET not in repr(EndpointSettings(model="m", api_key_variable="MY_KEY"))


def test_temperature_is_zero_and_everything_can_be_set():
    body = EndpointSettings(model="m").body([])
    assert (body["temperature"], body["max_tokens"]) == (0, 512)
    settings = EndpointSettings(
        model="m", sampling={"temperature": None, "max_tokens": None, "max_completion_tokens": 9, "top_k": 1}
    )
    assert settings.body([]) == {"model": "m", "messages": [], "max_completion_tokens": 9, "top_k": 1}
    seen = []
    with StubServer(answer=lambda body: seen.append(body) or "yes") as server:
        ask(server, sampling={"top_k": 1})
    assert seen == [
        {
            "model": "m",
            "messages": [{"role": "user", "content": "Post 1"}],
            "temperature": 0,
            "max_tokens": 512,
            "top_k": 1,
        }
    ]


def test_settings_are_checked(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for wrong in ({"model": ""}, {"timeout": 0}, {"retries": -1}, {"sampling": {"stream": True}}, {"base_url": "x"}):
        with pytest.raises(SettingError):
            EndpointSettings(**{"model": "m", **wrong})
    with pytest.raises(SettingError, match="OPENAI_API_KEY"):
        Teacher(EndpointSettings(model="m"))
