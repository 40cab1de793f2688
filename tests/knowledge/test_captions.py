import base64
import io
import json
import threading

import pytest

pytest.importorskip("PIL")
from PIL import Image
from support.stub_server import StubServer

from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import bio_label_names, make_split
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.knowledge.captioner import local_settings
from modeling_cotpd.knowledge.captions import (
    CaptionFiles,
    caption_image,
    files_for_folder,
    files_for_prepared,
    read_caption_file,
    write_captions,
)
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.images import ImageProblem, image_folder
from modeling_cotpd.knowledge.prompt import Prompt, load_prompts

SETTINGS = {"model": "painter", "prompt": ""}


class Sizer:
    """Captions a picture by its width; remembers its batches."""

    def __init__(self):
        self.batches = []

    def caption(self, images):
        self.batches.append(len(images))
        return [f"width {image.width}" for image in images]


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "pictures"
    inside.mkdir()
    for number in range(1, 8):
        Image.new("RGB", (number, 3)).save(inside / f"{number}.png")
    return image_folder(inside)


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def run(files, folder, sizer=None, store=None, **options):
    sizer = sizer or Sizer()
    return write_captions(
        files,
        folder,
        local_settings("painter", None, 40),
        Prompt("caption", "0", ""),
        store or folder.parent / "s.sqlite",
        {"settings": SETTINGS, "versions": {"pillow": "1"}},
        captioner=lambda: sizer,
        batch_size=3,
        **options,
    )


def test_every_picture_gets_its_own_caption(folder, tmp_path):
    files, sizer = files_for_folder(folder, tmp_path / "out" / "captions.jsonl", "painter"), Sizer()
    failed = run(files, folder, sizer)
    assert lines(tmp_path / "out" / "captions.jsonl") == [
        {"id": f"{number}.png", "painter": f"width {number}"} for number in range(1, 8)
    ]
    assert (sizer.batches, failed) == ([3, 3, 1], {})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "captions.jsonl",
        "captions.painter.report.jsonl",
        "captions.provenance.json",
    ]


def test_ids_by_stem_and_their_collision(folder, tmp_path):
    files = files_for_folder(folder, tmp_path / "c.jsonl", "painter", ids="stem")
    assert files.outputs[tmp_path / "c.jsonl"][0] == ("1", "1.png")
    Image.new("RGB", (2, 2)).save(folder / "1.jpg")
    with pytest.raises(DataError, match="same stem"):
        files_for_folder(folder, tmp_path / "c.jsonl", "painter", ids="stem")


def test_bad_pictures_are_reported_and_tried_again(folder, tmp_path):
    (folder / "2.png").write_bytes(b"no picture")
    (folder / "5.png").write_bytes(b"")
    out = tmp_path / "captions.jsonl"
    files = files_for_folder(folder, out, "painter")
    assert run(files, folder) == {"corrupt": 1, "empty file": 1}
    assert [line["id"] for line in lines(out)] == ["1.png", "3.png", "4.png", "6.png", "7.png"]
    report = lines(files.report)
    assert [(line["id"], line["reason"]) for line in report] == [("2.png", "corrupt"), ("5.png", "empty file")]
    Image.new("RGB", (2, 2)).save(folder / "2.png")
    again = Sizer()
    assert run(files, folder, again) == {"empty file": 1}
    assert again.batches == [1]
    assert {"id": "2.png", "painter": "width 2"} in lines(out)


def test_a_cut_off_run_goes_on_where_it_stopped(folder, tmp_path):
    files = files_for_folder(folder, tmp_path / "captions.jsonl", "painter")

    class Cut(Sizer):
        def caption(self, images):
            if len(self.batches) == 1:
                raise KeyboardInterrupt
            return super().caption(images)

    with pytest.raises(KeyboardInterrupt):
        run(files, folder, Cut())
    assert not (tmp_path / "captions.jsonl").exists()
    rest = Sizer()
    assert not run(files, folder, rest)
    assert sum(rest.batches) == 4
    assert len(lines(tmp_path / "captions.jsonl")) == 7


def test_equal_pictures_are_captioned_once(folder, tmp_path):
    (folder / "copy.png").write_bytes((folder / "1.png").read_bytes())
    sizer = Sizer()
    run(files_for_folder(folder, tmp_path / "captions.jsonl", "painter"), folder, sizer)
    assert sum(sizer.batches) == 7 and len(lines(tmp_path / "captions.jsonl")) == 8


def test_processes_share_the_work(folder, tmp_path):
    files = files_for_folder(folder, tmp_path / "captions.jsonl", "painter")
    barrier, sizers = threading.Barrier(3, timeout=200), [Sizer() for _ in range(3)]
    threads = [
        threading.Thread(
            target=run,
            args=(files, folder, sizers[rank]),
            kwargs={"rank": rank, "processes": 3, "barrier": barrier.wait},
        )
        for rank in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    assert [sum(sizer.batches) for sizer in sizers] == [3, 2, 2]
    assert [line["painter"] for line in lines(tmp_path / "captions.jsonl")] == [f"width {n}" for n in range(1, 8)]


def test_other_settings_are_not_mixed_in(folder, tmp_path):
    files = files_for_folder(folder, tmp_path / "captions.jsonl", "painter")
    run(files, folder, limit=2)
    with pytest.raises(SettingError, match="prompt"):
        files.check_settings({**SETTINGS, "prompt": "a photo of"})
    for entry in ("{}", '{"painter": 1}', '{"painter": {"settings": [1]}}'):
        files.provenance.write_text(entry)
        files.check_settings(SETTINGS)


def test_captions_of_others_stay(folder, tmp_path):
    out = tmp_path / "captions.jsonl"
    out.write_text('{"id": "1.png", "other": "eins"}\n{"id": "elsewhere", "other": "zwei"}\n')
    run(files_for_folder(folder, out, "painter"), folder)
    rows = {line["id"]: line for line in lines(out)}
    assert rows["1.png"] == {"id": "1.png", "other": "eins", "painter": "width 1"}
    assert rows["elsewhere"] == {"id": "elsewhere", "other": "zwei"}
    assert len(rows) == 8


def test_ids_of_a_caption_file_may_be_numbers(folder, tmp_path):
    out = tmp_path / "captions.train.jsonl"
    out.write_text('\ufeff{"id": 1, "other": "eins"}\n{"id": 2.0, "painter": "zwei"}\n', "utf-8")
    assert set(read_caption_file(out)) == {"1", "2"}
    files = CaptionFiles("painter", {out: [("1", "1.png"), ("2", "2.png")]}, tmp_path / "captions")
    run(files, folder)
    assert lines(out) == [{"id": 1, "other": "eins", "painter": "width 1"}, {"id": 2.0, "painter": "zwei"}]
    out.write_text('{"id": true}\n')
    with pytest.raises(DataError, match="line 1"):
        read_caption_file(out)


def test_the_rows_of_a_prepared_folder(folder, tmp_path):
    images = ["2.png", "2.png", None, "../x.png", "9.png"]
    rows = [{"id": str(n), "tokens": ["hi"], "ner_tags": ["O"], "image": image} for n, image in enumerate(images)]
    names = bio_label_names(["PER"])
    split = make_split(rows, "mner", names, "rows")
    write_prepared({"train": split}, DatasetInfo("own", "mner", names), tmp_path / "data")
    files, sizer = files_for_prepared(tmp_path / "data", tmp_path / "out", "painter"), Sizer()
    failed = run(files, folder, sizer)
    assert sizer.batches == [1]  # the picture of two rows is captioned once
    assert lines(tmp_path / "out" / "captions.train.jsonl") == [
        {"id": "0", "painter": "width 2"},
        {"id": "1", "painter": "width 2"},
    ]
    assert failed == {"outside": 1, "missing": 1}
    provenance = json.loads((tmp_path / "out" / "captions.provenance.json").read_text())["painter"]
    assert provenance["rows_without_image"] == 1
    assert provenance["settings"] == SETTINGS


def test_names_and_outputs_are_checked(folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SettingError, match="--name"):
        files_for_folder(folder, tmp_path / "c.jsonl", "id")
    with pytest.raises(SettingError, match="jsonl"):
        files_for_folder(folder, tmp_path / "c.txt", "painter")
    with pytest.raises(DataError, match="no picture files"):
        files_for_folder(image_folder(empty), tmp_path / "c.jsonl", "painter")


def endpoint(server, **settings):
    return EndpointSettings("m", server.base_url, retries=0, sampling={"max_tokens": 100}, **settings)


def ask(files, folder, server, store):
    record = {"settings": {**SETTINGS, "base_url": server.base_url}, "versions": {}}
    return write_captions(files, folder, endpoint(server), load_prompts()["caption"], store, record)


def size_of(body):
    picture, question = body["messages"][0]["content"]
    assert question["text"] == load_prompts()["caption"].text
    return Image.open(io.BytesIO(base64.b64decode(picture["image_url"]["url"].split(",", 1)[1]))).size


def test_an_endpoint_is_asked_once_for_every_picture(folder, tmp_path):
    (folder / "8.png").write_bytes(b"no picture")
    Image.new("RGB", (4000, 2000)).save(folder / "9.png")
    files, store = files_for_folder(folder, tmp_path / "captions.jsonl", "eye"), tmp_path / "s.sqlite"
    with StubServer(answer=lambda body: " size\n{}x{} ".format(*size_of(body))) as server:
        assert ask(files, folder, server, store) == {"corrupt": 1}
        assert server.asked.total() == 8
        rows = {row["id"]: row["eye"] for row in lines(tmp_path / "captions.jsonl")}
        assert rows["3.png"] == "size 3x3" and rows["9.png"] == "size 1024x512"
        (tmp_path / "captions.jsonl").unlink()
        assert ask(files, folder, server, store) == {"corrupt": 1}
        assert len(lines(tmp_path / "captions.jsonl")) == 8  # from the store
        assert server.asked.total() == 8


def test_refusals_and_thoughts_are_no_captions(folder, tmp_path):
    answers = {1: "I'm sorry, but I can't assist with that.", 2: "<think>A pen.</think>a pen", 3: "<think>A pe"}
    files = files_for_folder(folder, tmp_path / "captions.jsonl", "eye")
    with StubServer(answer=lambda body: answers.get(size_of(body)[0], "a pen")) as server:
        assert ask(files, folder, server, tmp_path / "s.sqlite") == {"refused": 1, "empty caption": 1}
    rows = {row["id"]: row["eye"] for row in lines(tmp_path / "captions.jsonl")}
    assert set(rows.values()) == {"a pen"} and set(rows) == {"2.png", "4.png", "5.png", "6.png", "7.png"}


def test_one_opened_picture_is_captioned(tmp_path):
    image, store = Image.new("RGB", (20, 10)), tmp_path / "s.sqlite"
    with StubServer(answer=lambda body: "{}x{}".format(*size_of(body))) as server:
        prompt = load_prompts()["caption"]
        assert caption_image(image, endpoint(server), prompt, store) == "20x10"
        assert caption_image(image, endpoint(server), prompt, store) == "20x10" and server.asked.total() == 1
    with StubServer(fault=lambda body, number: ("status", 500)) as server:
        problem = caption_image(image, endpoint(server, endpoint="b"), prompt, store)
        assert isinstance(problem, ImageProblem) and problem.reason == "endpoint"


def test_published_pictures_are_found_by_their_id(folder, tmp_path):
    Image.new("RGB", (2, 2)).save(folder / "17_06_1.jpg")
    rows = [{"id": "a", "tokens": ["hi"], "ner_tags": ["O"], "image": "17_06_1"}]
    names = bio_label_names(["PER"])
    splits = {"train": make_split(rows, "mner", names, "rows")}
    write_prepared(splits, DatasetInfo("own", "mner", names), tmp_path / "data")
    run(files_for_prepared(tmp_path / "data", tmp_path / "out", "painter"), folder)
    assert lines(tmp_path / "out" / "captions.train.jsonl") == [{"id": "a", "painter": "width 2"}]
