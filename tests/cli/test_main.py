"""The `cotpd` command as a process: fast help, errors in one line, Ctrl-C."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import typer
from PIL import Image
from support.hub_stand_in import HubStandIn
from support.stub_server import StubServer

from modeling_cotpd.cli.main import app, exit_code
from modeling_cotpd.errors import Interrupted, SettingError

HEAVY = ("torch", "transformers", "datasets", "evaluate", "peft", "accelerate", "pyarrow", "numpy", "openai")


def run(*arguments, **settings):
    return subprocess.run(
        [sys.executable, "-m", "modeling_cotpd", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **settings,
    )


def python(code, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_no_help_imports_anything_heavy():
    """One process asks every command for its help, and then says which modules are there."""
    code = f"""
import contextlib, io, json, sys
from modeling_cotpd.cli.main import app, main
import typer
def walk(command, path):
    yield path
    for name, below in getattr(command, "commands", {{}}).items():
        yield from walk(below, [*path, name])
paths = list(walk(typer.main.get_command(app), []))
with contextlib.redirect_stdout(io.StringIO()):
    codes = [main([*path, "--help"]) for path in paths]
print(json.dumps([paths, codes, [name for name in {HEAVY!r} if name in sys.modules]]))
"""
    paths, codes, heavy = json.loads(python(code))
    assert len(paths) > 15 and set(codes) == {0}
    assert heavy == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["chek"], "No such command 'chek'. Did you mean 'check'? See: cotpd --help"),
        (["check", "--nope", "x"], "No such option: --nope. See: cotpd check --help"),
        (["check"], "Missing argument 'folder'. See: cotpd check --help"),
        (["check", "nowhere"], "nowhere: There is no dataset.json here. Make the folder with: cotpd prepare"),
        (["knowledge", "status", "--store", "nowhere"], "nowhere: There is no such response store. Name it with"),
        (["elicit", "nowhere", "--out", "x", "--model", "m"], "nowhere: There is no such file."),
        (
            ["predict", "no/model", "--input", "posts.txt", "--output", "x.jsonl"],
            "no/model: There is no such folder here, and the Hub could not be reached. Check the name",
        ),
        (
            ["triples", "none", "no/model", "--input", "posts.txt", "--output", "x.jsonl"],
            "none: There is no such folder",
        ),
        (["export", "none", "--out", "x"], "none: There is no such folder here, and the Hub could not be reached"),
        (["explain", "none", "--text", "A post"], "none: There is no such folder here, and the Hub"),
        (["push", "none", "a/b"], "none: There is no such folder. Name a run's output folder."),
        (
            ["predict", "no/model", "posts.txt"],
            "Got unexpected extra argument(s) (posts.txt). Name the posts with --input. See: cotpd predict --help",
        ),
        (["prepare", "custom", "--task", "mner", "--source", "nowhere", "--out", "x"], "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_errors_are_one_line_and_code_2(arguments, says, tmp_path):
    (tmp_path / "posts.txt").write_text("A post\n", "utf-8")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stdout == "" and done.stderr.startswith("cotpd: ") and says in done.stderr
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr


def test_a_name_that_is_neither_a_folder_nor_a_repository(tmp_path):
    with HubStandIn() as hub:
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
        done = run("predict", "tester/none", "--text", "A post", cwd=tmp_path, env=environment)
    assert done.returncode == 2 and done.stderr == (
        "cotpd: tester/none: There is no such folder here, and no such repository on the Hub. "
        "Check the name; a private one needs: hf auth login.\n"
    )


def test_a_file_that_cannot_be_written_is_reported_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = run("prepare", "sample-mner", "--out", tmp_path / "file" / "below")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "file" in done.stderr


def test_option_names_are_whole_in_80_columns():
    code = """
from modeling_cotpd.cli.main import app, main
import typer
def walk(command, path):
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, [*path, name])
for path, command in walk(typer.main.get_command(app), []):
    print("=", *path, *(name for each in command.params for name in each.opts if name.startswith("--")))
    main([*path, "--help"])
"""
    narrow = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=narrow)
    helps = re.split(r"^= ?", done.stdout, flags=re.MULTILINE)[1:]
    assert len(helps) > 15
    for text in helps:
        heading, shown = text.split("\n", 1)
        names = {word for word in heading.split() if word.startswith("--")}
        missing = {name for name in names if not re.search(rf"{name}(?![-\w])", shown)}
        assert not missing and "…" not in shown, (heading, missing)
        assert max(map(len, shown.splitlines())) <= 80


def test_no_arguments_print_the_help():
    done = run()
    assert done.returncode == 2 and "Usage: cotpd" in done.stdout and done.stderr == ""


def test_version():
    assert run("--version").stdout.startswith("modeling_cotpd ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell):
    done = run("--show-completion", shell, env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert done.returncode == 0 and "complete" in done.stdout


def test_completion_offers_commands_and_options():
    environment = {**os.environ, "_COTPD_COMPLETE": "complete_bash", "COMP_CWORD": "1", "COMP_WORDS": "cotpd pre"}
    assert run(env=environment).stdout.split() == ["prepare", "predict"]
    environment |= {"COMP_WORDS": "cotpd elicit --mo", "COMP_CWORD": "2"}
    assert run(env=environment).stdout.split() == ["--model", "--mode"]


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(tmp_path):
    posts = tmp_path / "posts.jsonl"
    rows = [{"id": str(number), "text": f"Post {number}"} for number in range(30)]
    posts.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")

    def slowly(body):
        time.sleep(0.1)
        return "An answer."

    with StubServer(answer=slowly) as server:
        command = [sys.executable, "-m", "modeling_cotpd", "elicit", str(posts), "--out", "out", "--model", "stub"]
        command += ["--base-url", server.base_url, "--concurrency", "2", "--grains", "noun"]
        first = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while server.asked.total() < 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        first.send_signal(signal.SIGINT)
        _, errors = first.communicate(timeout=60)
        asked = server.asked.total()
        assert first.returncode == 130 and 4 <= asked < 30
        assert errors.splitlines()[-1].startswith("cotpd: Stopped: finished answers are in the store")
        assert "Traceback" not in errors
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert server.asked.total() == 30
    assert len((tmp_path / "out/knowledge.posts.jsonl").read_text("utf-8").splitlines()) == 30


def test_errors_of_a_run_script_are_one_line_with_the_same_code(tmp_path):
    root = Path(__file__).parents[2]
    for script in ("run_mner.py", "run_mre.py"):
        flags = ["--dataset_dir", str(tmp_path / "none"), "--output_dir", str(tmp_path / "out"), "--use_cpu", "true"]
        flags += ["--do_train", "true"]
        done = subprocess.run(
            [sys.executable, str(root / script), *flags], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith(f"{script}: {tmp_path / 'none'}: There is no dataset.json here")


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (SettingError("It is wrong.", place="here", fix="Do that."), 2, "prog: here: It is wrong. Do that."),
        (FileNotFoundError(2, "No such file", "x"), 2, "prog: x: No such file."),
        (OSError("first\nsecond"), 2, "prog: first"),
        (KeyboardInterrupt(), 130, "prog: Stopped. Nothing is half-written; the same command begins again."),
        (Interrupted("2 chunks are kept."), 130, "prog: Stopped: 2 chunks are kept."),
        (SettingError("The id '\x1b]0;x\x07\u202e' is wrong."), 2, "prog: The id '\\x1b]0;x\\x07\\u202e' is wrong."),
        (FileNotFoundError(2, "No such file", "\x9b2J"), 2, "prog: \\x9b2J: No such file."),
    ],
)
def test_an_error_is_one_line_and_a_code(capsys, raised, code, says):
    def run():
        raise raised

    assert exit_code(run, "prog") == code
    error = capsys.readouterr().err
    assert error.startswith(says) and error.count("\n") == 1


def test_other_errors_are_not_hidden():
    with pytest.raises(ZeroDivisionError):
        exit_code(lambda: 1 / 0, "prog")
    assert exit_code(lambda: 4, "prog") == 4 and exit_code(lambda: None, "prog") == 0


def test_control_characters_of_a_file_reach_no_terminal(tmp_path):
    odd = "\x1b]0;x\x07\x1b[2J\x9b\u202e"
    labels = ("O", f"B-P{odd}")
    rows = [{"id": f"{n}{odd}", "tokens": ["Mira", "left"], "ner_tags": [labels[n], "O"]} for n in (0, 1)]
    rows += [{**row, "id": f"again {row['id']}"} for row in rows]
    (tmp_path / "own").mkdir()
    for split in ("train", "test"):
        (tmp_path / "own" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    data = tmp_path / "data"
    (tmp_path / "wrong.jsonl").write_text(json.dumps({"id": odd, "text": 3}) + "\n", "utf-8")
    for arguments, code in (
        (("prepare", "custom", "--task", "mner", "--source", tmp_path / "own", "--out", data), 0),
        (("check", data), 0),
        (("check", data, "--json"), 0),
        (("elicit", tmp_path / "wrong.jsonl", "--out", tmp_path / odd[:-2], "--model", "m", "--dry-run"), 2),
    ):
        done = run(*arguments)
        assert done.returncode == code, done.stderr
        assert not set(done.stdout + done.stderr) & set("\x1b\x07\x9b\u202e"), arguments[0]


def test_warnings_are_escaped_too():
    code = """
import logging, sys
from modeling_cotpd.cli.main import main
main(["--version"])
logging.getLogger("modeling_cotpd").warning("the column %s", "\\x1b[2J")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "the column \\x1b[2J\n"


def commands(command, path=()):
    """Every command and group with its path."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


def everything():
    return list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize(
    ("path", "command"), everything(), ids=lambda value: " ".join(value) or "cotpd" if type(value) is tuple else ""
)
def test_every_help_has_an_example_that_can_be_parsed(path, command):
    text = command.help or ""
    assert "Example:" in text
    examples = [line.strip() for line in text.split("Example:")[1].splitlines() if line.strip()]
    assert any(line.startswith(("cotpd ", "accelerate launch")) for line in examples)
    own = [line for line in examples if line.startswith(" ".join(("cotpd", *path)))]
    assert own, "the example is of another command"
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{parameter.name} has no help"


def test_no_progress_bars_in_pipes(tmp_path):
    done = run("prepare", "sample-mner", "--out", tmp_path / "data")
    assert done.returncode == 0 and "Written to" in done.stdout
    assert "%|" not in done.stderr, done.stderr


@pytest.mark.parametrize("command", ["elicit", "caption"])
def test_an_endpoint_that_cannot_be_reached_is_reported_at_once_and_ends_the_run(tmp_path, command):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, and never listened to
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        rows = [{"id": str(number), "text": f"Post {number} \ud83d"} for number in range(30)]
        (tmp_path / "posts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        (tmp_path / "pictures").mkdir()
        for number in range(30):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "pictures" / f"{number}.png")
        source = (
            ["posts.jsonl", "--out", "out"] if command == "elicit" else ["--images", "pictures", "--out", "c.jsonl"]
        )
        asking = ["--model", "m", "--base-url", url, "--store", "s.sqlite", "--concurrency", 2, "--retries", 1]
        done = run(command, *source, *asking, cwd=tmp_path)
    lines = done.stderr.splitlines()
    (first,) = [line for line in lines if line.startswith(f"{url} cannot be reached: ")]
    assert "Start the server, or correct the URL (--base-url)." in first
    # two are under way at once, so a sixth may fail with the fifth
    last = rf"cotpd: {re.escape(url)}: The last [56] requests all failed"
    assert done.returncode == 2 and re.match(last, lines[-1]), done.stderr
    assert lines.index(first) < len(lines) - 1 and "run the same command again" in lines[-1]
    assert "%|" not in done.stderr
    assert len({*lines}) == len(lines), "a warning is repeated"
    assert (command == "caption") == (done.stderr.count("surrogate") == 0)
    with closing(sqlite3.connect(tmp_path / "s.sqlite")) as store:
        assert 5 <= store.execute("SELECT COUNT(*) FROM answers WHERE status='failed'").fetchone()[0] < 10
