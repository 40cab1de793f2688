import os
import stat
import subprocess
import sys

import pytest

from modeling_cotpd.errors import SettingError
from modeling_cotpd.files import (
    STAGING,
    atomic_write,
    exclusive,
    read_object,
    require_empty,
    sha256_of,
    staged_folder,
    whole_folder,
    write_json,
    write_json_lines,
)


def test_a_file_keeps_its_old_content_when_writing_fails(tmp_path):
    path = tmp_path / "scores.json"
    write_json(path, {"f1": 1})
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write("half")
        raise RuntimeError
    assert path.read_text() == '{\n  "f1": 1\n}\n'
    assert [child.name for child in tmp_path.iterdir()] == ["scores.json"]


@pytest.mark.skipif(os.name != "posix", reason="locks of open files")
def test_what_killed_writers_left_is_removed_and_what_others_write_is_not(tmp_path):
    code = (
        "import sys, time; from modeling_cotpd.files import atomic_write\n"
        "with atomic_write(sys.argv[1]): print('open', flush=True); time.sleep(60)"
    )
    killed, alive = (
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path / name)], stdout=subprocess.PIPE) for name in "ab"
    )
    assert killed.stdout.readline() == alive.stdout.readline() == b"open\n"
    killed.kill()
    killed.wait()
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    write_json(tmp_path / "c.json", {})
    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) == 2 and {name[:3] for name in left} == {".b-", "c.j"}
    alive.kill()
    alive.wait()


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_json(tmp_path / "scores.json", {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "scores.json").stat().st_mode) == 0o666 & ~umask


def test_line_ends_and_bytes_are_kept(tmp_path):
    with atomic_write(tmp_path / "new" / "a.txt") as file:
        file.write("ü\n")
    with atomic_write(tmp_path / "b", "wb") as file:
        file.write(b"\r\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "ü\n".encode()
    assert (tmp_path / "b").read_bytes() == b"\r\n"


def test_staged_files_appear_together_and_leftovers_go(tmp_path):
    (tmp_path / STAGING).mkdir()
    (tmp_path / STAGING / "old").touch()
    with staged_folder(tmp_path) as staging:
        (staging / "config.json").write_text("{}")
        assert not (tmp_path / "config.json").exists()
    assert [child.name for child in tmp_path.iterdir()] == ["config.json"]
    with pytest.raises(RuntimeError), staged_folder(tmp_path) as staging:
        (staging / "weights").touch()
        raise RuntimeError
    assert [child.name for child in tmp_path.iterdir()] == ["config.json"]


def test_an_output_folder_must_be_empty(tmp_path):
    assert require_empty(tmp_path / "new") == tmp_path / "new"
    assert require_empty(tmp_path) == tmp_path
    (tmp_path / "a").touch()
    for path in (tmp_path, tmp_path / "a"):
        with pytest.raises(SettingError, match="output folder"):
            require_empty(path)


def test_a_lock_excludes_other_processes_and_dies_with_its_holder(tmp_path):
    code = (
        "import sys, time; from modeling_cotpd.files import exclusive\n"
        "with exclusive(sys.argv[1], 'writes here'): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / ".lock")], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with (
        pytest.raises(SettingError, match="Another process writes here"),
        exclusive(tmp_path / ".lock", "writes here"),
    ):
        pass
    holder.kill()
    holder.wait()
    with exclusive(tmp_path / ".lock", "writes here"):
        pass


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_whole_folder_appears_in_one_step(tmp_path):
    with whole_folder(tmp_path / "a" / "new") as staging:
        (staging / "one.txt").write_text("1")
        assert not (tmp_path / "a" / "new").exists()
        with pytest.raises(SettingError, match="Another process writes"), whole_folder(tmp_path / "a" / "new"):
            pass
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["new"]
    assert (tmp_path / "a" / "new" / "one.txt").read_text() == "1"


def test_a_whole_folder_replaces_only_what_may_be_lost(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "one.txt").write_text("1")
    with pytest.raises(SettingError, match="not empty"), whole_folder(tmp_path / "old"):
        pass
    with pytest.raises(SettingError, match="not empty"), whole_folder(tmp_path / "old", lambda path: False):
        pass
    with pytest.raises(OSError, match="full"), whole_folder(tmp_path / "old", lambda path: True):
        raise OSError("the disk is full")
    assert (tmp_path / "old" / "one.txt").read_text() == "1"
    with whole_folder(tmp_path / "old", lambda path: path.suffix == ".txt") as staging:
        (staging / "two.txt").write_text("2")
    assert [path.name for path in (tmp_path / "old").iterdir()] == ["two.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_json_lines_are_whole_or_absent_and_half_an_emoji_is_written(tmp_path):
    path = tmp_path / "rows.jsonl"
    assert write_json_lines(path, ({"id": text} for text in ("café", "so cool \ud83d", "\ud83d\ude00"))) == 3
    assert path.read_text("utf-8") == '{"id": "café"}\n{"id": "so cool \ufffd"}\n{"id": "\U0001f600"}\n'
    with pytest.raises(TypeError):
        write_json_lines(path, [{"id": 1}, {"id": object()}])
    assert path.read_text("utf-8").count("\n") == 3
    write_json(tmp_path / "value.json", {"name": "\ud83d"})
    assert "\ufffd" in (tmp_path / "value.json").read_text("utf-8")


@pytest.mark.parametrize("text", [None, "", "{", "[1]", "null", "3", "[" * 100_000, b"\xff{}"])
def test_a_file_without_a_json_object(tmp_path, text):
    path = tmp_path / "scores.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert read_object(path) is None
    write_json(path, {"f1": 1})
    assert read_object(path) == {"f1": 1}
