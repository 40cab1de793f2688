"""Single values as files and pandas give them."""

import json

import pytest

from modeling_cotpd.data.records import read_folder
from modeling_cotpd.data.values import bounds_of, cut, id_of, text_of, token_list, whole_number
from modeling_cotpd.errors import DataError


@pytest.mark.parametrize(
    ("value", "id"), [("a", "a"), (17, "17"), (17.0, "17"), (None, None), (float("nan"), None), ("017", "017")]
)
def test_ids(value, id):
    assert id_of(value, "here") == id


@pytest.mark.parametrize("value", [True, 1.5, ["a"], {"a": 1}])
def test_ids_that_are_none(value):
    with pytest.raises(DataError, match=r"here: The id is .*a string or a whole number"):
        id_of(value, "here")


def test_an_id_that_lost_digits_is_refused():
    with pytest.raises(DataError, match=r"lost digits.*dtype=\{'id': str\}"):
        id_of(1.0e18, "here")
    assert id_of(10**18, "here") == "1000000000000000000"


def test_texts(caplog):
    assert text_of(None, "caption", "here") == text_of(float("nan"), "caption", "here") == ""
    assert text_of("\ud83d\ude00", "caption", "here") == "\U0001f600" and not caplog.text
    assert text_of("so \ud83d cool", "caption", "here") == "so \ufffd cool"
    assert "here: half of a surrogate pair in 'caption'" in caplog.text
    with pytest.raises(DataError, match="here: The column 'caption' holds a list"):
        text_of(["x"], "caption", "here")


def test_numbers_and_tokens():
    assert [whole_number(value) for value in (2, 2.0, 2.5, True, "2", None)] == [2, 2, None, None, None, None]
    assert token_list(["Ada", "\ude00"], "here") == ["Ada", "\ufffd"]
    for value in ("Ada", ["Ada", 2], None):
        with pytest.raises(DataError, match="does not hold a list of strings"):
            token_list(value, "here")


@pytest.mark.parametrize("value", [[0, 2], (0, 2), [0.0, 2.0], {"start": 0, "end": 2}, {"name": "Ada", "pos": [0, 2]}])
def test_spans(value):
    assert bounds_of(value, "head", "here") == (0, 2)


@pytest.mark.parametrize("value", [None, "Ada", [0], [0, None], [0, 1.5], {"start": 0}, [True, 2], 3])
def test_spans_that_are_none(value):
    with pytest.raises(DataError, match=r'here: .head. is .*not a span.*"head": \[0, 2\]'):
        bounds_of(value, "head", "here")


TEXT = "(Varro Quill's) 🎤 in Lindmere!!"
VARRO, LINDMERE = (1, 12), (21, 29)
TOKENS = ["(", "Varro", "Quill", "'s", ")", "🎤", "in", "Lindmere", "!!"]
TAGS = ["O", "B-PER", "I-PER", "O", "O", "O", "O", "B-LOC", "O"]


def entity(start, end, label, **more):
    return {"start": start, "end": end, "label": label, **more}


def label_studio(start, end, label):
    value = {"start": start, "end": end, "labels": [label], "text": TEXT[start:end]}
    return {"value": value, "type": "labels", "from_name": "label", "to_name": "text"}


FORMS = {
    "doccano": {"id": 1, "text": TEXT, "label": [[*VARRO, "PER"], [*LINDMERE, "LOC"]]},
    "doccano with relations": {
        "id": 1,
        "text": TEXT,
        "entities": [
            {"id": 8, "label": "PER", "start_offset": VARRO[0], "end_offset": VARRO[1]},
            {"id": 9, "label": "LOC", "start_offset": LINDMERE[0], "end_offset": LINDMERE[1]},
        ],
        "relations": [{"id": 1, "from_id": 8, "to_id": 9, "type": "in"}],
    },
    "prodigy": {
        "id": 1,
        "text": TEXT,
        "tokens": [{"text": "(", "start": 0, "end": 1, "id": 0}],
        "spans": [entity(*VARRO, "PER", token_start=1), entity(*LINDMERE, "LOC", token_start=7)],
        "answer": "accept",
    },
    "spacy": {"id": 1, "text": TEXT, "ents": [entity(*VARRO, "PER"), entity(*LINDMERE, "LOC")], "tokens": [{"id": 0}]},
    "label studio": {
        "id": 1,
        "data": {"text": TEXT},
        "annotations": [
            {"was_cancelled": True, "result": []},
            {"result": [label_studio(*VARRO, "PER"), label_studio(*LINDMERE, "LOC"), {"type": "relation"}]},
        ],
        "predictions": [],
    },
}


def read(tmp_path, *rows, name="train.jsonl", task="mner"):
    path = tmp_path / name
    path.write_text(json.dumps(rows) if name.endswith(".json") else "".join(json.dumps(row) + "\n" for row in rows))
    return read_folder(tmp_path, task)[0]["train"]


@pytest.mark.parametrize("name", ["train.jsonl", "train.json"])
@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_every_tool(tmp_path, form, name):
    (row,) = read(tmp_path, FORMS[form], name=name)
    assert (row["id"], row["tokens"], row["ner_tags"]) == ("1", TOKENS, TAGS)


def test_training_data_of_spacy_2(tmp_path):
    (row,) = read(tmp_path, [TEXT, {"entities": [[*VARRO, "PER"], [*LINDMERE, "LOC"]]}], name="train.json")
    assert (row["tokens"], row["ner_tags"]) == (TOKENS, TAGS)


def test_offsets_that_a_browser_counted(tmp_path):
    """There, the emoji before Lindmere counts as two."""
    value = {"start": LINDMERE[0] + 1, "end": LINDMERE[1] + 1, "labels": ["LOC"], "text": "Lindmere"}
    task = {"id": 1, "data": {"text": TEXT}, "annotations": [{"result": [{"value": value, "type": "labels"}]}]}
    (row,) = read(tmp_path, task)
    assert row["tokens"][row["ner_tags"].index("B-LOC")] == "Lindmere"
    value["text"] = "elsewhere"
    with pytest.raises(DataError, match="but the span's text is 'elsewhere'"):
        read(tmp_path, task)


def test_rows_without_spans(tmp_path):
    rows = read(
        tmp_path,
        {"text": "no one", "label": []},
        {"text": "not labelled", "label": None},
        {"text": "rejected", "spans": [entity(0, 3, "PER")], "answer": "reject"},
        {"id": 7, "data": {"text": "open task", "caption": "a hall"}, "annotations": []},
    )
    assert [row["ner_tags"] for row in rows] == [["O", "O"], None, None, None]
    assert rows[3]["id"] == "7" and rows[3]["caption"] == "a hall"


def test_spans_are_trimmed_and_labels_are_one_word(tmp_path):
    (row,) = read(tmp_path, {"text": "so, Ada Lee ran", "label": [[3, 12, "Person Name"], [4, 11, "Person Name"]]})
    assert row["tokens"] == ["so", ",", "Ada", "Lee", "ran"]
    assert row["ner_tags"] == ["O", "O", "B-Person_Name", "I-Person_Name", "O"]


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([[0, 3, "A"], [2, 5, "B"]], r"A \[0, 3\) and B \[2, 5\) overlap"),
        ([[0, 99, "A"]], r"The A span \[0, 99\) lies outside the 5 characters"),
        ([[3, 3, "A"]], "lies outside"),
        ([[1, 2, "A"]], "holds white space only"),
        ([[0, 3]], "is not a span"),
        ([{"start": 0, "end": 3}], "is not a span"),
        ([{"start": "0", "end": 3, "label": "A"}], "is not a span"),
        ("A", "'label' does not hold a list of spans"),
    ],
)
def test_faulty_spans(tmp_path, spans, message):
    with pytest.raises(DataError, match=f"train.jsonl, line 1: .*{message}"):
        read(tmp_path, {"text": "a bcd", "label": spans})


def test_several_annotations_of_one_task(tmp_path):
    task = {"data": {"text": "a"}, "annotations": [{"result": []}, {"result": []}]}
    with pytest.raises(DataError, match="The task has 2 annotations"):
        read(tmp_path, task)


def test_relations_in_a_text(tmp_path):
    row = {"text": TEXT, "head": VARRO, "tail": {"start": LINDMERE[0], "end": LINDMERE[1]}, "relation": "in"}
    (found,) = read(tmp_path, row, task="mre")
    assert found["tokens"] == TOKENS and found["relation"] == "in"
    assert found["head"] == {"start": 1, "end": 3} and found["tail"] == {"start": 7, "end": 8}


@pytest.mark.parametrize(
    ("text", "bounds", "tokens"),
    [
        ("a  b\tc\nd", (), ["a", "b", "c", "d"]),
        ("RT @mira: #Otters, #... @ ok", (), ["RT", "@mira", ":", "#Otters", ",", "#", "...", "@", "ok"]),
        ("https://t.co/aB1 co-op don't", (), ["https://t.co/aB1", "co-op", "don't"]),
        ("Meera's", (5,), ["Meera", "'s"]),
        ("मीरा।", (), ["मीरा", "।"]),
        ("", (), []),
    ],
)
def test_tokens(text, bounds, tokens):
    assert [text[start:end] for start, end in cut(text, bounds)] == tokens
