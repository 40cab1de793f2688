import asyncio
import gzip
import json
import time
from email.utils import formatdate

import pytest
from support.stub_server import StubServer, completion

from modeling_cotpd.errors import KnowledgeError, SettingError
from modeling_cotpd.knowledge import endpoint
from modeling_cotpd.knowledge.endpoint import ChatClient, EndpointSettings, retry_after

SECRET = "sk-very-secret-0123456789"


def ask(server, number=1, **settings):
    settings = EndpointSettings(**{"model": "m", "base_url": server.base_url, "first_delay": 0.01, **settings})

    async def run():
        client = ChatClient(settings)
        request = settings.request("noun", "p", [{"role": "user", "content": f"Post {number}"}])
        try:
            return await client.ask(request)
        finally:
            await client.close()

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
    with StubServer(fault=always("status", 400, {}, "no such field")) as server:
        answer = ask(server)
        assert (answer.status, answer.reason) == ("failed", "status 400: no such field")
        assert server.asked.total() == 1


@pytest.mark.parametrize(("status", "fix"), [(401, "Check the key"), (404, "Check the model's name"), (402, "credit")])
def test_a_hopeless_endpoint_stops_everything(status, fix):
    with StubServer(fault=always("status", status)) as server, pytest.raises(KnowledgeError, match=fix):
        ask(server)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, {"message": "no money", "code": "insufficient_quota"}),
        (429, {"message": "no money", "type": "exceeded_current_quota_error"}),
        (400, {"message": "no money: Your credit balance is too low to access the API."}),
        (400, {"message": "no money: API key not valid. Please pass a valid API key."}),
        (403, {"message": "no money: Your account has been suspended for violating our usage policies."}),
    ],
)
def test_an_account_that_is_closed_stops_everything(status, error):
    with StubServer(fault=always("status", status, {}, error)) as server, pytest.raises(KnowledgeError, match="money"):
        ask(server)


def test_retry_after_holds_back_all_requests():
    first = []

    def fault(body, number):
        if not first:
            first.append(1)
            return ("status", 429, {"retry-after": "1"})
        return None

    with StubServer(fault=fault) as server:
        settings = EndpointSettings(model="m", base_url=server.base_url, first_delay=0.01)

        async def run():
            client = ChatClient(settings)
            requests = [
                settings.request("noun", "p", [{"role": "user", "content": f"Post {number}"}]) for number in range(3)
            ]
            limited = asyncio.create_task(client.ask(requests[0]))
            while not first:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.3)
            answers = await asyncio.gather(limited, *map(client.ask, requests[1:]))
            await client.close()
            return answers

        assert {answer.status for answer in asyncio.run(run())} == {"answered"}
    assert len(server.times) == 4
    assert min(server.times[1:]) - server.times[0] >= 0.99


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *(("3", 3), ("+2.5", 2.5), ("30s", 30), ("250 ms", 0.25), ("2m", 120), ("5 seconds", 5)),
        *(("0", None), ("-5", None), ("0.0", None), ("soon", None), ("nan", None), ("inf", None), ("", None)),
        *(("1,5", None), ("3, 4", None), ("{:.0f}", 10)),
    ],
)
def test_retry_after_is_read_in_all_its_forms(value, seconds):
    found = retry_after({"retry-after": value.format(time.time() + 10.5)})
    assert found is None if seconds is None else seconds - 2 < found <= seconds + 1


def test_retry_after_as_a_date_or_in_milliseconds():
    assert retry_after({}) is None and retry_after({"retry-after-ms": "0"}) is None
    assert retry_after({"retry-after-ms": "250", "retry-after": "3"}) == 0.25
    assert 8 < retry_after({"retry-after": formatdate(time.time() + 10, usegmt=True)}) <= 10
    assert retry_after({"retry-after": formatdate(time.time() - 10, usegmt=True)}) is None


def test_the_key_is_sent_and_never_shown(monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET)
    echo = ("status", 400, {}, f"Incorrect key {SECRET} given")
    with StubServer(fault=always(*echo)) as server:
        answer = ask(server, api_key_variable="MY_KEY")
        assert f"authorization: bearer {SECRET}" in server.headers[0].decode().lower()
    assert answer.reason == "status 400: Incorrect key [redacted] given"
    with StubServer(fault=always("status", 401, {}, f"bad {SECRET}")) as server:
        with pytest.raises(KnowledgeError) as error:
            ask(server, api_key_variable="MY_KEY")
        assert SECRET not in str(error.value)
    with StubServer(answer=lambda body: f"your key is {SECRET}") as server:
        answer = ask(server, api_key_variable="MY_KEY")
        assert SECRET not in repr(answer) and "your key is [redacted]" in answer.text
    assert SECRET not in repr(EndpointSettings(model="m", api_key_variable="MY_KEY"))


def test_temperature_is_zero_and_everything_can_be_set():
    body = EndpointSettings(model="m").request("noun", "p", []).body
    assert (body["temperature"], body["max_tokens"]) == (0, 512)
    settings = EndpointSettings(
        model="m", sampling={"temperature": None, "max_tokens": None, "max_completion_tokens": 9, "top_k": 1}
    )
    body = settings.request("noun", "p", []).body
    assert body == {"model": "m", "messages": [], "max_completion_tokens": 9, "top_k": 1}
    with StubServer() as server:
        ask(server, sampling={"top_k": 1})
    messages = [{"role": "user", "content": "Post 1"}]
    assert server.bodies == [{"model": "m", "messages": messages, "temperature": 0, "max_tokens": 512, "top_k": 1}]


def test_settings_are_checked(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for wrong in (
        {"model": ""},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"retries": -1},
        {"sampling": {"stream": True}},
        {"base_url": "x"},
    ):
        with pytest.raises(SettingError):
            EndpointSettings(**{"model": "m", **wrong})
    with pytest.raises(SettingError, match="OPENAI_API_KEY"):
        ChatClient(EndpointSettings(model="m"))


USE_OTHER = {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}


@pytest.mark.parametrize(
    ("tokens", "temperature"),
    [
        (USE_OTHER, "Unsupported value: 'temperature' does not support 0 with this model."),
        ({"message": "bad", "param": "max_tokens", "code": "unsupported_parameter"}, "temperature is deprecated"),
        ({"message": 'Unknown name "max_tokens": Cannot find field.'}, "invalid temperature: only 1 is allowed"),
        ({"message": "max_tokens: Extra inputs are not permitted"}, "`temperature` may only be set to 1 here."),
        (USE_OTHER, "Input validation error: `temperature` must be strictly positive"),
        (USE_OTHER, "`temperature` and `top_p` cannot both be specified for this model."),
        (USE_OTHER, "该模型不支持 temperature 参数"),
        (USE_OTHER, "This model doesn't allow setting temperature"),
    ],
)
def test_parameters_that_the_model_refuses_are_renamed_or_left_out_once(tokens, temperature):
    """As today's reasoning models: no `max_tokens`, no `temperature` but 1."""

    def fault(body, number):
        if "max_tokens" in body:
            return "status", 400, {}, tokens
        return ("status", 400, {}, temperature) if body.get("temperature", 1) != 1 else None

    with StubServer(fault=fault) as server:
        settings = EndpointSettings("m", server.base_url)

        async def run():
            client = ChatClient(settings)
            try:
                return [
                    await client.ask(settings.request("noun", "p", [{"role": "user", "content": str(number)}]))
                    for number in range(3)
                ]
            finally:
                await client.close()

        assert [answer.status for answer in asyncio.run(run())] == ["answered"] * 3
    assert len(server.bodies) == 5  # learned with the first request
    assert all(set(body) == {"model", "messages", "max_completion_tokens"} for body in server.bodies[2:])


@pytest.mark.parametrize(
    "message",
    [
        "Unsupported parameter: 'top_k'",
        "max_tokens is too large: 512. This model supports at most 256 completion tokens",
        "`max_tokens` must be less than or equal to `256`, which is less than the `context_window` of this model",
        "temperature must be between 0 and 2",
    ],
)
def test_other_refused_parameters_are_the_users_and_fail(message):
    with StubServer(fault=always("status", 400, {}, message)) as server:
        answer = ask(server, sampling={"top_k": 1})
        assert answer.status == "failed" and server.asked.total() == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "The response was filtered due to the prompt triggering content management policy."),
        (403, "Your input was flagged by moderation."),
        (451, "not here"),
        (413, "Payload Too Large"),
        (400, "This model's maximum context length is 2048 tokens, you requested 4000."),
        (400, "the request exceeds the available context size, try increasing it"),
        (422, "prompt is too long"),
        (422, "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens"),
        (400, "'max_tokens' is too large: 512. The maximum context length is 1024 tokens, your request has 900."),
        (400, "the requested length is greater than the context limit"),
        (400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
        (400, "Prompt 超长"),
        (400, "Content Exists Risk"),
        (400, "InputTextSensitiveContentDetected: The request failed"),
        (400, "系统检测到输入或生成内容可能包含不安全或敏感内容"),
        (403, "Content violates usage guidelines. Safety check type: SAFETY_CHECK_TYPE_BIO"),
    ],
)
def test_what_is_about_the_post_is_final(status, message):
    with StubServer(fault=always("status", status, {}, message)) as server:
        answer = ask(server)
        assert answer.status == "refused" and message in answer.reason and server.asked.total() == 1


def test_a_retry_after_of_nothing_keeps_the_back_off():
    with StubServer(fault=always("status", 429, {"retry-after": "0"})) as server:
        assert ask(server, retries=2, first_delay=0.4).status == "failed"
    first, second, third = server.times
    assert second - first >= 0.2 and third - second >= 0.4


@pytest.mark.parametrize("raw", [f"{SECRET}\r\n", f"  '{SECRET}'", f"\u201c{SECRET}\u201d", f"Bearer {SECRET}"])
def test_white_space_and_quotation_marks_are_no_part_of_a_key(monkeypatch, raw):
    monkeypatch.setenv("MY_KEY", raw)
    with StubServer(answer=lambda body: f"you sent {SECRET} and {raw!r}") as server:
        answer = ask(server, api_key_variable="MY_KEY")
        assert f"authorization: bearer {SECRET}\r\n" in server.headers[0].decode().lower()
    assert SECRET not in answer.text + answer.response


@pytest.mark.parametrize("raw", ["sk-one two-0123456789", "sk-schl\u00fcssel-0123456789", "sk-a\nb-0123456789"])
def test_a_key_that_no_header_can_hold_is_refused_without_showing_it(monkeypatch, raw):
    monkeypatch.setenv("MY_KEY", raw)
    with pytest.raises(SettingError, match="MY_KEY") as error:
        ChatClient(EndpointSettings("m", "http://127.0.0.1:1/v1", api_key_variable="MY_KEY"))
    assert "0123456789" not in str(error.value)


@pytest.mark.parametrize(
    "echo",
    [
        lambda key: "x" * 270 + key,
        lambda key: "the key " + key[:25] + "... is wrong",
        lambda key: "the key " + key[6:] + " is wrong",
        lambda key: key.replace("/", "\\/"),
        lambda key: key.replace("-", "%2D").replace("/", "%2f"),
    ],
)
def test_a_key_that_is_repeated_in_parts_or_escaped_is_redacted(monkeypatch, echo):
    key = "sk-abc/def-SECRETKEY0123456789abcdefghijklmnop"
    monkeypatch.setenv("MY_KEY", key)
    with StubServer(fault=always("status", 400, {}, echo(key))) as server:
        reason = ask(server, api_key_variable="MY_KEY").reason
    assert not any(key[start : start + 12] in reason.replace("\\", "") for start in range(len(key) - 11))
    assert "[redacted]" in reason or len(echo(key)) > 270


def test_a_key_in_json_escapes_of_an_answer_is_redacted(monkeypatch):
    key = "sk-abc/def-SECRETKEY0123456789"
    monkeypatch.setenv("MY_KEY", key)
    data = json.dumps(completion("your key is KEY")).replace("KEY", key.replace("-", "\\u002d")).encode()
    with StubServer(fault=always("raw", data, {})) as server:
        answer = ask(server, api_key_variable="MY_KEY")
    assert answer.text == "your key is [redacted]" and "SECRETKEY" not in repr(answer)


def test_a_key_among_what_is_stored_is_refused(monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET)
    for more in ({"sampling": {"user": SECRET}}, {"model": f"m?key={SECRET}"}):
        with pytest.raises(SettingError, match="MY_KEY") as error:
            EndpointSettings(**{"model": "m", "api_key_variable": "MY_KEY", **more})
        assert SECRET not in str(error.value)


def test_the_account_of_the_environment_is_not_sent_to_other_hosts(monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-mine")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-of-mine")
    with StubServer() as server:
        assert ask(server).status == "answered"
    assert b"of-mine" not in server.headers[0]


def test_redirects_are_followed_within_a_server_and_to_no_other():
    with StubServer() as other:
        places = [f"{other.base_url}/chat/completions", "/v1/chat/completions/"]

        def fault(body, number):
            return ("status", 307, {"location": places.pop()}) if places else None

        with StubServer(fault=fault) as server:
            with pytest.raises(KnowledgeError, match=f"redirects to {other.base_url}: name that as --base-url"):
                ask(server)
            assert [head.split(b" ")[1] for head in server.headers][1] == b"/v1/chat/completions/"
            assert ask(server).status == "answered"
        assert not other.asked


def test_a_body_that_unpacks_to_too_much_is_not_read(monkeypatch):
    monkeypatch.setattr(endpoint, "MOST_BYTES", 1_000_000)
    bomb, small = gzip.compress(bytes(50_000_000)), gzip.compress(json.dumps(completion("fine")).encode())
    for data, coding, expected in ((bomb, "gzip", "failed"), (small, "br", "failed"), (small, "gzip", "answered")):
        with StubServer(fault=always("raw", data, {"content-encoding": coding})) as server:
            answer = ask(server, retries=0)
        assert answer.status == expected and len(answer.reason) < 200


def test_a_query_of_the_base_url_is_sent_with_every_request_and_not_stored():
    with StubServer() as server:
        url = f"http://127.0.0.1:{server.port}/openai/deployments/d?api-version=2024-06-01"
        for each in (url, url.replace("?", "/chat/completions?")):
            assert ask(server, base_url=each).status == "answered"
            assert EndpointSettings("m", each).endpoint == f"http://127.0.0.1:{server.port}/openai/deployments/d"
    path = b"/openai/deployments/d/chat/completions?api-version=2024-06-01"
    assert [head.split(b" ")[1] for head in server.headers] == [path] * 2


def test_secrets_of_a_base_url_are_stored_nowhere():
    settings = EndpointSettings("m", "https://me:hunter2secret@example.org/v1?key=abcdefgh12345678")
    assert settings.endpoint == "https://example.org/v1" and "secret" not in repr(settings)
    assert {"hunter2secret", "abcdefgh12345678"} <= set(settings.secrets())
    settings = EndpointSettings("m", "https://token0123456789@example.org/v1#fragment-secret")
    assert {"token0123456789", "fragment-secret"} <= set(settings.secrets())
    settings = EndpointSettings("m", "HTTPS://me:secret@Example.org:8443/v1/?key=secret#f")
    assert settings.endpoint == "https://example.org:8443/v1"
    wrong_urls = ("http://127.0.0.1:99999/v1", "ftp://a/v1", "http://", "example.org/v1", "me:secret@example.org", "")
    for wrong in wrong_urls:
        with pytest.raises(SettingError, match="base URL") as error:
            EndpointSettings("m", wrong)
        assert "secret" not in str(error.value)


def test_a_password_of_the_base_url_is_sent_as_a_header_and_in_no_log(caplog):
    caplog.set_level("DEBUG")
    with StubServer() as server:
        url = server.base_url.replace("http://", "http://me:pw-secret@") + "?key=query-secret"
        assert ask(server, base_url=url).status == "answered"
        assert b"authorization: basic bwu6chctc2vjcmv0" in server.headers[0].lower()
    assert "HTTP Request: POST" in caplog.text and "-secret" not in caplog.text


def test_proxies_are_not_used_for_this_machine_and_odd_ones_are_named(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks://me:hunter2secret@127.0.0.1:9")
    with StubServer() as server:
        assert ask(server).status == "answered"
    with pytest.raises(SettingError, match="ALL_PROXY") as error:
        ChatClient(EndpointSettings("m", "http://192.0.2.1/v1", api_key_variable="MY_KEY"))
    assert "hunter2secret" not in str(error.value)


def test_answers_in_other_character_sets_are_read():
    data = json.dumps(completion("caf\u00e9"), ensure_ascii=False).encode("latin-1")
    charset = {"content-type": "application/json; charset=iso-8859-1"}
    with StubServer(fault=always("raw", data, charset)) as server:
        assert ask(server).text == "caf\u00e9"
