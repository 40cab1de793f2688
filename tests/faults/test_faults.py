"""Long commands that are killed or run out of disk: nothing half-written stands under a final name, and the same
command run again ends with the same result."""

import os
import signal
import stat
from pathlib import Path

import pytest
from faults.commands import Long, eliciting, predicting, preparing, training
from faults.injection import FINISHED, count_events, from_child, in_child, killed_at, unfinished, with_size_limit
from support.stub_server import StubServer

MOMENTS = int(os.environ.get("COTPD_FAULT_MOMENTS", "6"))
"""How many moments of a run are hit in the ordinary tests; 0 hits every one."""
SIZES = (0, 700, 5_000, 30_000)
NAMES = ("prepare", "predict", "elicit", "train")


@pytest.fixture(scope="module")
def server():
    with StubServer(answer=lambda body: f"An answer to {body['messages'][-1]['content'][:20]}") as running:
        yield running


@pytest.fixture(scope="module", params=NAMES)
def long(request, tmp_path_factory, server) -> tuple[Long, object, int]:
    """A command, the result of a run that nothing disturbs, and how many moments it has."""
    root = tmp_path_factory.mktemp(request.param)
    made = {"prepare": preparing, "predict": predicting, "train": training}
    command = eliciting(root, server) if request.param == "elicit" else made[request.param](root)
    assert in_child(command.make) == FINISHED
    events = count_events(lambda: command.start(root / "whole"), root / "whole")
    return command, from_child(lambda: command.result(root / "whole")), events


def finish(command: Long, folder: Path, expected: object) -> None:
    """What a user does after a fault: the same command again."""
    assert from_child(lambda: unfinished(folder)) == []
    assert in_child(lambda: command.start(folder)) == FINISHED
    assert from_child(lambda: (unfinished(folder), command.result(folder))) == ([], expected)


def moments(events: int) -> list[int]:
    return list(range(events)) if not MOMENTS else sorted({events * step // MOMENTS for step in range(MOMENTS)})


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed(long, tmp_path, number):
    command, expected, events = long
    hit = 0
    for moment in moments(events):
        folder = tmp_path / str(moment)
        status = killed_at(lambda folder=folder: command.start(folder), folder, moment, number)
        hit += status != FINISHED
        finish(command, folder, expected)
    # The last moments of a run with threads come a little earlier or later
    assert hit >= 0.9 * len(moments(events))


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_the_disk_is_full(long, tmp_path, size):
    command, expected, _ = long
    status = with_size_limit(lambda: command.start(tmp_path / "out"), size)
    if status == FINISHED:
        assert from_child(lambda: command.result(tmp_path / "out")) == expected
    assert status != FINISHED or size >= 5_000
    finish(command, tmp_path / "out", expected)


def test_prepare_is_killed_at_every_moment(tmp_path):
    """The shortest of the long commands, in the ordinary tests too."""
    command = preparing(tmp_path)
    events = count_events(lambda: command.start(tmp_path / "whole"), tmp_path / "whole")
    expected = from_child(lambda: command.result(tmp_path / "whole"))
    for moment in range(0, events, 2):
        folder = tmp_path / str(moment)
        assert killed_at(lambda folder=folder: command.start(folder), folder, moment) == -signal.SIGKILL
        finish(command, folder, expected)


@pytest.mark.slow
def test_a_folder_that_can_not_be_written(long, tmp_path):
    """As another user where the tests run as root, whom no permission binds."""
    command, expected, _ = long
    folder = tmp_path / "out"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)

    def become_nobody() -> None:
        "".encode("utf-8-sig")  # while Python's own files can still be read
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
            for parent in folder.parents:
                if parent.stat().st_uid == 0 and not parent.stat().st_mode & stat.S_IXOTH:
                    parent.chmod(parent.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
            os.setgroups([])
            os.setegid(65534)
            os.seteuid(65534)

    assert in_child(lambda: command.start(folder), become_nobody) != FINISHED
    assert not any(folder.iterdir())
    if os.geteuid() == 0:
        os.chown(folder, 0, 0)
    folder.chmod(0o755)
    finish(command, folder, expected)
