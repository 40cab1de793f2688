"""From files to a prepared folder, on files written for these tests, and on the published ones where they are."""

import ast
import json
import os
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from modeling_cotpd.data.prepare import PrepareOptions, found_label_names, prepare, rename_types
from modeling_cotpd.data.prepared import read_prepared
from modeling_cotpd.data.sources import KNOWN_COPIES, SOURCES
from modeling_cotpd.errors import DataError, KnowledgeError, SettingError
from modeling_cotpd.files import sha256_of

NAMES = {"train": "train", "validation": "valid", "test": "test"}


def jsonl(path, *objects):
    path.write_text("".join(json.dumps(value) + "\n" for value in objects))


@pytest.fixture
def twitter(tmp_path):
    """A folder as Twitter-2015 is published, with captions and knowledge."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for split, name in NAMES.items():
        posts = [f"IMGID:{split}{i}\nAda\tB-PER\nin\tO\nYork\tB-LOC\nFair\tI-OTHER\n" for i in range(3)]
        (folder / f"{name}.txt").write_text("\n".join(posts))
        ids = [f"{split}{i}" for i in range(3)]
        jsonl(folder / f"captions.{name}.jsonl", *({"id": i, "blip2": "a park", "owl": f"long {i}"} for i in ids))
        jsonl(
            folder / f"knowledge.{name}.jsonl",
            *({"id": i, "noun": "n", "sentence": "s", "multimodality": f"m {i}"} for i in ids[:2]),
        )
    return folder


def test_published_form_with_captions_and_knowledge(twitter, tmp_path):
    info, coverage = prepare("twitter2015", twitter, tmp_path / "out")
    splits, read = read_prepared(tmp_path / "out")
    assert read == info and list(splits) == list(NAMES)
    assert info.label_names == ["O", "B-LOC", "I-LOC", "B-OTHER", "I-OTHER", "B-PER", "I-PER"]
    row = splits["validation"][0]
    assert (row["id"], row["image"], row["caption"]) == ("validation0", "validation0", "a park")
    assert (row["cot_noun"], row["cot_sentence"], row["cot_multimodality"]) == ("n", "s", "m validation0")
    assert splits["train"]["cot_noun"] == ["n", "n", ""]
    assert info.captioner == "blip2" and info.knowledge == "knowledge files"
    assert info.sources == {path.name: sha256_of(path) for path in twitter.iterdir()}
    assert len(coverage) == 12 and {(report.matched, report.filled) for report in coverage} == {(3, 3), (2, 2)}


def test_how_captions_and_knowledge_were_made_is_kept(twitter, tmp_path):
    made = {"blip2": {"settings": {"model": "some/blip2", "prompt": ""}, "versions": {}}, "owl": {"settings": {}}}
    (twitter / "captions.provenance.json").write_text(json.dumps(made))
    (twitter / "knowledge.provenance.json").write_text('{"teacher": "stub", "prompts": {"noun": "noun@1#a"}}')
    info, _ = prepare("twitter2015", twitter, tmp_path / "out")
    assert info.provenance == {
        "captions": {"model": "some/blip2", "prompt": ""},
        "knowledge": [{"teacher": "stub", "prompts": {"noun": "noun@1#a"}}],
    }
    assert read_prepared(tmp_path / "out")[1] == info
    info, _ = prepare("twitter2015", twitter, tmp_path / "owl", PrepareOptions(captioner="owl", knowledge=False))
    assert info.provenance == {}
    (twitter / "knowledge.provenance.json").write_text("[]")
    with pytest.raises(KnowledgeError, match="holds no object"):
        prepare("twitter2015", twitter, tmp_path / "no")


def test_options(twitter, tmp_path):
    options = PrepareOptions(
        captioner="owl",
        knowledge=False,
        knowledge_from_captions={"cot_multimodality": "owl"},
        rename_types={"OTHER": "MISC"},
    )
    info, _ = prepare("twitter2015", twitter, tmp_path / "out", options)
    (row, *_), _ = read_prepared(tmp_path / "out")[0]["train"], None
    assert row["caption"] == row["cot_multimodality"] == "long train0" and row["cot_noun"] == ""
    assert "B-MISC" in info.label_names and "B-OTHER" not in info.label_names
    assert info.knowledge == "cot_multimodality from captions by owl" and "knowledge.train.jsonl" not in info.sources
    info, coverage = prepare("twitter2015", twitter, tmp_path / "no", PrepareOptions(captions=False, knowledge=False))
    assert (info.captioner, info.knowledge, coverage) == ("", "", [])


def test_files_that_do_not_fit_or_are_missing(twitter, tmp_path, caplog):
    out = tmp_path / "out"
    with pytest.raises(KnowledgeError, match="No object has the key 'catr'"):
        prepare("twitter2015", twitter, out, PrepareOptions(captioner="catr"))
    (twitter / "knowledge.test.jsonl").unlink()
    prepare("twitter2015", twitter, tmp_path / "partly")
    assert "the test split has no texts for cot_noun" in caplog.text
    (twitter / "captions.train.jsonl").rename(twitter / "captions.test.jsonl")
    with pytest.raises(KnowledgeError, match=r"Only 0 of 3 rows of the test split.*train0.*test0"):
        prepare("twitter2015", twitter, out)
    for path in twitter.glob("captions*"):
        path.unlink()
    with pytest.raises(DataError, match="There are no caption files"):
        prepare("twitter2015", twitter, out, PrepareOptions(captioner="blip2"))
    (twitter / "valid.txt").unlink()
    with pytest.raises(
        DataError, match=r"validation split of twitter2015 is missing.*validation\.txt or valid\.txt.*--down"
    ):
        prepare("twitter2015", twitter, out)
    with pytest.raises(DataError, match="by hand"):
        prepare("snap", twitter, out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "source", "options", "message"),
    [
        ("twitter", "raw", {}, "Unknown data set 'twitter'"),
        ("mnre", None, {}, "mnre needs a source"),
        ("sample-mner", "raw", {}, "sample-mner takes no source"),
        ("custom", "raw", {}, "custom data needs a task"),
        ("custom", "raw", {"task": "mner", "download": True}, "nothing to download for custom"),
        ("twitter2015", "raw", {"task": "mre"}, "twitter2015 is mner data, not mre"),
    ],
)
def test_settings_that_conflict(tmp_path, name, source, options, message):
    with pytest.raises(SettingError, match=message):
        prepare(name, source, tmp_path / "out", PrepareOptions(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "ner"}, "task must be one of mner, mre"),
        ({"knowledge_from_captions": {"caption": "owl"}}, "not 'caption'"),
        ({"context_column": "text"}, "context_column must be one of"),
        ({"captioner": "owl", "captions": False}, "switched off"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(SettingError, match=message):
        PrepareOptions(**options)


def test_the_output_is_not_overwritten(twitter, tmp_path):
    with pytest.raises(SettingError, match=r"not empty.*--overwrite"):
        prepare("twitter2015", twitter, twitter)


def test_context_of_more(tmp_path, caplog):
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.txt").write_text("IMGID:1\nAda\tB-Person\n<EOS>\tX\nAda\tX\nLee\tX\n\nIMGID:2\nx\tO\n")
    info, _ = prepare("wikidiverse", tmp_path, tmp_path / "out")
    assert info.label_names == ["O", "B-Person", "I-Person"]
    assert "train: 1 posts carry retrieved text" in caplog.text
    prepare("wikidiverse", tmp_path, tmp_path / "kept", PrepareOptions(context_column="cot_sentence"))
    assert read_prepared(tmp_path / "kept")[0]["train"]["cot_sentence"] == ["Ada Lee", ""]


def test_snap_accepts_its_types_only(tmp_path):
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.txt").write_text("IMGID:1\nAda\tB-PERSON\n")
    with pytest.raises(DataError, match=r"train\.txt, line 2: Unknown tag 'B-PERSON'"):
        prepare("snap", tmp_path, tmp_path / "out")


def test_mnre_form(tmp_path):
    row = {
        "token": ["Ada", "met", "Bo"],
        "h": {"name": "Ada", "pos": [0, 1]},
        "t": {"name": "Bo", "pos": [2, 3]},
        "img_id": "p.jpg",
        "relation": "/per/per/peer",
    }
    for name in ("mnre_train.txt", "mnre_val .txt", "mnre_test.txt"):
        (tmp_path / name).write_text(f"{row!r}\n{ {**row, 'relation': 'None', 'img_id': 'q.jpg'}!r}\n")
    with pytest.raises(DataError, match=r"relation ids are missing.*rel2id\.json or"):
        prepare("mnre", tmp_path, tmp_path / "out")
    (tmp_path / "rel2id.json").write_text('{"None": 0, "/per/per/peer": 1}')
    jsonl(tmp_path / "captions.train.jsonl", {"id": "p.jpg", "blip2": "two people"}, {"id": "q.jpg", "blip2": ""})
    info, _ = prepare("mnre", tmp_path, tmp_path / "out")
    train = read_prepared(tmp_path / "out")[0]["train"]
    assert train["caption"] == ["two people", ""] and train["relation"] == [1, 0]
    assert info.label_names == ["None", "/per/per/peer"] and "mnre_val .txt" in info.sources


def test_own_data(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.txt").write_text("Ada B-PER\nruns O\n\nYork\n")
    jsonl(tmp_path / "mine" / "test.jsonl", {"tokens": ["Bo"], "ner_tags": ["O"], "caption": "a hill"})
    info, _ = prepare("custom", tmp_path / "mine", tmp_path / "out", PrepareOptions(task="mner"))
    splits, _ = read_prepared(tmp_path / "out")
    assert (info.name, info.captioner, info.knowledge) == ("mine", "given with the data", "")
    assert list(splits) == ["train", "test"] and splits["train"]["ner_tags"] == [[1, 0], None]
    with pytest.raises(DataError, match=r"train\.txt, line 1: Unknown tag 'B-PER'"):
        prepare(
            "custom",
            tmp_path / "mine",
            tmp_path / "x",
            PrepareOptions(task="mner", label_names=["O", "B-LOC", "I-LOC"]),
        )


def own(tmp_path, name, content):
    (tmp_path / "mine").mkdir(exist_ok=True)
    (tmp_path / "mine" / name).write_text(content)
    return tmp_path / "mine"


def test_an_entity_type_called_o_is_refused_or_renamed(tmp_path):
    source = own(tmp_path, "train.txt", "Ada B-O\nruns O\n")
    with pytest.raises(DataError, match=r"An entity type is called O.*--rename-type O=OBJECT"):
        prepare("custom", source, tmp_path / "out", PrepareOptions(task="mner"))
    info, _ = prepare("custom", source, tmp_path / "out", PrepareOptions(task="mner", rename_types={"O": "OBJECT"}))
    assert info.label_names == ["O", "B-OBJECT", "I-OBJECT"]
    with pytest.raises(DataError, match="called O"):
        prepare("custom", source, tmp_path / "no", PrepareOptions(task="mner", label_names=["O", "B-O", "I-O"]))


@pytest.mark.parametrize("names", [["O", "B-PER", "B-PER"], ["O", ""], ["O", "PER"], ["O", "S-PER"]])
def test_label_names_that_are_none(tmp_path, names):
    source = own(tmp_path, "train.jsonl", '{"tokens": ["Ada"], "ner_tags": [0]}\n')
    with pytest.raises(DataError, match=r"The label|A label|Unknown tag"):
        prepare("custom", source, tmp_path / "out", PrepareOptions(task="mner", label_names=names))


@pytest.mark.parametrize(
    ("scheme", "text"), [("bioes", "Ada S-PER\nB B-LOC\nC E-LOC\n"), ("iob1", "Ada I-PER\nB I-LOC\nC I-LOC\n")]
)
def test_tag_schemes(tmp_path, caplog, scheme, text):
    source = own(tmp_path, "train.txt", text)
    rows = [line.split() for line in text.splitlines()]
    own(tmp_path, "test.jsonl", json.dumps({"tokens": [row[0] for row in rows], "ner_tags": [row[1] for row in rows]}))
    prepare("custom", source, tmp_path / "out", PrepareOptions(task="mner", tag_scheme=scheme))
    splits, info = read_prepared(tmp_path / "out")
    for split in splits.values():
        assert [info.label_names[tag] for tag in split["ner_tags"][0]] == ["B-PER", "B-LOC", "I-LOC"]
    if scheme == "iob1":
        prepare("custom", source, tmp_path / "plain", PrepareOptions(task="mner"))
        assert "no entity begins with B-; if the tags are IOB1, add --tag-scheme iob1" in caplog.text
    with pytest.raises(SettingError, match="no other tag scheme"):
        prepare("twitter2015", source, tmp_path / "no", PrepareOptions(tag_scheme=scheme))


def test_declared_names_of_another_scheme(tmp_path):
    names = ["O", "B-PER", "I-PER", "E-PER", "S-PER"]
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=names))})
    rows = Dataset.from_dict({"tokens": [["Ada", "Lee", "Bo"]], "ner_tags": [[1, 3, 4]]}, features=features)
    (tmp_path / "mine").mkdir()
    rows.to_parquet(tmp_path / "mine" / "train.parquet")
    prepare("custom", tmp_path / "mine", tmp_path / "out", PrepareOptions(task="mner", tag_scheme="bioes"))
    splits, info = read_prepared(tmp_path / "out")
    assert info.label_names == ["O", "B-PER", "I-PER"] and splits["train"]["ner_tags"] == [[1, 2, 1]]


def test_a_post_of_white_space_is_refused(tmp_path):
    source = own(
        tmp_path, "train.jsonl", '{"tokens": ["a"], "ner_tags": ["O"]}\n{"tokens": ["\\u00a0"], "ner_tags": ["O"]}'
    )
    with pytest.raises(DataError, match=r"train\.jsonl, line 2: The post holds white space only"):
        prepare("custom", source, tmp_path / "out", PrepareOptions(task="mner"))


def test_rows_that_pandas_wrote(tmp_path):
    """Missing values make its whole numbers floats."""
    rows = [
        {"id": 1.0, "tokens": ["Ada", "x", "Bo"], "head": [0, 1], "tail": [2, 3], "relation": 1.0, "caption": None},
        {"id": float("nan"), "tokens": ["a", "b"], "head": [0.0, 1.0], "tail": [1.0, 2.0], "relation": float("nan"),
         "caption": float("nan")},
    ]  # fmt: skip
    source = own(tmp_path, "train.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    (source / "captions.train.jsonl").write_text('{"id": "1", "blip2": "a hall"}\n')
    options = PrepareOptions(task="mre", label_names=["None", "peer"])
    prepare("custom", source, tmp_path / "out", options)
    train = read_prepared(tmp_path / "out")[0]["train"]
    assert train["id"] == ["1", "train-1"] and train["relation"] == [1, None] and train["caption"] == ["a hall", ""]


def test_captions_of_rows_and_files_are_noted(tmp_path):
    rows = [
        {"id": "1", "tokens": ["a"], "ner_tags": ["O"], "caption": "mine"},
        {"id": "2", "tokens": ["b"], "ner_tags": ["O"]},
    ]
    source = own(tmp_path, "train.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    own(tmp_path, "captions.train.jsonl", '{"id": 2, "blip2": "a hall"}\n')
    info, _ = prepare("custom", source, tmp_path / "out", PrepareOptions(task="mner"))
    assert read_prepared(tmp_path / "out")[0]["train"]["caption"] == ["mine", "a hall"]
    assert info.captioner == "blip2; given with the data"


def test_glosses_of_rows(tmp_path):
    rows = [
        {"tokens": ["Ada"], "ner_tags": ["O"], "glosses": [{"mention": "Ada", "gloss": "a poet"}]},
        {"tokens": ["Bo"], "ner_tags": ["O"], "cot_noun": "1. Bo (a dog)"},
    ]
    source = own(tmp_path, "train.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    prepare("custom", source, tmp_path / "out", PrepareOptions(task="mner"))
    assert read_prepared(tmp_path / "out")[0]["train"]["glosses"] == [
        [{"mention": "Ada", "gloss": "a poet"}],
        [{"mention": "Bo", "gloss": "a dog"}],
    ]
    own(tmp_path, "train.jsonl", json.dumps({**rows[0], "glosses": ["Ada"]}))
    with pytest.raises(DataError, match="'glosses' does not hold a list of objects"):
        prepare("custom", source, tmp_path / "no", PrepareOptions(task="mner"))


def test_a_prepared_folder_is_replaced_on_request(twitter, tmp_path):
    prepare("twitter2015", twitter, tmp_path / "out")
    with pytest.raises(SettingError, match="not empty"):
        prepare("twitter2015", twitter, tmp_path / "out")
    prepare("twitter2015", twitter, tmp_path / "out", PrepareOptions(knowledge=False, overwrite=True))
    assert read_prepared(tmp_path / "out")[1].knowledge == ""
    with pytest.raises(SettingError, match="not empty"):
        prepare("twitter2015", twitter, twitter, PrepareOptions(overwrite=True))
    assert (twitter / "train.txt").is_file()


@pytest.mark.parametrize(("name", "task"), [("sample-mner", "mner"), ("sample-mre", "mre")])
def test_sample_corpora(tmp_path, name, task):
    info, _ = prepare(name, None, tmp_path / "out")
    splits, _ = read_prepared(tmp_path / "out")
    assert info.task == task and info.label_names[0] == ("O" if task == "mner" else "None")
    assert all(len(split) for split in splits.values()) and len(info.sources) == 3


DATA = os.environ.get("COTPD_DATA")
real = pytest.mark.skipif(not DATA, reason="COTPD_DATA does not name a folder with the published data sets")
ROWS = {"twitter2015": (4000, 1000, 3257), "twitter2017": (3373, 723, 723), "mnre": (12247, 1624, 1614)}


@real
@pytest.mark.parametrize("name", ROWS)
def test_published_data_sets(tmp_path, name):
    info, coverage = prepare(name, Path(DATA) / name, tmp_path / "out")
    assert tuple(facts["rows"] for facts in info.splits.values()) == ROWS[name]
    assert all(facts["gold_hash"] in KNOWN_COPIES for facts in info.splits.values())
    assert all(report.matched == report.rows and report.filled > 0.98 * report.rows for report in coverage)
    assert {file.sha256 for file in SOURCES[name].downloads} <= set(info.sources.values())
    splits, _ = read_prepared(tmp_path / "out")
    assert all(len(set(split["id"])) == len(split) for split in splits.values())
    if name == "mnre":
        return
    # The same files cut up in another way: blocks between empty lines, columns by the last TAB.
    for split, rows in splits.items():
        blocks = (Path(DATA) / name / f"{NAMES[split]}.txt").read_bytes().decode().strip("\n").split("\n\n")
        wanted = [[line.rpartition("\t")[::2] for line in block.split("\n")[1:]] for block in blocks]
        tags = info.label_names
        assert wanted == [
            [(token, tags[tag]) for token, tag in zip(row["tokens"], row["ner_tags"], strict=True)] for row in rows
        ]
        assert [row["id"] for row in rows] == [block.split("\n")[0].removeprefix("IMGID:") for block in blocks]


@real
def test_mnre_against_its_lines(tmp_path):
    options = PrepareOptions(knowledge_from_captions={"cot_multimodality": "minicpm"})
    info, _ = prepare("mnre", Path(DATA) / "mnre", tmp_path / "out", options)
    test = read_prepared(tmp_path / "out")[0]["test"]
    lines = (Path(DATA) / "mnre" / "mnre_test.txt").read_text("utf-8").splitlines()
    ids = json.loads((Path(DATA) / "mnre" / "rel2id.json").read_text())
    for row, line in zip(test, lines, strict=True):
        raw = ast.literal_eval(line)
        assert row["tokens"] == raw["token"] and row["relation"] == ids[raw["relation"]]
        for side, key in (("head", "h"), ("tail", "t")):
            assert " ".join(row["tokens"][row[side]["start"] : row[side]["end"]]) == raw[key]["name"]
    assert len(info.label_names) == 23 and sum(map(bool, test["cot_multimodality"])) > 1600


def tagged(*tags):
    return [{"ner_tags": list(row) if row else None, "place": f"line {index}"} for index, row in enumerate(tags)]


def test_tags_in_a_fixed_order(caplog):
    rows = {"train": tagged(["I-B", "O"], None), "test": tagged(["B-A"])}
    assert found_label_names(rows, "mner") == ["O", "B-A", "I-A", "B-B", "I-B"]
    assert "outside of the train split only: B-A" in caplog.text


def test_relations_with_none_first():
    rows = {"train": [{"relation": name, "place": ""} for name in ("b", "None", "A", None)]}
    assert found_label_names(rows, "mre") == ["None", "A", "b"]


def test_unknown_schemes_and_unlabelled_data():
    with pytest.raises(DataError, match="line 1: Unknown tag 'E-A'"):
        found_label_names({"train": tagged(["O"], ["E-A"])}, "mner")
    with pytest.raises(DataError, match=r"line 0: No row is labelled.*--labels"):
        found_label_names({"train": tagged(None)}, "mner")


def test_rename_types():
    rows = {"train": tagged(["B-OTHER", "I-OTHER", "O", "B-PER"], None)}
    names = ["O", "B-OTHER", "I-OTHER", "B-PER", "I-PER"]
    assert rename_types(rows, "mner", names, {"OTHER": "MISC"}) == ["O", "B-MISC", "I-MISC", "B-PER", "I-PER"]
    assert rows["train"][0]["ner_tags"] == ["B-MISC", "I-MISC", "O", "B-PER"]
    with pytest.raises(SettingError, match=r"no entity type 'ORG'.*OTHER, PER"):
        rename_types(rows, "mner", names, {"ORG": "X"})
    with pytest.raises(SettingError, match="Only entity types"):
        rename_types({}, "mre", [], {"a": "b"})
