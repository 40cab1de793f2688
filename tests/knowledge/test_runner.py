"""The runner against a server with every kind of fault, beside a second process, and killed on the way."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from support.stub_server import StubServer

from modeling_cotpd.data.posts import Post
from modeling_cotpd.errors import Interrupted, KnowledgeError, SettingError
from modeling_cotpd.knowledge.answer import Answer
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.explanation import ElicitationPlan, elicitation_jobs
from modeling_cotpd.knowledge.images import image_folder
from modeling_cotpd.knowledge.prompt import load_prompts
from modeling_cotpd.knowledge.request import replay_all
from modeling_cotpd.knowledge.runner import Asking, run_jobs
from modeling_cotpd.knowledge.store import ResponseStore

HERE = Path(__file__).parent
PIER = {"caption": "a pier"}
ELICIT = "import typer; from modeling_cotpd.cli.knowledge import elicit; typer.run(elicit)"


def posts(count, start=0):
    return [Post(str(number), f"Post {number} from Lindmere", columns=PIER) for number in range(start, start + count)]


def plan_for(server, mode="dialogue", grains=("noun", "sentence", "multimodality"), **settings):
    settings = {"timeout": 60.0, "retries": 2, "first_delay": 0.01, **settings}
    return ElicitationPlan(
        EndpointSettings(model="stub", base_url=server.base_url, endpoint="stub", **settings),
        load_prompts(),
        grains,
        mode,
    )


def run(server, store, what, plan=None, **how):
    plan = plan or plan_for(server)
    asking = Asking(**{"concurrency": 8, **how})
    for _ in run_jobs(elicitation_jobs(what, plan), plan.settings, store, asking):
        pass
    return asking.progress


def test_everything_is_asked_once_and_never_again(tmp_path):
    with StubServer(delay=0.01) as server, ResponseStore(tmp_path / "s.sqlite") as store:
        progress = run(server, store, posts(20) + posts(20))  # the second half is the same again
        assert progress.asked == {"answered": 60} and progress.jobs == 40
        assert progress.prompt_tokens == 1200 and progress.completion_tokens == 600
        assert set(server.asked.values()) == {1}
        assert 2 <= server.most_at_once <= 8
        again = run(server, store, posts(21))
        assert (again.asked, again.stored) == ({"answered": 3}, 60)
        assert set(server.asked.values()) == {1}


FAULTS = [
    None,
    ("status", 429, {"retry-after": "0.1"}),
    ("status", 500),
    ("drop",),
    ("half",),
    ("malformed",),
    ("stall", 60),
    ("empty",),
    ("length",),
    ("refusal",),
    ("filter",),
]


def fault_of(body, number):
    """Posts cycle through the faults; every second round of them lasts, the others pass at the second attempt."""
    post = int(body["messages"][0]["content"].split()[2])
    fault, lasting = FAULTS[post % len(FAULTS)], (post // len(FAULTS)) % 2
    return fault if lasting or number == 1 else None


def test_every_row_ends_answered_or_with_its_reason(tmp_path):
    count = 2 * len(FAULTS)
    with StubServer(fault=fault_of) as server, ResponseStore(tmp_path / "s.sqlite") as store:
        plan = plan_for(server, "independent", ("noun", "sentence"), timeout=1.5)
        progress = run(server, store, posts(count), plan)
        assert progress.jobs == count and progress.asked.total() == 2 * count
        ended = dict(replay_all(elicitation_jobs(posts(count), plan), lambda request: store.get(request.key)))
        for number in range(count):
            fault, lasting = FAULTS[number % len(FAULTS)], number // len(FAULTS)
            kinds = {"empty": "empty", "length": "cut", "refusal": "refused", "filter": "refused"}
            expected = "answered" if fault is None else kinds.get(fault[0], "failed" if lasting else "answered")
            for answer in ended[str(number)].answers.values():
                assert answer.status == expected, (number, fault, answer)
                assert bool(answer.reason) == (expected != "answered")
        asked = server.asked.total()
        again = run(server, store, posts(count), plan)
        assert again.asked == {"failed": 12}  # six lasting faults, two grains: only these are asked again
        assert server.asked.total() == asked + 12 * 3
        repeated = run(server, store, posts(count), plan, again=("empty", "cut", "refused"))
        assert repeated.asked == {"failed": 12, "answered": 8, "empty": 2, "cut": 2, "refused": 4} or (
            repeated.asked["failed"] == 12 and repeated.asked.total() == 28
        )


def test_a_dialogue_whose_question_failed_goes_on_there_the_next_time(tmp_path):
    broken = [True]

    def fault(body, number):
        return ("status", 400) if broken and len(body["messages"]) == 3 else None

    with StubServer(fault=fault) as server, ResponseStore(tmp_path / "s.sqlite") as store:
        assert run(server, store, posts(3)).asked == {"answered": 3, "failed": 3}
        broken.clear()
        assert run(server, store, posts(3)).asked == {"answered": 6}


def test_an_endpoint_that_fails_always_ends_the_run_with_its_reason(tmp_path):
    with StubServer(fault=lambda body, number: ("status", 500)) as server:
        with ResponseStore(tmp_path / "s.sqlite") as store:
            with pytest.raises(KnowledgeError, match=r"requests all failed.*out of order"):
                run(server, store, posts(500), plan_for(server, retries=0))
            assert server.asked.total() < 60
        with (
            StubServer(fault=lambda body, number: ("status", 401)) as closed,
            ResponseStore(tmp_path / "s.sqlite") as store,
            pytest.raises(KnowledgeError, match="Check the key"),
        ):
            run(closed, store, posts(500), plan_for(closed))


def test_a_run_that_ends_with_an_error_tells_it_once(tmp_path, caplog):
    with (
        StubServer(fault=lambda body, number: ("status", 401)) as closed,
        ResponseStore(tmp_path / "s.sqlite") as store,
        pytest.raises(KnowledgeError),
    ):
        run(closed, store, posts(500), plan_for(closed))
    gc.collect()  # of the workers that failed, too
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_a_store_that_cannot_be_written_ends_the_run(tmp_path, monkeypatch):
    def full(self, request, answer):
        import sqlite3

        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(ResponseStore, "save", full)
    with StubServer() as server, ResponseStore(tmp_path / "s.sqlite") as store:
        with pytest.raises(KnowledgeError, match="cannot be written: database or disk is full"):
            run(server, store, posts(50))
        assert server.asked.total() < 50


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupt_waits_for_what_is_under_way(tmp_path):
    with StubServer(delay=0.3) as server, ResponseStore(tmp_path / "s.sqlite") as store:

        def interrupt():
            while server.answered.total() < 8:
                time.sleep(0.005)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(Interrupted, match="finished answers are in the store; the same command asks for the"):
            run(server, store, posts(1000))
        assert 8 <= server.answered.total() <= 40
        assert server.answered.total() == sum(1 for _ in store.rows(status="answered"))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_claims_of_another_process_are_waited_for(tmp_path):
    path = tmp_path / "s.sqlite"
    with StubServer() as server, ResponseStore(path) as store, ResponseStore(path) as other:
        plan = plan_for(server, grains=("noun",))
        requests = []
        for _ in replay_all(
            elicitation_jobs(posts(30), plan), lambda request: requests.append(request) or Answer("failed")
        ):
            pass
        with other.transaction():
            other.heartbeat()
            for request in requests:
                assert other.claim(request.key) is None

        def finish():
            time.sleep(0.7)
            with other.transaction():
                for request in requests[:29]:
                    other.save(request, Answer("answered", "theirs"))
                other.release(requests[29].key)

        thread = threading.Thread(target=finish)
        thread.start()
        progress = run(server, store, posts(31), plan)
        thread.join()
        assert (progress.asked, progress.stored) == ({"answered": 2}, 29)
        assert server.asked.total() == 2


def test_pictures_that_cannot_be_read_cost_no_other_post_its_answers_and_are_tried_again(tmp_path):
    pytest.importorskip("PIL")
    from PIL import Image

    for number in range(30):
        (tmp_path / f"{number}.png").write_bytes(b"no picture")
    Image.new("RGB", (2, 2)).save(tmp_path / "29.png")
    what = [Post(str(number), f"Post {number}", columns={"image": f"{number}.png"}) for number in range(30)]
    with StubServer() as server, ResponseStore(tmp_path / "s.sqlite") as store:
        settings = EndpointSettings("stub", server.base_url)
        plan = ElicitationPlan(settings, load_prompts(), ("multimodality",), image_folder=image_folder(tmp_path))
        assert run(server, store, what, plan).asked == {"answered": 1}
        Image.new("RGB", (3, 3)).save(tmp_path / "0.png")
        found = dict(run_jobs(elicitation_jobs(what, plan), settings, store))
        answers = [found[str(number)].answers["multimodality"] for number in (0, 1)]
        assert [answer.status for answer in answers] == ["answered", "failed"] and "corrupt" in answers[1].reason
        assert server.asked.total() == 2


def test_the_number_of_requests_at_once_is_checked(tmp_path):
    with StubServer() as server, ResponseStore(tmp_path / "s.sqlite") as store:
        for concurrency in (0, 1001):
            with pytest.raises(SettingError, match="concurrency"):
                run(server, store, posts(1), concurrency=concurrency)


def test_results_come_in_the_order_of_the_jobs(tmp_path):
    def fault(body, number):
        return ("stall", 0.6) if "Post 0 " in body["messages"][0]["content"] and number == 1 else None

    with StubServer(fault=fault) as server, ResponseStore(tmp_path / "s.sqlite") as store:
        plan = plan_for(server, "independent", ("noun",))
        found = list(run_jobs(elicitation_jobs(posts(30), plan), plan.settings, store))
        assert [id for id, _ in found] == [str(number) for number in range(30)]
        assert {explanation.answers["noun"].status for _, explanation in found} == {"answered"}


def test_a_consumer_that_stops_ends_the_run_and_keeps_its_answers(tmp_path):
    with StubServer() as server, ResponseStore(tmp_path / "s.sqlite") as store:
        plan = plan_for(server, grains=("noun",))
        for number, _ in enumerate(run_jobs(elicitation_jobs(posts(500), plan), plan.settings, store), 1):
            if number == 10:
                break
        time.sleep(0.1)
        assert server.answered.total() == sum(1 for _ in store.rows(status="answered")) < 500


def test_posts_that_the_endpoint_rejects_do_not_end_a_run_in_which_others_are_answered(tmp_path):
    def fault(body, number):
        return ("status", 400, {}, "odd") if int(body["messages"][0]["content"].split()[2]) >= 20 else None

    with StubServer(fault=fault) as server, ResponseStore(tmp_path / "s.sqlite") as store:
        plan = plan_for(server, grains=("noun",))
        for expected in ({"answered": 20, "failed": 80}, {"failed": 80}):
            assert run(server, store, posts(100), plan).asked == expected


def test_a_filtered_post_is_asked_once_and_no_failure_of_the_endpoint(tmp_path):
    def fault(body, number):
        odd = int(body["messages"][0]["content"].split()[2]) % 3 == 0
        return ("status", 400, {}, "The prompt triggered the content policy.") if odd else None

    with StubServer(fault=fault) as server, ResponseStore(tmp_path / "s.sqlite") as store:
        plan = plan_for(server)
        assert run(server, store, posts(90), plan).asked == {"answered": 180, "refused": 30}
        assert run(server, store, posts(90), plan).asked == {}


def test_memory_does_not_grow_with_the_number_of_jobs(tmp_path):
    peaks = []
    with StubServer() as server, ResponseStore(tmp_path / "s.sqlite") as store:
        plan = plan_for(server, grains=("noun",))

        def many(count, start):
            for number in range(start, start + count):
                yield Post(str(number), f"Post {number}" + "x" * 2000, columns=PIER)

        run(server, store, many(50, 10_000), plan)
        for count, start in ((100, 0), (800, 1000)):
            tracemalloc.start()
            run(server, store, many(count, start), plan)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 700_000, peaks  # 700 posts more, of 2 kB in several copies each


def write_posts(tmp_path, count):
    path = tmp_path / "posts.jsonl"
    rows = [{"id": post.id, "text": post.text, **PIER} for post in posts(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def command(tmp_path, server, out):
    return [
        *(sys.executable, "-c", ELICIT, str(tmp_path / "posts.jsonl"), "--out", str(tmp_path / out)),
        *("--model", "stub", "--base-url", server.base_url, "--store", str(tmp_path / "s.sqlite")),
    ]


def test_two_processes_share_a_split_without_a_double_request(tmp_path):
    write_posts(tmp_path, 150)
    # Both send all that they may, 16 requests each, before the first answer: neither is done before the other begins.
    with StubServer(delay=0.02, together=32) as server:
        processes = [
            subprocess.Popen(command(tmp_path, server, name), stderr=subprocess.PIPE, text=True) for name in ("a", "b")
        ]
        errors = [process.communicate()[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], errors
        assert set(server.asked.values()) == {1} and server.asked.total() == 450
        assert all("locked" not in error for error in errors)
        shares = [int(error.split("asked now: ")[1].split(" answered")[0]) for error in errors]
        assert sum(shares) == 450 and min(shares) > 20
    one, two = ((tmp_path / name / "knowledge.posts.jsonl").read_text() for name in ("a", "b"))
    assert one == two and one.count("\n") == 150


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_and_started_again_nothing_answered_is_asked_twice(tmp_path):
    write_posts(tmp_path, 60)
    delivered = 0
    with StubServer(delay=0.2) as server:
        for kill in range(3):
            process = subprocess.Popen(command(tmp_path, server, "out"), stderr=subprocess.DEVNULL)
            while server.answered.total() < (kill + 1) * 40 and process.poll() is None:
                time.sleep(0.005)
            assert process.poll() is None
            process.kill()
            process.wait()
            with ResponseStore(tmp_path / "s.sqlite") as store:
                delivered = sum(1 for _ in store.rows(status="answered"))
        before = server.asked.copy()
        final = subprocess.run(command(tmp_path, server, "out"), capture_output=True, text=True)
        assert final.returncode == 0, final.stderr
        assert f"answered before: {delivered}" in final.stderr
        # Asked twice is only what was under way when the process died, 16 requests at a time at the most.
        assert sum(count - 1 for count in server.asked.values()) <= 3 * 16
        assert server.asked.total() - before.total() == 180 - delivered
        undisturbed = [*command(tmp_path, server, "whole"), "--store", str(tmp_path / "whole.sqlite")]
        assert subprocess.run(undisturbed, stderr=subprocess.DEVNULL).returncode == 0
    one, two = ((tmp_path / name / "knowledge.posts.jsonl").read_bytes() for name in ("out", "whole"))
    assert one == two


def test_the_key_is_found_nowhere(tmp_path):
    secret = "sk-very-secret-0123456789"
    write_posts(tmp_path, 12)

    def fault(body, number):
        post = int(body["messages"][0]["content"].split()[2])
        return ("status", 400, {}, f"key {secret} is wrong") if post % 3 == 0 else None

    with StubServer(answer=lambda body: f"You sent {secret}", fault=fault) as server:
        environment = {**os.environ, "TEACHER_KEY": secret, "OPENAI_LOG": "debug"}
        line = [*command(tmp_path, server, "out"), "--key-variable", "TEACHER_KEY"]
        line[line.index("--base-url") + 1] = server.base_url.replace("http://", f"http://user:{secret}@")
        done = subprocess.run(line, capture_output=True, text=True, env=environment)
        assert all(b"authorization: " in head.lower() for head in server.headers)
    assert done.returncode == 3, done.stderr
    assert secret not in done.stdout + done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"s.sqlite", "knowledge.posts.jsonl", "out.problems.jsonl"} <= {path.name for path in files}
    for path in files:
        assert secret.encode() not in path.read_bytes(), path
