"""From files to a file of predictions: order, flat memory, killed and continued runs, several processes."""

import json
import threading
from pathlib import Path

import pytest
import torch

from modeling_cotpd.data.posts import Post, find_post_files
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.inference import run


class Counting:
    """A predictor that records the chunks it saw, and may be killed."""

    def __init__(self, die_at: str | None = None):
        self.seen: list[list[str]] = []
        self.die_at = die_at

    def __call__(self, posts: list[Post], on_progress=None) -> list[dict]:
        if any(post.text == self.die_at for post in posts):
            raise KeyboardInterrupt
        self.seen.append([post.text for post in posts])
        return [{"id": post.id, "text": post.text} for post in posts]


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty-three posts, to be read in chunks of five."""
    monkeypatch.setattr(run.chunks, "__defaults__", (5, 1000))
    path = tmp_path / "posts.txt"
    path.write_text("".join(f"post {number}\n" for number in range(23)), "utf-8")
    return path


def predicted(predictor, source: Path, output: Path, process: int = 0, processes: int = 1) -> list[int]:
    """One process's share of the chunks, without joining them."""
    files = find_post_files(source)
    with run.claimed_output(output, run.run_settings("model", files), False):
        return run.predict_chunks(predictor, files, "mner", output, "text", process, processes)


def texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()]


def test_output_has_one_row_per_post_in_their_order_and_leaves_nothing_else(source: Path, tmp_path: Path):
    output, files = tmp_path / "out.jsonl", find_post_files(source)
    state = run.start_processes(cpu=True)
    result = run.predict_to_file(Counting(), files, "mner", output, run.run_settings("model", files), state)
    assert result == run.Predicted(23, 0)
    assert texts(output) == [f"post {number}" for number in range(23)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "posts.txt"]


def test_a_killed_run_continues_and_predicts_nothing_twice(source: Path, tmp_path: Path):
    output = tmp_path / "out.jsonl"
    first, second = Counting(die_at="post 12"), Counting()
    with pytest.raises(KeyboardInterrupt):
        predicted(first, source, output)
    assert run.done_chunks(output) == 2
    # what a kill in the middle of writing leaves behind
    (run.parts_folder(output) / ".00000002.jsonl-x.tmp").write_text('{"id": "po', "utf-8")
    run.merge_chunks(output, predicted(second, source, output))
    assert texts(output) == [f"post {number}" for number in range(23)]
    assert [chunk[0] for chunk in first.seen] == ["post 0", "post 5"]
    assert [chunk[0] for chunk in second.seen] == ["post 10", "post 15", "post 20"]
    assert not list(run.parts_folder(output).glob("*.tmp"))


def test_two_runs_do_not_write_one_output(source: Path, tmp_path: Path):
    output = tmp_path / "out.jsonl"

    def second(posts: list[Post], on_progress=None) -> list[dict]:
        with pytest.raises(SettingError, match="Another process writes this output"):
            predicted(Counting(), source, output)
        return [{"id": post.id, "text": post.text} for post in posts]

    run.merge_chunks(output, predicted(second, source, output))
    assert texts(output) == [f"post {number}" for number in range(23)]


def test_a_chunk_that_lost_posts_is_not_joined(source: Path, tmp_path: Path):
    output = tmp_path / "out.jsonl"
    sizes = predicted(Counting(), source, output)
    path = run.part_path(output, 1)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(SettingError, match="Chunk 1 holds 4 of 5 posts"):
        run.merge_chunks(output, sizes)
    assert not output.exists()


def test_three_processes_share_the_chunks_and_another_number_continues(source: Path, tmp_path: Path):
    output = tmp_path / "out.jsonl"
    workers = [Counting() for _ in range(3)]
    counts = [predicted(worker, source, output, rank, 3) for rank, worker in enumerate(workers[:2])]
    with pytest.raises(SettingError, match="Chunk 2 is missing"):
        run.merge_chunks(output, [5, 5, 5, 5, 3])
    counts.append(predicted(workers[2], source, output))
    assert counts == [[5, 5, 5, 5, 3]] * 3
    assert [[chunk[0] for chunk in worker.seen] for worker in workers] == [
        ["post 0", "post 15"],
        ["post 5", "post 20"],
        ["post 10"],
    ]
    run.merge_chunks(output, counts[0])
    assert texts(output) == [f"post {number}" for number in range(23)]


def test_threads_write_what_one_writes_and_take_few_chunks_ahead(source: Path, tmp_path: Path):
    files, output = find_post_files(source), tmp_path / "out.jsonl"
    together = threading.Barrier(2, timeout=30)

    def predictor(posts: list[Post], on_progress) -> list[dict]:
        if posts[0].text in ("post 0", "post 5"):  # passes only when two chunks are predicted at once
            together.wait()
        on_progress(0.5)
        return [{"id": post.id, "text": post.text} for post in posts]

    with run.claimed_output(output, {}, False):
        sizes = run.predict_chunks(predictor, files, "mner", output, threads=2)
    run.merge_chunks(output, sizes)
    assert texts(output) == [f"post {number}" for number in range(23)]
    taken = []
    results = run.map_in_threads(lambda number: number, (taken.append(n) or n for n in range(50)), 3)
    assert next(results) == 0 and len(taken) == 4
    assert list(results) == list(range(1, 50))


def test_a_bad_row_beside_threads_keeps_the_chunks_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run.chunks, "__defaults__", (2, 1000))
    path, output = tmp_path / "posts.jsonl", tmp_path / "out.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\n{"text": 1}\n', "utf-8")
    with run.claimed_output(output, {}, False), pytest.raises(DataError, match="line 3"):
        run.predict_chunks(Counting(), find_post_files(path), "mner", output, threads=2)
    assert run.part_path(output, 0).is_file()


def test_threads_of_products_become_threads_of_chunks():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert run.take_threads(torch.device("cuda")) == 1 and torch.get_num_threads() == 3
        assert run.take_threads(torch.device("cpu")) == 3 and torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def claim(output: Path, settings: dict, overwrite: bool) -> int:
    with run.claimed_output(output, settings, overwrite) as done:
        return done


def test_another_input_does_not_continue_a_run(source: Path, tmp_path: Path):
    output = tmp_path / "out.jsonl"
    predicted(Counting(), source, output)
    source.write_text("others\n", "utf-8")
    settings = run.run_settings("model", find_post_files(source))
    with pytest.raises(SettingError, match="another input"):
        claim(output, settings, False)
    assert claim(output, settings, True) == 0


def test_an_output_is_never_overwritten_unasked(source: Path, tmp_path: Path):
    output = tmp_path / "out.jsonl"
    output.write_text("mine", "utf-8")
    with pytest.raises(SettingError, match="The output exists"):
        claim(output, {}, False)
    with pytest.raises(SettingError, match="JSON Lines"):
        claim(tmp_path / "out.csv", {}, False)
    assert claim(output, {}, True) == 0


def test_a_bad_row_stops_the_run_and_keeps_the_chunks_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run.chunks, "__defaults__", (2, 1000))
    source, output = tmp_path / "posts.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"text": "a"}\n{"text": "b"}\n{"text": 1}\n', "utf-8")
    with pytest.raises(DataError, match="line 3"):
        predicted(Counting(), source, output)
    assert run.part_path(output, 0).is_file()


def test_improbable_entities_and_relations_are_left_out():
    entities = [{"score": 0.4}, {"score": 0.6}]
    assert run.probable({"entities": entities}, 0.5) == {"entities": entities[1:]}
    assert run.probable({"entities": entities}, 0.0) == {"entities": entities}
    assert run.probable({"relation": "a", "score": 0.4}, 0.5) == {"relation": None, "score": 0.4}


def test_chunks_close_at_a_number_of_posts_or_of_characters():
    posts = [Post(str(index), text, "here") for index, text in enumerate(["aa", "a" * 9, "", "", "", "a"])]
    assert [[post.id for post in chunk] for chunk in run.chunks(iter(posts), 3, 10)] == [
        ["0", "1"],
        ["2", "3", "4"],
        ["5"],
    ]
    assert list(run.chunks(iter(()), 3, 10)) == []


def test_another_commit_of_a_model_does_not_continue_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A branch of a repository moves; what was loaded is in the cache under its commit."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    cache = tmp_path / "models--someone--model"
    for commit in ("1" * 40, "2" * 40):
        (cache / "snapshots" / commit).mkdir(parents=True)
        (cache / "snapshots" / commit / "config.json").write_text("{}")
    (cache / "refs").mkdir()

    def settings(commit: str, revision: str | None = None) -> dict:
        (cache / "refs" / "main").write_text(commit)
        return run.run_settings("someone/model", [], revision)

    assert settings("1" * 40)["model"] == ["someone/model", "1" * 40]
    assert settings("2" * 40)["model"] != settings("1" * 40)["model"]
    assert settings("1" * 40, "2" * 40)["model"] == ["someone/model", "2" * 40]
    with pytest.raises(SettingError, match="had another model"):
        (
            claim(tmp_path / "out.jsonl", settings("1" * 40), False),
            claim(tmp_path / "out.jsonl", settings("2" * 40), False),
        )


def test_problems_are_counted_and_words_that_look_like_one_are_not(tmp_path: Path):
    output = tmp_path / "out.jsonl"
    rows = [{"id": "1", "problem": "too far"}, {"text": 'a, "problem": "b"', "id": "2"}]
    run.write_json_lines(run.part_path(output, 0), rows)
    assert run.merge_chunks(output, [2]) == run.Predicted(2, 1)
