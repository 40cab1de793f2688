"""From files to a file of predictions: order, flat memory, killed and continued runs, several processes."""

import json
from pathlib import Path

import pytest

from modeling_cotpd.data.posts import Post, find_post_files
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.inference import run


class Counting:
    """A predictor that says which window it saw, and may be killed."""

    def __init__(self, die_at: str | None = None):
        self.seen: list[list[str]] = []
        self.die_at = die_at

    def __call__(self, posts: list[Post]) -> list[dict]:
        if any(post.text == self.die_at for post in posts):
            raise KeyboardInterrupt
        self.seen.append([post.text for post in posts])
        return [{"id": post.id, "text": post.text} for post in posts]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty-three posts, to be read in windows of five."""
    monkeypatch.setattr(run.windows, "__defaults__", (5, 1000))
    path = tmp_path / "posts.txt"
    path.write_text("".join(f"post {number}\n" for number in range(23)), "utf-8")
    return path


def predicted(predictor, source: Path, output: Path, process: int = 0, processes: int = 1) -> int:
    files = find_post_files(source)
    if process == 0:
        run.claim_output(output, run.run_settings("model", files), False)
    return run.predict_windows(predictor, files, "mner", output, "text", process, processes)


def texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()]


def test_output_has_one_row_per_post_in_their_order_and_leaves_nothing_else(source: Path, tmp_path: Path):
    output = tmp_path / "out.jsonl"
    count = predicted(Counting(), source, output)
    assert not output.exists()  # until everything is there
    assert run.merge_windows(output, count) == run.Predicted(23, 0)
    assert texts(output) == [f"post {number}" for number in range(23)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "posts.txt"]


def test_a_killed_run_continues_and_predicts_nothing_twice(source: Path, tmp_path: Path):
    output = tmp_path / "out.jsonl"
    first, second = Counting(die_at="post 12"), Counting()
    with pytest.raises(KeyboardInterrupt):
        predicted(first, source, output)
    # what a kill in the middle of writing leaves behind
    (run.parts_folder(output) / "00000002.jsonl.tmp").write_text('{"id": "po', "utf-8")
    count = predicted(second, source, output)
    run.merge_windows(output, count)
    assert texts(output) == [f"post {number}" for number in range(23)]
    assert [window[0] for window in first.seen] == ["post 0", "post 5"]
    assert [window[0] for window in second.seen] == ["post 10", "post 15", "post 20"]


def test_three_processes_share_the_windows_and_another_number_continues(source: Path, tmp_path: Path):
    output = tmp_path / "out.jsonl"
    workers = [Counting() for _ in range(3)]
    counts = {predicted(worker, source, output, rank, 3) for rank, worker in enumerate(workers[:2])}
    with pytest.raises(SettingError, match="Window 2 is missing"):
        run.merge_windows(output, 5)
    counts.add(predicted(workers[2], source, output))
    assert counts == {5}
    assert [[window[0] for window in worker.seen] for worker in workers] == [
        ["post 0", "post 15"],
        ["post 5", "post 20"],
        ["post 10"],
    ]
    run.merge_windows(output, 5)
    assert texts(output) == [f"post {number}" for number in range(23)]


def test_another_input_does_not_continue_a_run(source: Path, tmp_path: Path):
    output = tmp_path / "out.jsonl"
    predicted(Counting(), source, output)
    source.write_text("others\n", "utf-8")
    files = find_post_files(source)
    with pytest.raises(SettingError, match="another input"):
        run.claim_output(output, run.run_settings("model", files), False)
    assert run.claim_output(output, run.run_settings("model", files), True) == 0


def test_an_output_is_never_overwritten_unasked(source: Path, tmp_path: Path):
    output = tmp_path / "out.jsonl"
    output.write_text("mine", "utf-8")
    with pytest.raises(SettingError, match="The output exists"):
        run.claim_output(output, {}, False)
    with pytest.raises(SettingError, match="JSON Lines"):
        run.claim_output(tmp_path / "out.csv", {}, False)
    assert run.claim_output(output, {}, True) == 0


def test_a_bad_row_stops_the_run_and_keeps_the_windows_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run.windows, "__defaults__", (2, 1000))
    source, output = tmp_path / "posts.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"text": "a"}\n{"text": "b"}\n{"text": 1}\n', "utf-8")
    with pytest.raises(DataError, match="line 3"):
        predicted(Counting(), source, output)
    assert run.part_path(run.parts_folder(output), 0).is_file()


def test_windows_close_at_a_number_of_posts_or_of_characters():
    posts = [Post(str(index), text, "here") for index, text in enumerate(["aa", "a" * 9, "", "", "", "a"])]
    assert [[post.id for post in window] for window in run.windows(iter(posts), 3, 10)] == [
        ["0", "1"],
        ["2", "3", "4"],
        ["5"],
    ]
    assert list(run.windows(iter(()), 3, 10)) == []


def test_a_lone_surrogate_survives_the_way_to_json_and_back():
    row = {"text": "a\ud83d é", "entities": []}
    assert json.loads(run.json_line(row).decode("utf-8")) == row
    assert run.json_line({"text": "é"}) == '{"text": "é"}\n'.encode()


def test_problems_are_counted_and_words_that_look_like_one_are_not(tmp_path: Path):
    output = tmp_path / "out.jsonl"
    run.claim_output(output, {}, False)
    rows = [{"id": "1", "problem": "too far"}, {"text": 'a, "problem": "b"', "id": "2"}]
    run.part_path(run.parts_folder(output), 0).write_bytes(b"".join(map(run.json_line, rows)))
    assert run.merge_windows(output, 1) == run.Predicted(2, 1)
