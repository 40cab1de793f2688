"""The route from `--download` to a prepared folder, against a file server on this machine."""

import hashlib
import io
import json
import os
import threading
import zipfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from modeling_cotpd.cli.data import prepare as command
from modeling_cotpd.data.prepare import PrepareOptions, prepare
from modeling_cotpd.data.prepared import read_prepared
from modeling_cotpd.data.published import (
    cut_explanation,
    files_to_download,
    read_captions,
    read_mnre,
    read_relation_ids,
)
from modeling_cotpd.data.sources import BASE_URL_VARIABLE, SOURCES, RemoteFile
from modeling_cotpd.errors import DataError, KnowledgeError

SPLITS = {"train": "train", "valid": "validation", "test": "test"}
POSTS = {
    "train": [(["Varro", "sings"], ["B-PER", "O"]), (["Lindmere", "!"], ["B-LOC", "O"])],
    "valid": [(["so", "proud", "of", "Varro"], ["O", "O", "O", "B-PER"]), (["hi"], ["O"])],
    "test": [(["Quarry", "Lane"], ["B-LOC", "I-LOC"]), (["ok"], ["O"])],
}
EXPLANATION = "Named entities: 1. {name} (somebody) Reasoning: {name} is named. The image shows a hall. It fits."


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """A function that serves a folder and makes it the server that downloads come from."""
    servers = []

    def start(folder):
        handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *args: None})
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder)))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        monkeypatch.setenv(BASE_URL_VARIABLE, f"http://127.0.0.1:{servers[-1].server_port}")
        return folder

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def archive(posts, last_is_missing: bool = True) -> bytes:
    """Explanations as PGIM publishes them: no ids, labels that end in CR, the last post of a split missing."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as opened:
        for split, rows in posts.items():
            lines = []
            for tokens, tags in rows[: len(rows) - last_is_missing]:
                words = EXPLANATION.format(name=tokens[0]).split()
                lines += [f"{token}\t{tag}" for token, tag in zip(tokens, tags, strict=True)]
                lines += ["<EOS>\tX", *(f"{word}\tX" for word in words), ""]
            opened.writestr(f"{split}.txt", "".join(f"{line}\r\n" for line in lines))
    return packed.getvalue()


def publish(folder, monkeypatch, name: str, contents: dict[str, bytes]) -> None:
    """Write fictional files under the paths of a source, and let the source have their hashes."""

    def known(file: RemoteFile) -> RemoteFile:
        path = folder / file.path.replace("%20", " ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[file.name])
        return replace(file, sha256=hashlib.sha256(contents[file.name]).hexdigest())

    source = SOURCES[name]
    changed = replace(
        source,
        downloads=tuple(map(known, source.downloads)),
        captions={key: tuple(map(known, files)) for key, files in source.captions.items()},
        explanations=source.explanations and known(source.explanations),
    )
    monkeypatch.setitem(SOURCES, name, changed)


@pytest.fixture
def twitter(tmp_path, monkeypatch, serve):
    contents = {
        f"{split}.txt": "\n".join(
            f"IMGID:{split}_{number}\n" + "".join(f"{token}\t{tag}\n" for token, tag in zip(*post, strict=True))
            for number, post in enumerate(rows)
        ).encode()
        for split, rows in POSTS.items()
    }
    images = [f"{split}_{number}" for split, rows in POSTS.items() for number in range(len(rows))]
    contents["BLIP2_15.txt"] = "".join(f"{image}.jpg :a hall : {image}\n" for image in images).encode()
    contents["2015.zip"] = archive(POSTS)
    publish(tmp_path / "server", monkeypatch, "twitter2015", contents)
    serve(tmp_path / "server")
    return contents


def run(*arguments):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_posts_captions_and_explanations_of_twitter(twitter, tmp_path):
    result = run("twitter2015", "--source", tmp_path / "raw", "--download", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    splits, info = read_prepared(tmp_path / "out")
    first, last = splits["train"]
    assert first["caption"] == "a hall : train_0" and last["caption"] == "a hall : train_1"
    assert first["cot_noun"] == "1. Varro (somebody)" and first["glosses"] == [
        {"mention": "Varro", "gloss": "somebody"}
    ]
    assert first["cot_sentence"] == "Varro is named. It fits."
    assert first["cot_multimodality"] == "The image shows a hall."
    assert last["cot_noun"] == "" and splits["test"]["cot_noun"] == ["1. Quarry (somebody)", ""]
    assert splits["validation"]["cot_noun"] == ["1. so (somebody)", ""]
    assert set(info.sources) == set(twitter)
    assert info.captioner == "blip2" and info.knowledge == SOURCES["twitter2015"].explanations.origin
    assert info.provenance["knowledge"][0]["teacher"] == "ChatGPT"
    assert info.provenance["captions"]["source"].startswith("JinYuanLi0012/PGIM@a13b2759")


def test_what_is_switched_off_is_not_fetched(twitter, tmp_path):
    options = PrepareOptions(download=True, captions=False, knowledge=False)
    info, coverage = prepare("twitter2015", tmp_path / "raw", tmp_path / "out", options)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["test.txt", "train.txt", "valid.txt"]
    assert (info.captioner, info.knowledge, coverage) == ("", "", [])


def test_own_captions_win_over_published_ones(twitter, tmp_path):
    (tmp_path / "raw").mkdir()
    for split, rows in POSTS.items():
        own = [{"id": f"{split}_{number}", "blip2": "mine"} for number in range(len(rows))]
        (tmp_path / "raw" / f"captions.{split}.jsonl").write_text("\n".join(map(json.dumps, own)))
    info, _ = prepare("twitter2015", tmp_path / "raw", tmp_path / "out", PrepareOptions(download=True))
    assert set(read_prepared(tmp_path / "out")[0]["train"]["caption"]) == {"mine"}
    assert "BLIP2_15.txt" not in info.sources and "captions" not in info.provenance


def test_explanations_of_other_posts_are_refused(twitter, tmp_path):
    prepare("twitter2015", tmp_path / "raw", tmp_path / "out", PrepareOptions(download=True))
    other = {**POSTS, "train": [(["another", "post"], ["O", "O"]), *POSTS["train"]]}
    (tmp_path / "raw" / "2015.zip").write_bytes(archive(other))
    with pytest.raises(KnowledgeError, match=r"train\.txt, line 1: The explanation is of the post 'another post'"):
        prepare("twitter2015", tmp_path / "raw", tmp_path / "no")
    (tmp_path / "raw" / "2015.zip").write_bytes(archive({**POSTS, "train": [*POSTS["train"], (["x"], ["O"])]}, False))
    with pytest.raises(KnowledgeError, match="3 explanations for 2 posts"):
        prepare("twitter2015", tmp_path / "raw", tmp_path / "no")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "The archive cannot be read"),
        ({"train.txt": b"x\tO\n" * (1 << 22)}, r"train\.txt unpacks to 16,777,216 bytes"),
        ({"../train.txt": b"x\tO\n"}, r"no one file train\.txt"),
        ({"train.txt": b""}, r"2015\.zip/train\.txt: The file is empty"),
    ],
)
def test_archives_are_read_in_place_and_within_bounds(twitter, tmp_path, content, message):
    prepare("twitter2015", tmp_path / "raw", tmp_path / "out", PrepareOptions(download=True))
    path = tmp_path / "raw" / "2015.zip"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
            for name, data in content.items():
                opened.writestr(name, data)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=message):
        prepare("twitter2015", tmp_path / "raw", tmp_path / "no")
    assert sorted(tmp_path.rglob("*")) == before, "nothing is unpacked to the disk"


def test_captions_of_mnre(tmp_path, monkeypatch, serve):
    row = {
        "token": ["Varro", "met", "Quill"],
        "h": {"name": "Varro", "pos": [0, 1]},
        "t": {"name": "Quill", "pos": [2, 3]},
        "img_id": "p.jpg",
        "relation": "/per/per/peer",
    }
    contents = {"rel2id.json": b'{"None": 0, "/per/per/peer": 1}'}
    for split in ("train", "val", "test"):
        contents[f"mnre_{split}.txt"] = f"{row!r}\n{ {**row, 'img_id': 'q.jpg'}!r}\n".encode()
        for captioner, text in (("BLIP", "two people"), ("minicpm", 'Two people\'s "hall".')):
            lines = [{"img_id": image, "text": text} for image in ("p.jpg", "inf.png")]
            contents[f"{captioner}_{split}.txt"] = "".join(f"{line!r}\n" for line in lines).encode()
    publish(tmp_path / "server", monkeypatch, "mnre", contents)
    serve(tmp_path / "server")
    options = PrepareOptions(download=True, knowledge_from_captions={"cot_multimodality": "minicpm"})
    info, _ = prepare("mnre", tmp_path / "raw", tmp_path / "out", options)
    train = read_prepared(tmp_path / "out")[0]["train"]
    assert train["caption"] == ["two people", ""] and train["cot_multimodality"] == ['Two people\'s "hall".', ""]
    assert info.provenance["captions"]["source"].startswith("zefanZhang-cn/CAMIM@df328a39")
    assert (tmp_path / "raw" / "mnre_val.txt").is_file(), "the published name has a space in it"


def test_sources_without_an_address():
    for name in ("snap", "wikidiverse"):
        with pytest.raises(DataError, match="No download with a known sha256"):
            files_to_download(SOURCES[name], ["blip2"], True)


DATA = os.environ.get("COTPD_DATA")
RAW = Path(DATA).parent / "raw" if DATA else Path("absent")
real = pytest.mark.skipif(not RAW.is_dir(), reason="COTPD_DATA has no folder raw with the published files beside it")


@real
@pytest.mark.parametrize(("name", "missing"), [("twitter2017", 0), ("twitter2015", 1)])
def test_the_real_files(tmp_path, serve, name, missing):
    """The grains against those that were cut by another rule; the noun grain is a list that both should find."""
    source = SOURCES[name]
    (file,) = source.captions["blip2"]
    for remote, path in (
        *((each, Path(DATA) / name / each.name) for each in source.downloads),
        (file, RAW / "pgim" / file.name),
        (source.explanations, RAW / "pgim" / source.explanations.name),
    ):
        (tmp_path / "server" / remote.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "server" / remote.path).symlink_to(path)
    serve(tmp_path / "server")
    prepare(name, tmp_path / "raw", tmp_path / "out", PrepareOptions(download=True))
    splits, _ = read_prepared(tmp_path / "out")
    for file_name, split in SPLITS.items():
        with (Path(DATA) / name / f"knowledge.{file_name}.jsonl").open(encoding="utf-8") as lines:
            other = {value["id"]: value for value in map(json.loads, lines)}
        rows = list(splits[split])
        equal = {
            grain: sum(row[f"cot_{grain}"] == other[row["id"]][grain] for row in rows) / len(rows)
            for grain in ("noun", "sentence", "multimodality")
        }
        print(name, split, len(rows), {grain: f"{share:.2%}" for grain, share in equal.items()})
        assert equal["noun"] >= 0.98 and min(equal.values()) > 0.9
        assert sum(not any(row[f"cot_{grain}"] for grain in equal) for row in rows) == missing
        assert sum(not row["caption"] for row in rows) <= 2
        assert sum(bool(row["glosses"]) for row in rows) > 0.95 * len(rows)


@real
def test_the_real_captions_of_mnre(tmp_path, serve):
    source = SOURCES["mnre"]
    for remote in source.downloads:
        path = tmp_path / "server" / remote.path.replace("%20", " ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(Path(DATA) / "mnre" / remote.name)
    for remote in (file for files in source.captions.values() for file in files):
        (tmp_path / "server" / remote.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "server" / remote.path).symlink_to(RAW / "camim" / remote.name)
    serve(tmp_path / "server")
    options = PrepareOptions(download=True, knowledge_from_captions={"cot_multimodality": "minicpm"})
    _, coverage = prepare("mnre", tmp_path / "raw", tmp_path / "out", options)
    assert len(coverage) == 6 and all(each.matched == each.rows for each in coverage)


LINE = {
    "token": ["Ada", "met", "Bo", "O'Neil", "in", "York"],
    "h": {"name": "Ada", "pos": [0, 1]},
    "t": {"name": "Bo O'Neil", "pos": [2, 4]},
    "img_id": "p_1.jpg",
    "relation": "/per/per/peer",
}


def mnre_file(tmp_path, *rows):
    path = tmp_path / "mnre_train.txt"
    path.write_text("".join((row if isinstance(row, str) else repr(row)) + "\n" for row in rows))
    return path


def test_a_row(tmp_path):
    (row,) = read_mnre(mnre_file(tmp_path, LINE))
    assert row["tokens"] == LINE["token"] and row["relation"] == "/per/per/peer" and row["image"] == "p_1.jpg"
    assert row["head"] == {"start": 0, "end": 1} and row["tail"] == {"start": 2, "end": 4}
    assert row["place"].endswith("mnre_train.txt, line 1")


def test_ids_are_of_image_sentence_and_pair(tmp_path):
    other_pair = {**LINE, "t": {"name": "York", "pos": [5, 6]}}
    other_label = {**LINE, "relation": "None"}
    rows = list(read_mnre(mnre_file(tmp_path, LINE, other_pair, {**LINE, "img_id": "p_2.jpg"}, other_label)))
    first, pair, image, repeat = (row["id"] for row in rows)
    assert len({first, pair, image, repeat}) == 4
    assert first.split("#")[1] == image.split("#")[1] != pair.split("#")[1]
    assert repeat == first + "#2"
    # Written down, so that an id never changes between versions.
    assert first == "p_1.jpg#1807f772f4"


def test_code_is_not_run(tmp_path):
    flag = tmp_path / "flag"
    with pytest.raises(DataError, match=r"line 2: The line is not a Python literal"):
        list(read_mnre(mnre_file(tmp_path, LINE, f"__import__('pathlib').Path({str(flag)!r}).touch()")))
    assert not flag.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"relation": ...}, "The key 'relation' is missing"),
        ({"h": {"name": "Ada", "pos": [0]}}, "'h' is .*, not a span. A span is two whole numbers"),
        ({"t": {"name": "York", "pos": [5, 7]}}, r"The 't' span \[5, 7\) lies outside the 6 tokens"),
        ({"t": {"name": "Leeds", "pos": [5, 6]}}, "'t' is named 'Leeds', but 'York' stands at its span"),
        ({"token": "Ada met"}, "The column 'token' does not hold a list of strings"),
    ],
)
def test_faults_name_the_line(tmp_path, change, message):
    broken = {key: value for key, value in {**LINE, **change}.items() if value is not ...}
    with pytest.raises(DataError, match=f"line 2: {message}"):
        list(read_mnre(mnre_file(tmp_path, LINE, broken)))


def test_relation_ids(tmp_path):
    path = tmp_path / "rel2id.json"
    path.write_text(json.dumps({"b": 1, "None": 0, "a": 2}))
    assert read_relation_ids(path) == ["None", "b", "a"]
    for content in ('{"a": 1}', '["a"]', '{"a": 0, "b": 0}'):
        path.write_text(content)
        with pytest.raises(DataError, match="ids 0, 1, 2"):
            read_relation_ids(path)
    path.write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        read_relation_ids(path)


def test_lines_of_json_hold_emoji_as_escapes(tmp_path):
    row = {**LINE, "token": ["\U0001f600", *LINE["token"]], "h": {"name": "\U0001f600 Ada", "pos": [0, 2]}}
    row["t"] = {"name": "York", "pos": [6.0, 7]}
    (plain,) = read_mnre(mnre_file(tmp_path, row))
    assert "\\ud83d" in json.dumps(row)
    (escaped,) = read_mnre(mnre_file(tmp_path, json.dumps(row)))
    assert {**escaped, "place": ""} == {**plain, "place": ""} and plain["tokens"][0] == "\U0001f600"
    (literal,) = read_mnre(mnre_file(tmp_path, repr(row).replace("\U0001f600", "\\ud83d\\ude00")))
    assert literal == escaped


def test_half_an_emoji_is_read_as_the_replacement_character(tmp_path, caplog):
    (row,) = read_mnre(mnre_file(tmp_path, json.dumps({**LINE, "token": [*LINE["token"], "\ud83d"]})))
    assert row["tokens"][-1] == "\ufffd" and "line 1: half of a surrogate pair" in caplog.text


@pytest.mark.parametrize(
    ("text", "noun", "sentence", "multimodality"),
    [
        ("Named entities:1. Ed (x)2. Mo (y)Reasoning:One. A picture.", "1. Ed (x)2. Mo (y)", "One.", "A picture."),
        ("Named entities: NoneReasoning: Nothing is named.", "None", "Nothing is named.", ""),
        ("Named entities: 1. Varro (x) ReasoningThe hall is old.", "1. Varro (x)", "The hall is old.", ""),
        ("1. Varro (x) Reasoning: Varro sings.", "1. Varro (x)", "Varro sings.", ""),
        ("There are no names. The image is dark.", "", "There are no names.", "The image is dark."),
        ("Named entities: There are none. The image is dark.", "", "There are none.", "The image is dark."),
        ("Named entities: 1. Varro (x)", "1. Varro (x)", "", ""),
        ("Reasoning: Images help.   Imagery is another word.", "", "Imagery is another word.", "Images help."),
        ("", "", "", ""),
    ],
)  # fmt: skip
def test_grains(text, noun, sentence, multimodality):
    assert cut_explanation(text) == {"noun": noun, "sentence": sentence, "multimodality": multimodality}


def test_caption_lines(tmp_path):
    (tmp_path / "a.txt").write_text("17.jpg :a dog :b\n\n{'img_id': 'o_2.jpg', 'text': 'it\\'s'}\n18.jpg :\n")
    found = list(read_captions([tmp_path / "a.txt"]))
    assert found == [("17", "a dog :b"), ("o_2.jpg", "it's"), ("18", "")]
    (tmp_path / "b.txt").write_text("17.jpg a dog\n")
    with pytest.raises(DataError, match=r"b\.txt, line 1: The line holds no caption"):
        list(read_captions([tmp_path / "b.txt"]))
