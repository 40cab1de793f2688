"""Every reader of the package as a function of bytes. It may refuse them with a `CoTPDError` and raise nothing else.

What a reader lets through is checked: tokens are not empty, spans lie within, and texts can be stored.
"""

import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as parquet

from experiments.sweep import read_sweep
from modeling_cotpd.augmentation.sources import read_names
from modeling_cotpd.data.conll import ConllForm, read_conll
from modeling_cotpd.data.files import FORMATS
from modeling_cotpd.data.joins import TextFile, read_provenance
from modeling_cotpd.data.posts import count_posts, find_post_files, read_posts
from modeling_cotpd.data.prepared import METADATA_FILE, read_prepared
from modeling_cotpd.data.published import read_captions, read_explanations, read_mnre, read_relation_ids
from modeling_cotpd.data.records import read_folder, read_records
from modeling_cotpd.errors import CoTPDError
from modeling_cotpd.knowledge.answer import MalformedAnswer, read_answer
from modeling_cotpd.knowledge.batch import read_batch
from modeling_cotpd.knowledge.captions import CaptionFiles, read_caption_file
from modeling_cotpd.knowledge.glosses import find_json, list_of, read_glosses
from modeling_cotpd.knowledge.images import MAX_PIXELS, ImageProblem, load_image, resolve_image
from modeling_cotpd.knowledge.prompt import load_prompts
from modeling_cotpd.knowledge.store import ResponseStore, import_answers
from modeling_cotpd.training.arguments import read_recipe

REFUSALS = (CoTPDError, MalformedAnswer)
SCRATCH = Path(tempfile.mkdtemp(prefix="fuzz-"))


def at(name: str, data: bytes) -> Path:
    """The bytes as a file; each name has a folder of its own, since some readers read folders."""
    path = SCRATCH / name.replace("/", "_") / name.split("/")[-1]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def check_rows(rows) -> None:
    seen = set()
    for row in rows:
        assert row["id"] not in seen or "place" in row
        seen.add(row["id"])
        for token in row["tokens"]:
            token.encode()
        row["id"].encode()
        if row.get("ner_tags") is not None and row["tokens"]:
            assert isinstance(row["ner_tags"], list)


def published(data: bytes) -> None:
    check_rows(read_conll(at("published/train.txt", data), "train", ConllForm(published=True)))


def own_conll(data: bytes) -> None:
    check_rows(read_conll(at("own/train.txt", data), "train"))


def mnre(data: bytes) -> None:
    for row in read_mnre(at("mnre/train.txt", data)):
        for side in ("head", "tail"):
            assert 0 <= row[side]["start"] < row[side]["end"] <= len(row["tokens"])


def relation_ids(data: bytes) -> None:
    names = read_relation_ids(at("relations/rel2id.json", data))
    assert len(set(names)) == len(names)


def records(data: bytes) -> None:
    path = at("records/train.jsonl", data)
    for task in ("mner", "mre"):
        try:
            check_rows(read_records(path, task, "train"))
        except REFUSALS:
            continue


def own_folder(data: bytes) -> None:
    for suffix in ("conll", "jsonl", "json", "parquet"):
        path = at(f"own-{suffix}/train.{suffix}", data)
        try:
            rows, _, _ = read_folder(path.parent, "mner")
            check_rows(rows["train"])
        except REFUSALS:
            continue


def parquet_rows(data: bytes) -> None:
    check_rows(read_records(at("parquet/train.parquet", data), "mner", "train"))


def texts(data: bytes) -> None:
    assert all(isinstance(key, str) for key in TextFile.read(at("texts/captions.train.jsonl", data)).texts)


def provenance(data: bytes) -> None:
    assert isinstance(read_provenance(at("made/captions.provenance.json", data).parent, "captions"), dict)


def prepared(data: bytes) -> None:
    read_prepared(at(f"prepared/{METADATA_FILE}", data).parent)


def recipe(data: bytes) -> None:
    assert isinstance(read_recipe(at("recipe/r.yaml", data), ["seed", "alpha"]), dict)


def sweep(data: bytes) -> None:
    read_sweep(at("sweep/s.yaml", data))


def posts(data: bytes) -> None:
    """What `cotpd predict` and `cotpd elicit` read, in every format."""
    for suffix in FORMATS:
        path = at(f"posts{suffix}/posts{suffix}", data)
        for task in ("mner", "mre"):
            try:
                files = find_post_files(path)
                count_posts(files)
                for post in read_posts(files[0], task):
                    (post.id + post.text + "".join(map(str, post.columns.values()))).encode()
                    for span in (post.head, post.tail):
                        assert span is None or 0 <= span[0] < span[1] <= len(post.text)
            except REFUSALS:
                continue


def explanations(data: bytes) -> None:
    read_explanations(at("archive/2015.zip", data), "train", [])


def published_captions(data: bytes) -> None:
    for image, text in read_captions([at("captions-published/BLIP2_15.txt", data)]):
        (image + text).encode()


def spans(data: bytes) -> None:
    for row in read_records(at("spans/train.json", data), "mner", "train"):
        assert len(row["tokens"]) == len(row["ner_tags"] or row["tokens"])


def saved_folder(data: bytes) -> None:
    """What `save_to_disk` writes, with each of its files as given."""
    folder = at("saved/state.json", data).parent
    (folder / "data.arrow").write_bytes(data)
    for state in (data, b'{"_data_files": [{"filename": "data.arrow"}]}'):
        (folder / "state.json").write_bytes(state)
        try:
            read_folder(folder, "mner")
        except REFUSALS:
            continue


def prompts(data: bytes) -> None:
    load_prompts(at("prompts/noun.txt", data).parent)["noun"].fill(text="{text}", caption="")


def answers(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    read_names(text)
    find_json(text)
    glosses = read_glosses(text)
    list_of(glosses or []).encode()
    answer = read_answer(text)
    (answer.text + answer.reason + answer.response).encode()


def stored(data: bytes) -> None:
    path = at("stored/answers.jsonl", data)
    with ResponseStore(SCRATCH / "store.sqlite") as store:
        read_batch([path], store)
        import_answers(store, path)


def captions(data: bytes) -> None:
    path = at("captions/captions.jsonl", data)
    read_caption_file(path)
    found = CaptionFiles("blip2", {path: [("1", "1.jpg")]}, path.with_suffix("")).captions()
    assert all(isinstance(caption, str) for caption in found.values())


def picture(data: bytes) -> None:
    folder = at("pictures/x.jpg", data).parent.resolve()
    image = load_image(resolve_image(folder, "x.jpg"))
    assert image.mode == "RGB" and image.width * image.height <= MAX_PIXELS


def picture_name(data: bytes) -> None:
    """A name may lead nowhere but into its folder."""
    folder = at("names/x.jpg", b"x").parent.resolve()
    (SCRATCH / "outside.jpg").write_bytes(b"x")
    name = data.decode("utf-8", "surrogateescape")
    assert resolve_image(folder, name).is_relative_to(folder)


READERS: dict[str, Callable[[bytes], None]] = {
    reader.__name__: reader
    for reader in (
        published, own_conll, mnre, relation_ids, records, own_folder, parquet_rows, texts, provenance, prepared,
        recipe, sweep, posts, explanations, published_captions, spans, saved_folder,
        prompts, answers, stored, captions, picture, picture_name,
    )
}  # fmt: skip


def read(name: str, data: bytes) -> bool:
    """Run one reader; whether it took the bytes.

    Raises:
        Exception: What is not a refusal.
    """
    try:
        READERS[name](data)
    except (*REFUSALS, ImageProblem):
        return False
    return True


def small_parquet() -> bytes:
    """A valid file, for mutations to begin from."""
    rows = [{"id": "1", "tokens": ["Mira", "sings"], "ner_tags": ["B-PER", "O"], "text": "Mira sings"}]
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def small_arrow() -> bytes:
    """As `save_to_disk` writes it."""
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist([{"tokens": ["Mira"], "ner_tags": ["B-PER"]}])
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def small_archive() -> bytes:
    """An archive of explanations."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        opened.writestr("train.txt", "Mira\tO\n<EOS>\tX\nReasoning:\tX\n")
    return packed.getvalue()


SEEDS: dict[str, list[bytes]] = {
    "published": [b"IMGID:1\nMira\tB-PER\nsings\tO\n\n", "IMGID:2\na\u00a0b\tO\n<EOS>\tX\nmore\tX\n".encode()],
    "own_conll": [b"# id = 7\nMira B-PER\nsings O\n", b"-DOCSTART- O\n\nMira\tB-PER\n"],
    "mnre": [
        b"{'token': ['Mira', 'left'], 'h': {'name': 'Mira', 'pos': [0, 1]}, 't': {'name': 'left', 'pos': [1, 2]}, "
        b"'img_id': '1.jpg', 'relation': 'None'}"
    ],
    "relation_ids": [b'{"None": 0, "/per/per/peer": 1}'],
    "records": [
        b'{"id": 1, "tokens": ["Mira"], "ner_tags": ["B-PER"]}',
        b'{"tokens": ["a", "b"], "head": [0, 1], "tail": {"start": 1, "end": 2}, "relation": "knows"}',
    ],
    "own_folder": [b"Mira B-PER\n", b'{"tokens": ["Mira"], "ner_tags": [1]}', small_parquet()],
    "parquet_rows": [small_parquet()],
    "texts": [b'{"id": "1", "blip2": "a dog"}\n'],
    "provenance": [b'{"blip2": {"settings": {"model": "m"}}}'],
    "prepared": [b'{"name": "x", "task": "mner", "label_names": ["O"], "splits": {}}'],
    "recipe": [b"seed: 1\nalpha: 1.0\n"],
    "sweep": [b"name: x\n", b"name: x\ndata: [a]\nrows: []\n"],
    "posts": [
        b'{"id": "1", "text": "Maya moved", "head": [0, 4], "tail": [5, 10]}', b"IMGID:1\nMira\tO\n", small_parquet(),
        b'{"id": 1.0, "text": "Maya moved", "head": [0, 4], "tail": [5, 10], "caption": "a dog"}', small_parquet(),
        b"Mira\tO\r\nsings\tO\r\n", b'[{"id": 1, "data": {"text": "Maya"}}]',
    ],
    "explanations": [small_archive()],
    "published_captions": [b"1.jpg :a dog\n", b"{'img_id': '1.jpg', 'text': 'a dog'}\n"],
    "spans": [
        b'[{"text": "Maya moved", "label": [[0, 4, "PER"]]}]',
        b'[{"data": {"text": "Maya"}, "annotations": [{"result": [{"value": {"start": 0, "end": 4, "tag": "A"}}]}]}]',
    ],
    "saved_folder": [b'{"_data_files": [{"filename": "data.arrow"}]}', small_arrow()],
    "prompts": [b"---\nversion: 1\n---\nWhat is {text}?"],
    "answers": [b'{"choices": [{"message": {"content": "1. Mira"}}], "usage": {"prompt_tokens": 3}}'],
    "stored": [
        b'{"custom_id": "x", "response": {"status_code": 200, "body": {}}, "error": null}',
        b'{"custom_id": []}\n{"custom_id": "x", "response": {"status_code": "200"}}',
    ],
    "captions": [b'{"image": "1.jpg", "text": "a dog"}\n', b'{"id": "1", "blip2": "a dog"}\n'],
    "picture": [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a\x01\x00\x01\x00", b"BM", b"II*\x00", b"RIFF"],
    "picture_name": [b"x.jpg", b"../outside.jpg", b"a/../../outside.jpg", b"/etc/passwd", b"x.jpg\x00"],
}  # fmt: skip
"""Per reader, inputs that mutations begin from."""
