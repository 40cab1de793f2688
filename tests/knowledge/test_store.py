import json
import os
import sqlite3
import subprocess
import sys
import time

import pytest

from modeling_cotpd.errors import KnowledgeError
from modeling_cotpd.knowledge import store as module
from modeling_cotpd.knowledge.answer import Answer
from modeling_cotpd.knowledge.request import Request
from modeling_cotpd.knowledge.store import ResponseStore, export_answers, import_answers


def request(number=1, purpose="noun"):
    body = {"model": "m", "messages": [{"role": "user", "content": f"Pöst {number}"}]}
    return Request("http://a/v1", purpose, "noun@1#x", body)


def save(store, number=1, status="answered", **more):
    with store.transaction():
        store.save(request(number), Answer(status, **{"text": f"text {number}", "completion_tokens": 4, **more}))


def claim(store, number=1, **how):
    with store.transaction():
        return store.claim(request(number).key, **how)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.sqlite"


def alive(store):
    with store.transaction():
        store.heartbeat()
    return store


def test_answers_come_back_as_they_were_saved(path):
    answer = Answer("cut", "téxt", "why", "length", 3, 4, '{"raw": 1}', 2)
    with ResponseStore(path) as store, store.transaction():
        store.save(request(), answer)
    with ResponseStore(path) as store:
        assert store.get(request().key) == answer
        assert store.get("other").status == "missing"
        row = next(store.rows())
        assert row["model"] == "m" and row["purpose"] == "noun" and json.loads(row["request"]) == request().body
        assert abs(row["created"] - time.time()) < 60


def test_a_claim_is_held_by_one_store_and_ends_with_the_answer(path):
    with alive(ResponseStore(path)) as one, alive(ResponseStore(path)) as two:
        assert claim(one) is None
        assert claim(two).status == "missing"
        assert claim(one).status == "missing"  # a second worker of the same process asks no second time either
        save(one)
        assert claim(two).text == "text 1"


def test_claims_end_when_the_store_closes(path):
    with alive(ResponseStore(path)) as two:
        with alive(ResponseStore(path)) as one:
            assert claim(one) is None
        assert claim(two) is None


def test_claims_of_a_killed_process_end_at_once(path):
    code = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[2]); import test_store as t\n"
        "store = t.alive(t.ResponseStore(sys.argv[1])); assert t.claim(store) is None\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path), os.path.dirname(__file__)])
    assert done.returncode == -9
    with alive(ResponseStore(path)) as store:
        assert store._database.execute("SELECT COUNT(*) FROM claims").fetchone() == (1,)
        assert claim(store) is None


def test_claims_from_elsewhere_end_with_their_lease(path, monkeypatch):
    with alive(ResponseStore(path)) as one, alive(ResponseStore(path)) as two:
        one._database.execute("UPDATE owners SET machine='elsewhere', pid=999999999 WHERE owner=?", (one.owner,))
        assert claim(one) is None
        assert claim(two).status == "missing"
        one._database.execute(
            "UPDATE owners SET seen=? WHERE owner=?", (time.time() - module.LEASE_SECONDS - 1, one.owner)
        )
        assert claim(two) is None


def test_what_is_asked_again_and_when(path):
    with alive(ResponseStore(path)) as store:
        for number, status in enumerate(("answered", "empty", "refused", "cut", "failed", "waiting")):
            save(store, number, status)
        now = store.newest()
        assert [claim(store, number, since=now) is None for number in range(6)] == [False] * 4 + [True, False]
        assert claim(store, 3, again=("cut",), since=now) is None
        save(store, 2, "refused")
        assert claim(store, 2, again=("refused",), since=now).status == "refused"  # asked after this run began


def test_a_clock_that_was_set_back_changes_nothing(path, monkeypatch):
    with alive(ResponseStore(path)) as store:
        save(store, 1, "failed")
        save(store, 2, "failed")
        before = time.time
        monkeypatch.setattr(time, "time", lambda: before() - 10_000)
        since = store.newest()
        save(store, 2, "failed")
        assert claim(store, 1, since=since) is None  # failed before this run, asked again
        assert claim(store, 2, since=since).status == "failed"  # failed in this run
    with alive(ResponseStore(path)) as one, alive(ResponseStore(path)) as two:
        one._database.execute("UPDATE owners SET machine='elsewhere', seen=seen+20000 WHERE owner=?", (one.owner,))
        assert claim(one, 3) is None
        assert claim(two, 3) is None  # a sign of life from the future is none


def test_a_failure_replaces_no_answer(path):
    with ResponseStore(path) as store:
        save(store, text="paid")
        save(store, status="failed", text="")
        assert store.get(request().key).text == "paid"
        save(store, 2, status="failed")
        save(store, 2, status="answered", text="second try")
        assert store.get(request(2).key).text == "second try"


def test_rows_come_in_pages_and_can_be_chosen(path):
    with ResponseStore(path) as store:
        with store.transaction():
            for number in range(1203):
                store.save(request(number), Answer("failed" if number % 3 == 0 else "answered"))
        keys = [row["key"] for row in store.rows()]
        assert keys == sorted(keys) and len(keys) == 1203
        assert sum(1 for _ in store.rows(status="failed", model="m")) == 401


def test_export_and_import_move_answers_and_keep_what_is_there(path, tmp_path):
    out = tmp_path / "rows.jsonl"
    with ResponseStore(path) as store:
        save(store, 1)
        save(store, 2, "failed", text="")
        save(store, 3)
        assert export_answers(store, out) == 3
    with ResponseStore(tmp_path / "other.sqlite") as other:
        save(other, 1, text="mine")
        save(other, 3, "failed", text="")
        assert import_answers(other, out) == (2, 3)
        assert [other.get(request(number).key).text for number in (1, 2, 3)] == ["mine", "", "text 3"]
        assert other.get(request(2).key).status == "failed"


def test_a_store_is_not_exported_into_itself(path):
    with ResponseStore(path) as store:
        save(store)
        with pytest.raises(KnowledgeError, match="the store itself"):
            export_answers(store, path.parent / "x" / ".." / path.name)
        assert store.get(request().key).text == "text 1"


def test_a_changed_row_is_not_imported_and_nothing_is(path, tmp_path):
    out = tmp_path / "rows.jsonl"
    with ResponseStore(path) as store:
        save(store, 1)
        save(store, 2)
        export_answers(store, out)
    lines = out.read_text("utf-8").splitlines()
    for second, message in (
        (lines[1].replace("Pöst", "Post"), "line 2: The key does not belong"),
        (lines[1][:-20], "line 2: The line is not a stored answer"),
        ('{"key": 1}', "line 2: The field 'endpoint' is missing"),
        (lines[1].replace('"attempts": 0', '"attempts": "no"'), "'attempts' is not of its kind"),
        (lines[1].replace('"attempts": 0', f'"attempts": {10**30}'), "'attempts' is not of its kind or out of range"),
    ):
        out.write_text(f"{lines[0]}\n{second}\n", "utf-8")
        with ResponseStore(tmp_path / "other.sqlite") as other:
            with pytest.raises(KnowledgeError, match=message):
                import_answers(other, out)
            assert not list(other.rows())


def test_other_files_and_newer_formats_are_refused(path):
    path.write_text("not a database, but long enough to look like something to SQLite" * 20)
    with pytest.raises(KnowledgeError, match=r"cannot be opened"):
        ResponseStore(path)
    path.unlink()
    with ResponseStore(path) as store:
        store._database.execute("PRAGMA user_version=99")
    with pytest.raises(KnowledgeError, match="format 99"):
        ResponseStore(path)


@pytest.mark.parametrize("version", [0, 1])
def test_a_database_of_something_else_is_left_alone(path, version):
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE answers (question TEXT)")
        other.execute(f"PRAGMA user_version={version}")
    other.close()
    before = path.read_bytes()
    with pytest.raises(KnowledgeError, match="a database of something else"):
        ResponseStore(path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_an_answer_is_on_disk_when_save_returns(path):
    with ResponseStore(path) as store:
        assert store._database.execute("PRAGMA synchronous").fetchone() == (2,)
        assert store._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        save(store)
        assert sqlite3.connect(path).execute("SELECT COUNT(*) FROM answers").fetchone() == (1,)


def test_a_store_that_cannot_be_written_is_read(path, monkeypatch):
    with ResponseStore(path) as store:
        save(store)

    def refused(self):
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr(ResponseStore, "_connect", refused)
    with ResponseStore(path) as store:
        assert store.get(request().key).text == "text 1" and store.counts()[0][4] == 1
        with pytest.raises(KnowledgeError, match="cannot be written"):
            save(store, 2)
    with pytest.raises(KnowledgeError, match="cannot be opened"):
        ResponseStore(path.with_name("other.sqlite"))


def test_a_damaged_store_is_named_in_one_line(path):
    with ResponseStore(path) as store:
        for number in range(300):
            save(store, number, response="x" * 500)
    data = bytearray(path.read_bytes())
    for page in range(3, len(data) // 4096, 2):
        data[page * 4096 : (page + 1) * 4096] = b"Z" * 4096
    path.write_bytes(data)
    for read in (ResponseStore.counts, lambda store: list(store.rows())):
        with ResponseStore(path) as store, pytest.raises(KnowledgeError, match=r"recover"):
            read(store)


def test_a_damaged_row_is_named_in_one_line(path, tmp_path):
    with ResponseStore(path) as store:
        save(store)
        store._database.execute("UPDATE answers SET text=x'ff00', request='{'")
        for read in (
            lambda: store.get(request().key),
            lambda: store.known(request().key),
            lambda: store.request(request().key),
            lambda: export_answers(store, tmp_path / "rows.jsonl"),
        ):
            with pytest.raises(KnowledgeError, match=r"A row of the response store is damaged.*recover"):
                read()


def test_an_answer_of_an_earlier_version_is_read_by_todays_rules(path):
    with ResponseStore(path) as store, store.transaction():
        store.save(request(1), Answer("answered", "<think>hm</think>Quill."))
        store.save(request(2), Answer("cut", ""))
    with ResponseStore(path) as store:
        assert store.get(request(1).key).text == "Quill."
        assert store.get(request(2).key).status == "empty"
        assert claim(store, 2, again=("empty",)) is None


def test_half_an_emoji_in_an_exported_row_is_imported(path, tmp_path):
    out = tmp_path / "rows.jsonl"
    with ResponseStore(path) as store:
        save(store, text="so cool CUT")
        export_answers(store, out)
    out.write_text(out.read_text("utf-8").replace("CUT", "\\ud83d"), "utf-8")
    with ResponseStore(tmp_path / "other.sqlite") as other:
        assert import_answers(other, out) == (1, 1)
        assert other.get(request().key).text == "so cool \ufffd"
