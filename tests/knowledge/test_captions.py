import json
import threading
import time

import pytest

pytest.importorskip("PIL")
from PIL import Image

from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import bio_label_names, make_split
from modeling_cotpd.errors import DataError, KnowledgeError, SettingError
from modeling_cotpd.knowledge.caption_run import endpoint_answers, local_answers, open_images, run_captioner
from modeling_cotpd.knowledge.captions import PartFile, plan_for_folder, plan_for_prepared, read_parts
from modeling_cotpd.knowledge.images import MAX_PIXELS, ImageProblem, image_folder

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


def run(plan, folder, sizer=None, **options):
    sizer = sizer or Sizer()
    return run_captioner(
        plan, lambda names: local_answers(sizer, folder, names, 3, MAX_PIXELS), SETTINGS, {"pillow": "1"}, **options
    )


def test_every_picture_gets_its_own_caption(folder, tmp_path):
    plan, sizer = plan_for_folder(folder, tmp_path / "out" / "captions.jsonl", "painter"), Sizer()
    summary = run(plan, folder, sizer)
    assert lines(tmp_path / "out" / "captions.jsonl") == [
        {"id": f"{number}.png", "painter": f"width {number}"} for number in range(1, 8)
    ]
    assert (sizer.batches, summary.captioned, summary.failed) == ([3, 3, 1], 7, {})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "captions.jsonl",
        "captions.painter.report.jsonl",
        "captions.provenance.json",
    ]


def test_ids_by_stem_and_their_collision(folder, tmp_path):
    plan = plan_for_folder(folder, tmp_path / "c.jsonl", "painter", ids="stem")
    assert plan.outputs[tmp_path / "c.jsonl"][0] == ("1", "1.png")
    Image.new("RGB", (2, 2)).save(folder / "1.jpg")
    with pytest.raises(DataError, match="same stem"):
        plan_for_folder(folder, tmp_path / "c.jsonl", "painter", ids="stem")


def test_bad_pictures_are_reported_and_tried_again(folder, tmp_path):
    (folder / "2.png").write_bytes(b"no picture")
    (folder / "5.png").write_bytes(b"")
    out = tmp_path / "captions.jsonl"
    plan = plan_for_folder(folder, out, "painter")
    assert run(plan, folder).failed == {"corrupt": 1, "empty file": 1}
    assert [line["id"] for line in lines(out)] == ["1.png", "3.png", "4.png", "6.png", "7.png"]
    report = lines(plan.report)
    assert [(line["id"], line["reason"]) for line in report] == [("2.png", "corrupt"), ("5.png", "empty file")]
    Image.new("RGB", (2, 2)).save(folder / "2.png")
    again = Sizer()
    assert run(plan, folder, again).failed == {"empty file": 1}
    assert again.batches == [1]
    assert {"id": "2.png", "painter": "width 2"} in lines(out)


def test_a_cut_off_run_goes_on_where_it_stopped(folder, tmp_path):
    plan = plan_for_folder(folder, tmp_path / "captions.jsonl", "painter")

    class Cut(Sizer):
        def caption(self, images):
            if len(self.batches) == 1:
                raise KeyboardInterrupt
            return super().caption(images)

    with pytest.raises(KeyboardInterrupt):
        run(plan, folder, Cut())
    assert len(read_parts(plan.parts)) == 3
    rest = Sizer()
    assert run(plan, folder, rest).before == 3
    assert sum(rest.batches) == 4
    assert len(lines(tmp_path / "captions.jsonl")) == 7


def test_a_torn_last_line_is_written_anew(tmp_path):
    part = PartFile(tmp_path / "parts", 0)
    part.append([("1.png", "one"), ("2.png", ImageProblem("missing", "gone"))])
    part.close()
    file = tmp_path / "parts" / "part-00000.jsonl"
    with file.open("ab") as stream:
        stream.write(b'{"image": "3.png", "te')
    assert set(read_parts(tmp_path / "parts")) == {"1.png", "2.png"}
    part = PartFile(tmp_path / "parts", 0)
    part.append([("3.png", "three"), ("2.png", "two")])
    part.close()
    assert read_parts(tmp_path / "parts") == {"1.png": "one", "2.png": "two", "3.png": "three"}
    file.write_bytes(b"broken\n" + file.read_bytes())
    with pytest.raises(KnowledgeError, match="line 1"):
        read_parts(tmp_path / "parts")


def test_processes_share_the_work(folder, tmp_path):
    plan = plan_for_folder(folder, tmp_path / "captions.jsonl", "painter")
    barrier, sizers = threading.Barrier(3, timeout=30), [Sizer() for _ in range(3)]
    threads = [
        threading.Thread(
            target=run,
            args=(plan, folder, sizers[rank]),
            kwargs={"rank": rank, "processes": 3, "barrier": barrier.wait},
        )
        for rank in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [sum(sizer.batches) for sizer in sizers] == [3, 2, 2]
    assert [line["painter"] for line in lines(tmp_path / "captions.jsonl")] == [f"width {n}" for n in range(1, 8)]


def test_other_settings_are_not_mixed_in(folder, tmp_path):
    plan = plan_for_folder(folder, tmp_path / "captions.jsonl", "painter")
    run(plan, folder, limit=2)
    with pytest.raises(SettingError, match="prompt"):
        run_captioner(plan, lambda names: iter([]), {**SETTINGS, "prompt": "a photo of"}, {})


def test_captions_of_others_stay(folder, tmp_path):
    out = tmp_path / "captions.jsonl"
    out.write_text('{"id": "1.png", "other": "eins"}\n{"id": "elsewhere", "other": "zwei"}\n')
    run(plan_for_folder(folder, out, "painter"), folder)
    rows = {line["id"]: line for line in lines(out)}
    assert rows["1.png"] == {"id": "1.png", "other": "eins", "painter": "width 1"}
    assert rows["elsewhere"] == {"id": "elsewhere", "other": "zwei"}
    assert len(rows) == 8


def test_the_rows_of_a_prepared_folder(folder, tmp_path):
    images = ["2.png", "2.png", None, "../x.png", "9.png"]
    rows = [{"id": str(n), "tokens": ["hi"], "ner_tags": ["O"], "image": image} for n, image in enumerate(images)]
    names = bio_label_names(["PER"])
    split = make_split(rows, "mner", names, "rows")
    write_prepared({"train": split}, DatasetInfo("own", "mner", names), tmp_path / "data")
    plan, sizer = plan_for_prepared(tmp_path / "data", tmp_path / "out", "painter"), Sizer()
    summary = run(plan, folder, sizer)
    assert sizer.batches == [1]  # the picture of two rows is captioned once
    assert lines(tmp_path / "out" / "captions.train.jsonl") == [
        {"id": "0", "painter": "width 2"},
        {"id": "1", "painter": "width 2"},
    ]
    assert summary.failed == {"outside": 1, "missing": 1}
    provenance = json.loads((tmp_path / "out" / "captions.provenance.json").read_text())["painter"]
    assert provenance["rows_without_image"] == 1
    assert provenance["settings"] == SETTINGS


def test_names_and_outputs_are_checked(folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SettingError, match="--name"):
        plan_for_folder(folder, tmp_path / "c.jsonl", "id")
    with pytest.raises(SettingError, match="jsonl"):
        plan_for_folder(folder, tmp_path / "c.txt", "painter")
    with pytest.raises(DataError, match="no picture files"):
        plan_for_folder(image_folder(empty), tmp_path / "c.jsonl", "painter")


def test_requests_are_bounded_and_all_answered(folder):
    lock, running, most, three = threading.Lock(), 0, 0, threading.Event()

    class Asker:
        def caption(self, image):
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            if running >= 3:
                three.set()
            assert three.wait(60)
            time.sleep(0.02)
            with lock:
                running -= 1
            return f"width {image.width}"

    names = [f"{n}.png" for n in range(1, 8)]
    answers = dict(pair for batch in endpoint_answers(Asker(), folder, names, 3, MAX_PIXELS) for pair in batch)
    assert answers == {f"{n}.png": f"width {n}" for n in range(1, 8)}
    assert most == 3


def test_a_dead_endpoint_stops_the_run(folder):
    asked = []

    class Dead:
        def caption(self, image):
            asked.append(1)
            return ImageProblem("endpoint", "APIConnectionError: Connection error.")

    with pytest.raises(KnowledgeError, match="in a row"):
        list(endpoint_answers(Dead(), folder, ["1.png"] * 500, 4, MAX_PIXELS))
    assert len(asked) < 40


def test_open_images_keeps_the_order(folder):
    (folder / "3.png").unlink()
    first, gone, second = open_images(folder, ["2.png", "3.png", "1.png"], MAX_PIXELS)
    assert (first.width, gone.reason, second.width) == (2, "missing", 1)


def test_a_second_run_at_the_same_time_is_refused(folder, tmp_path):
    plan, refused = plan_for_folder(folder, tmp_path / "captions.jsonl", "painter"), []

    class Second(Sizer):
        def caption(self, images):
            with pytest.raises(KnowledgeError, match="Another run") as caught:
                run(plan, folder)
            refused.append(caught)
            return super().caption(images)

    run(plan, folder, Second())
    assert len(refused) == 3
    assert len(lines(tmp_path / "captions.jsonl")) == 7
