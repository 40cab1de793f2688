"""Case studies: predictions side by side, every text escaped."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.small_sweep import fictional_rows

from experiments.cases import main, read_cases, render_page
from modeling_cotpd.errors import DataError


def write_predictions(folder: Path, prompt: str = "O", knowledge: str = "B-PER") -> Path:
    """A run's predictions of eight fictional posts: the knowledge view finds the names, the prompt view does not."""
    folder.mkdir()
    rows = [
        {"id": row["id"], "tokens": row["tokens"], "gold": row["ner_tags"], "prompt": ["O", prompt, "O"],
         "knowledge": ["O", knowledge, "O"]}
        for row in fictional_rows(8, "test")
    ]  # fmt: skip
    (folder / "predictions.test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return folder


def test_posts_with_different_predictions_are_shown(tmp_path: Path, otters: Path):
    run, same = write_predictions(tmp_path / "run"), write_predictions(tmp_path / "same", "B-PER")
    cases = read_cases(run, otters, "test", count=3, compare=same)
    assert [case["id"] for case in cases] == ["test0", "test1", "test2"]
    assert cases[0]["views"] == {
        "gold": ["O", "B-PER", "O"], "prompt": ["O", "O", "O"], "knowledge": ["O", "B-PER", "O"],
        "baseline": ["O", "B-PER", "O"],
    }  # fmt: skip
    assert cases[2]["knowledge"]["cot_noun"] == "Holt is a singer <b>"
    assert read_cases(same, otters, "test") == [] and len(read_cases(same, otters, "test", ["test7"])) == 1
    with pytest.raises(DataError, match="no labelled post 'test99'"):
        read_cases(run, otters, "test", ["test99"])
    with pytest.raises(DataError, match="no such file"):
        read_cases(run, otters, "validation")


class Tags(HTMLParser):
    """Collects what a page holds."""

    def __init__(self):
        super().__init__()
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.seen.append(tag)
        assert not {name for name, _ in attrs} & {"src", "href", "onerror"}, "the page needs nothing but itself"

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_text_is_escaped():
    evil = "<script>alert('x')</script>"
    knowledge = dict.fromkeys(("caption", "cot_noun", "cot_sentence", "cot_multimodality"), evil)
    tags = ["B-<i>", "O", "O"]
    case = {"id": evil, "tokens": [evil, "&amp;", "<b>"], "gold": ["O", "O", "O"], "knowledge": knowledge}
    page = render_page([{**case, "views": {"gold": case["gold"], evil: tags}}])
    parser = Tags()
    parser.feed(page)
    assert not {"script", "b", "i"} & set(parser.seen)
    assert parser.text.count(evil) >= 8 and "&amp;" in parser.text and 'class="wrong"' in page


def test_relations_are_shown_with_their_pair():
    post = {"tokens": ["Old", "Harlow", "Road"], "head": {"start": 0, "end": 3}, "tail": {"start": 1, "end": 2}}
    case = {**post, "id": "a", "gold": "None", "knowledge": dict.fromkeys(("caption", "cot_noun", "cot_sentence"))}
    case["knowledge"]["cot_multimodality"] = ""
    page = render_page([{**case, "views": {"gold": "None", "prompt": "per"}}])
    assert "Old Harlow Road → Harlow: <mark>None</mark>" in page and '<mark class="wrong">per</mark>' in page


def test_the_command_writes_a_page(tmp_path: Path, otters: Path, capsys: pytest.CaptureFixture):
    run, page = write_predictions(tmp_path / "run"), tmp_path / "cases.html"
    main([str(run), "--dataset_dir", str(otters), "--out", str(page), "--count", "2"])
    assert "2 posts written" in capsys.readouterr().out and page.read_text().count("<section>") == 2
