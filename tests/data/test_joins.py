"""Captions and knowledge joined by id."""

import json
import logging

import pytest

from modeling_cotpd.data.joins import TextFile, find_text_files, join
from modeling_cotpd.errors import DataError, KnowledgeError, SettingError


def rows():
    return [
        {"id": "1#a", "image": "1", "place": "train.txt, line 1"},
        {"id": "1#b", "image": "1", "place": "train.txt, line 2"},
        {"id": "2", "image": None, "place": "train.txt, line 3"},
        {"id": "3", "image": "3", "place": "train.txt, line 4"},
    ]


def write(tmp_path, *objects):
    path = tmp_path / "captions.train.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in objects))
    return path


def test_join_by_id_then_by_image(tmp_path):
    path = write(
        tmp_path,
        {"id": 1, "blip2": " a dog ", "long": "x"},
        {"id": "1#b", "blip2": "a cat"},
        {"id": "2", "blip2": None},
    )
    data = rows()
    (report,) = join(data, TextFile.read(path), {"caption": "blip2"}, "train")
    assert [row["caption"] for row in data] == ["a dog", "a cat", "", ""]
    assert (report.rows, report.matched, report.filled) == (4, 3, 2)
    assert "3/4 ids matched" in str(report)


def test_ids_that_do_not_match_are_shown_from_both_files(tmp_path):
    path = write(tmp_path, {"id": "x9", "blip2": "a dog"}, {"id": "2", "blip2": "a dog"})
    with pytest.raises(KnowledgeError, match=r"Only 1 of 4 rows .* like x9, 2, those of train\.txt like 1, 1, 2"):
        join(rows(), TextFile.read(path), {"caption": "blip2"}, "train")
    join(rows(), TextFile.read(path), {"caption": "blip2"}, "train", min_coverage=0.25)
    with pytest.raises(SettingError, match="between 0 and 1"):
        join(rows(), TextFile.read(path), {"caption": "blip2"}, "train", min_coverage=5)


def test_unknown_keys_and_clashing_ids(tmp_path):
    path = write(tmp_path, *({"id": name, "blip2": "", "owl": "an owl"} for name in ("1", "2", "3")))
    with pytest.raises(KnowledgeError, match=r"No object has the key 'catr'\. The keys are blip2, owl"):
        join(rows(), TextFile.read(path), {"caption": "catr"}, "train")
    with pytest.raises(KnowledgeError, match=r"line 2: The id '1' stands at line 1 too"):
        TextFile.read(write(tmp_path, {"id": "1", "owl": "a"}, {"id": "1", "owl": "b"}))
    with pytest.raises(KnowledgeError, match="line 1: The object has no 'id'"):
        TextFile.read(write(tmp_path, {"owl": "a"}))


def test_empty_texts_are_reported(tmp_path, caplog):
    path = write(tmp_path, *({"id": name, "blip2": "", "owl": "an owl"} for name in ("1", "2", "3")))
    with caplog.at_level(logging.WARNING):
        join(rows(), TextFile.read(path), {"caption": "blip2"}, "train")
    assert "0 texts are not empty" in caplog.text and "another key of blip2, owl" in caplog.text


def test_ids_of_pandas_and_files_that_are_one_list(tmp_path):
    (tmp_path / "captions.train.json").write_text('[{"id": 2.0, "blip2": "a dog"}, {"id": 3, "blip2": NaN}]')
    assert list(TextFile.read(tmp_path / "captions.train.json").texts) == ["2", "3"]
    data = rows()
    join(data, TextFile.read(tmp_path / "captions.train.json"), {"caption": "blip2"}, "train", min_coverage=0.5)
    assert [row["caption"] for row in data] == ["", "", "a dog", ""]


def test_texts_in_rows_and_files_together(tmp_path):
    path = write(
        tmp_path, *({"id": name, "blip2": text} for name, text in (("1", "a dog"), ("2", ""), ("3", "a cat")))
    )
    data = [{**row, "caption": text} for row, text in zip(rows(), ("", "a dog", "mine", "a cat"), strict=True)]
    (report,) = join(data, TextFile.read(path), {"caption": "blip2"}, "train")
    assert [row["caption"] for row in data] == ["a dog", "a dog", "mine", "a cat"] and report.filled == 4
    data[3]["caption"] = "mine"
    with pytest.raises(KnowledgeError, match=r"id 3: The row at train\.txt, line 4 has another text in 'caption'"):
        join(data, TextFile.read(path), {"caption": "blip2"}, "train")
    join(data, TextFile.read(path), {"caption": "blip2"}, "train", replace=True)
    assert data[3]["caption"] == "a cat"


@pytest.mark.parametrize(
    "name",
    ["captions.jsonl", "captions_train.jsonl", "caption.train.jsonl", "captions.trian.jsonl", "capitons.train.jsonl",
     "captions.train.csv", "captions.train.jsonl.gz"],
)  # fmt: skip
def test_names_that_almost_match_are_refused(tmp_path, name):
    write(tmp_path, {"id": "1", "blip2": "a dog"})
    (tmp_path / "captions.provenance.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    assert list(find_text_files(tmp_path, "captions", {"train": []})) == ["train"]
    (tmp_path / name).write_text("{}")
    said = (
        r"Files that end in \.csv are not read"
        if name.endswith("csv")
        else "The name is nearly that of a file that is read"
    )
    with pytest.raises(DataError, match=f"{name}: {said}"):
        find_text_files(tmp_path, "captions", {"train": []})


def test_glosses_of_knowledge_files(tmp_path):
    gloss = {"mention": "Varro", "gloss": "a painter"}
    path = write(tmp_path, {"id": "2", "glosses": [gloss]}, {"id": "3", "glosses": None})
    data = rows()
    data[3]["glosses"] = [{"mention": "Quill", "gloss": "mine"}]
    join(data, TextFile.read(path), {}, "train")
    assert [row["glosses"] for row in data] == [[], [], [gloss], [{"mention": "Quill", "gloss": "mine"}]]
    with pytest.raises(DataError, match="id 2: The column 'glosses' does not hold a list"):
        join(rows(), TextFile({"2": {"glosses": "Varro"}}, "file"), {}, "train", min_coverage=0)
