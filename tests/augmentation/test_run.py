"""Augmentation of a whole folder, against a stub teacher."""

import json

import pytest
from support.fictional import KNOWLEDGE, LABELS, RELATIONS
from support.stub_server import StubServer

from modeling_cotpd.augmentation.plan import AugmentPlan
from modeling_cotpd.augmentation.run import TrainingPosts, augment, estimates
from modeling_cotpd.data.bio import orphans
from modeling_cotpd.data.prepared import DatasetInfo, read_prepared, sample_rows, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import DataError, KnowledgeError, SettingError
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.prompt import load_prompts
from modeling_cotpd.knowledge.runner import Asking
from modeling_cotpd.training.arguments import DataArguments
from modeling_cotpd.training.splits import load_splits

PEOPLE = ["Mira Holt", "Dario Fenn", "Lena Aske", "Otto Brand", "Ines Quarry", "Juno Marsh"]


def rows(count, start=0):
    for number in range(start, start + count):
        first, last = PEOPLE[number % len(PEOPLE)].split()
        tokens, tags = [f"Post{number}", ":", first, last, "sings"], ["O", "O", "B-PER", "I-PER", "O"]
        knowledge = {name: text.replace("Mira", first).replace("Holt", last) for name, text in KNOWLEDGE.items()}
        knowledge["caption"] = f"{first.lower()} {last.lower()} on a stage"
        knowledge["cot_sentence"] = f"{first} {last} sings. {last}'s fans like it."
        yield {"id": f"p{number}", "tokens": tokens, "ner_tags": tags, "image": f"{number}.jpg", **knowledge}


@pytest.fixture
def folder(tmp_path):
    splits = {
        "train": make_split(rows(12), "mner", LABELS, "test"),
        "validation": make_split(rows(2, 20), "mner", LABELS, "test"),
        "test": make_split(rows(2, 30), "mner", LABELS, "test"),
    }
    write_prepared(splits, DatasetInfo("own", "mner", LABELS, captioner="blip2"), tmp_path / "data")
    return tmp_path / "data"


def answer(body):
    question = body["messages"][-1]["content"]
    shown = body["messages"][0]["content"].split("\n")[0].removeprefix("Text: ")
    if "Twitter style" in question:
        return f"Sure:\n{shown} #wow" if "Post3" not in shown else "nothing of it"
    if "yes or no" in question:
        return "No." if "Post4" in shown else "Yes."
    return f"About: {shown}"


@pytest.fixture
def server():
    with StubServer(answer=answer) as running:
        yield running


def plan_for(server, **settings):
    teacher = EndpointSettings("stub", base_url=server.base_url, endpoint="stub", retries=0)
    return AugmentPlan(load_prompts(), teacher, **settings)


OFFLINE = AugmentPlan(load_prompts(), kinds=("entity",), fact_check=False, times=2)


def test_the_folder_has_the_originals_then_the_new_posts(folder, tmp_path):
    result = augment(TrainingPosts(folder), tmp_path / "out", tmp_path / "s.sqlite", OFFLINE)
    assert not (tmp_path / "s.sqlite").exists()
    splits, info = read_prepared(tmp_path / "out")
    old, _ = read_prepared(folder)
    train = splits["train"].to_list()
    assert len(train) == 36
    for new, before in zip(train[:12], old["train"], strict=True):
        assert new == {**before, "parent": "", "kind": "", "teacher": ""}
    assert [(row["id"], row["parent"], row["kind"], row["teacher"]) for row in train[12:14]] == [
        ("p0+entity1", "p0", "entity", ""),
        ("p0+entity2", "p0", "entity", ""),
    ]
    for row in train[12:]:
        assert not orphans([LABELS[tag] for tag in row["ner_tags"]])
        parent = next(before for before in train[:12] if before["id"] == row["parent"])
        first, last = parent["tokens"][2:4]
        assert first not in str(row)
        assert last not in str(row)
        assert f"{row['tokens'][2]} {row['tokens'][3]} (singer)" in row["cot_noun"]
    for name in ("validation", "test"):
        assert splits[name].to_list() == old[name].to_list()
    assert info.augmentation["summary"] == result.summary()
    assert info.augmentation["summary"]["entity"]["accepted"] == 24
    assert info.augmentation["source_splits"]["train"]["rows"] == 12
    assert (info.captioner, info.splits["train"]["rows"]) == ("blip2", 36)


def test_training_accepts_and_ignores_the_further_columns(folder, tmp_path, caplog):
    augment(TrainingPosts(folder), tmp_path / "out", tmp_path / "s.sqlite", OFFLINE)
    splits, _ = load_splits(DataArguments(str(tmp_path / "out"), unlabelled_dataset_dir=[str(folder)]), "mner")
    assert len(splits["train"]) == 48
    assert "parent" not in splits["train"].features
    splits, _ = load_splits(DataArguments(str(folder), unlabelled_dataset_dir=[str(tmp_path / "out")]), "mner")
    assert len(splits["train"]) == 48
    load_splits(DataArguments(str(tmp_path / "out"), max_train_samples=5), "mner")
    assert "cotpd augment --max-train-samples" in caplog.text


def test_only_the_new_posts(folder, tmp_path):
    augment(TrainingPosts(folder), tmp_path / "out", tmp_path / "s.sqlite", OFFLINE, only_new=True)
    assert set(read_prepared(tmp_path / "out")[0]["train"]["kind"]) == {"entity"}


def test_a_sample_is_what_training_would_draw_and_the_only_source_of_names(folder, tmp_path):
    posts = TrainingPosts(folder, max_train_samples=2, sample_seed=3)
    drawn = sample_rows(read_prepared(folder)[0]["train"], 2, 3)
    assert [sample.id for sample in posts.samples] == drawn["id"]
    augment(posts, tmp_path / "out", tmp_path / "s.sqlite", OFFLINE)
    train = read_prepared(tmp_path / "out")[0]["train"]
    assert train["id"][:2] == drawn["id"]
    assert {tuple(tokens[2:4]) for tokens in train["tokens"]} == {tuple(tokens[2:4]) for tokens in drawn["tokens"]}


def test_no_times_keep_the_sample_alone(folder, tmp_path):
    plan = AugmentPlan(load_prompts(), times=0)
    augment(TrainingPosts(folder, max_train_samples=3), tmp_path / "out", tmp_path / "s.sqlite", plan)
    assert len(read_prepared(tmp_path / "out")[0]["train"]) == 3


def test_an_augmented_folder_is_not_augmented_again(folder, tmp_path):
    augment(TrainingPosts(folder), tmp_path / "out", tmp_path / "s.sqlite", OFFLINE)
    with pytest.raises(DataError, match="augmented before"):
        TrainingPosts(tmp_path / "out")


def test_all_kinds_with_a_teacher(folder, tmp_path, server):
    plan = plan_for(server)
    posts, store = TrainingPosts(folder), tmp_path / "s.sqlite"
    most = estimates(posts, plan, store)
    assert most.requests == {"style": 12, "fact_check": 12, "image": 24}
    result = augment(posts, tmp_path / "out", store, plan)
    summary = result.summary()
    assert summary["style"]["rejected"] == {"mention missing": 1}
    assert summary["entity"]["rejected"] == {"fact check says no": 1}
    assert summary["style"]["accepted"] == summary["entity"]["accepted"] == 11
    rejects = [json.loads(line) for line in result.rejects.read_text("utf-8").splitlines()]
    assert [(row["parent"], row["kind"], row["reason"], row["detail"]) for row in rejects] == [
        ("p3", "style", "mention missing", "Otto Brand"),
        ("p4", "entity", "fact check says no", "No."),
    ]
    splits, info = read_prepared(tmp_path / "out")
    new = [row for row in splits["train"] if row["kind"]]
    assert all(row["caption"].startswith("About: Post") and row["image"] is None for row in new)
    assert {row["teacher"] for row in new} == {"stub at stub"}
    assert info.augmentation["teacher"] == "stub at stub"
    assert estimates(posts, plan, store).requests == {}
    before = server.asked.total()
    augment(posts, tmp_path / "again", store, plan)
    assert server.asked.total() == before
    assert read_prepared(tmp_path / "again")[0]["train"].to_list() == splits["train"].to_list()


def test_an_interrupted_run_goes_on_where_it_stopped(folder, tmp_path):
    fault = {"on": True}

    def failing(body, number):
        return ("status", 500) if fault["on"] and "Post7" in json.dumps(body) else None

    with StubServer(answer=answer, fault=failing) as server:
        plan, store = plan_for(server), tmp_path / "s.sqlite"
        result = augment(TrainingPosts(folder), tmp_path / "out", store, plan)
        assert result.unasked == 2
        assert not result.written
        assert not (tmp_path / "out").exists()
        partly = augment(TrainingPosts(folder), tmp_path / "part", store, plan, Asking(ask=False), partial_folder=True)
        assert partly.written == [tmp_path / "part"]
        fault["on"] = False
        result = augment(TrainingPosts(folder), tmp_path / "out", store, plan)
        assert (result.unasked, result.written) == (0, [tmp_path / "out"])
        assert all(count == 1 for count in server.answered.values())


def test_zero_shot_names_come_from_the_teacher_and_not_from_the_split(folder, tmp_path):
    def listing(body):
        question = body["messages"][-1]["content"]
        if "Write a list" in question:
            return "1. Mira Holt\n2. Ada Newton\n3. Bea Oldham"
        return answer(body)

    with StubServer(answer=listing) as server:
        plan = plan_for(server, kinds=("entity",), entity_source="teacher", list_size=6, fact_check=False)
        posts = TrainingPosts(folder)
        assert estimates(posts, plan, tmp_path / "s.sqlite").requests == {"entity_list": 3}
        result = augment(posts, tmp_path / "out", tmp_path / "s.sqlite", plan)
    assert result.lists["PER"].names == ["Ada Newton", "Bea Oldham"]
    new = [row for row in read_prepared(tmp_path / "out")[0]["train"] if row["kind"]]
    assert {" ".join(row["tokens"][2:4]) for row in new} == {"Ada Newton", "Bea Oldham"}
    lines = (tmp_path / "out.entities.jsonl").read_text("utf-8").splitlines()
    assert json.loads(lines[0])["type"] == "LOC"


def test_a_teacher_without_names_is_reported(folder, tmp_path):
    with StubServer(answer=lambda body: "I know of no such names that one could write down") as server:
        plan = plan_for(server, kinds=("entity",), entity_source="teacher", fact_check=False)
        with pytest.raises(KnowledgeError, match="no usable LOC entity"):
            augment(TrainingPosts(folder), tmp_path / "out", tmp_path / "s.sqlite", plan)


def test_relations_are_augmented_too(tmp_path, server):
    def relation_rows(count, offset=0):
        for number in range(offset, offset + count):
            tokens = [f"Post{number}", *PEOPLE[number % 6].split(), "joins", f"Club{number}", "!"]
            spans = {"head": {"start": 1, "end": 3}, "tail": {"start": 4, "end": 5}}
            yield {"id": f"r{number}", "tokens": tokens, **spans, "relation": "/per/org/member_of"}

    splits = {name: make_split(relation_rows(6), "mre", RELATIONS, "test") for name in ("train", "test")}
    write_prepared(splits, DatasetInfo("own", "mre", RELATIONS), tmp_path / "mre")
    result = augment(TrainingPosts(tmp_path / "mre"), tmp_path / "out", tmp_path / "s.sqlite", plan_for(server))
    assert result.summary()["style"]["accepted"] == 5
    for row in load_splits(DataArguments(str(tmp_path / "out")), "mre")[0]["train"]:
        head, tail = (row["tokens"][row[side]["start"] : row[side]["end"]] for side in ("head", "tail"))
        assert len(head) == 2 or head[0].startswith("Club")
        assert " ".join(head) in PEOPLE
        assert tail[0].startswith("Club")


def test_a_filled_output_folder_is_left_alone(folder, tmp_path):
    with pytest.raises(SettingError, match="not empty"):
        augment(TrainingPosts(folder), folder, tmp_path / "s.sqlite", OFFLINE)
