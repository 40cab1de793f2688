"""Training from Python: records in, scores of every view, a card, and clear errors out."""

import functools
import json
import re
from pathlib import Path

import pytest
import torch
import transformers
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from huggingface_hub import ModelCard
from support.tiny_models import TOKENIZER_KINDS, tiny_encoder_config

from modeling_cotpd import (
    CoTPDForRelationExtraction,
    CoTPDForTokenClassification,
    CoTPDTrainer,
    CoTPDTrainingArguments,
    load_tokenizer,
)
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.training.results import run_results

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
RELATIONS = ["None", "lives_in"]
PEOPLE, PLACES = [["Mira", "Holt"], ["Dario"], ["Fenwick"]], [["Quarry", "Lane"], ["Tarn"]]


def rows(count: int) -> list[dict]:
    found = []
    for index in range(count):
        person, place = PEOPLE[index % 3], PLACES[index // 3 % 2]
        tags = [*["B-PER", "I-PER"][: len(person)], "O", "O", *["B-LOC", "I-LOC"][: len(place)]]
        found.append({"tokens": [*person, "sings", "at", *place], "ner_tags": tags})
    return found


def pairs(count: int) -> list[dict]:
    found = []
    for index, row in enumerate(rows(count)):
        person = 2 if row["ner_tags"][1] == "I-PER" else 1
        head = {"start": 0, "end": person}
        tail = {"start": person + 2, "end": len(row["tokens"])}
        relation = RELATIONS[index % 2]
        found.append({"tokens": row["tokens"], "head": head, "tail": tail, "relation": relation})
    return found


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = TOKENIZER_KINDS["wordpiece"]()
    torch.manual_seed(0)
    transformers.AutoModel.from_config(tiny_encoder_config("bert", vocab_size=len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def names(labels: list[str]) -> dict:
    return {"id2label": dict(enumerate(labels)), "label2id": {name: index for index, name in enumerate(labels)}}


def make(tmp_path, encoder, train, evaluation=None, kind=CoTPDForTokenClassification, labels=TAGS, **settings):
    given = {"max_steps": 2, "use_cpu": True, "report_to": "none", "disable_tqdm": True, "save_strategy": "no"}
    return CoTPDTrainer(
        model=kind.from_encoder(encoder, prompt_length=2, **names(labels)),
        args=CoTPDTrainingArguments(str(tmp_path / "out"), **{**given, **settings}),
        train_dataset=train,
        eval_dataset=evaluation,
        processing_class=load_tokenizer(encoder),
    )


def test_records_of_names_with_a_caption(tmp_path, encoder):
    records = Dataset.from_list([{**row, "caption": "a stage"} for row in rows(8)])
    trainer = make(tmp_path, encoder, records, records)
    trainer.train()
    metrics = trainer.evaluate()
    for view in ("prompt", "knowledge"):
        assert 0 <= metrics[f"eval_{view}_f1"] <= 1 and metrics[f"eval_{view}_gold_entities"] == 16
    assert trainer.model.config.knowledge_columns == ["caption"]
    trainer.save_model()
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert "`B-PER`" in card.text and "| knowledge view | caption |" in card.text
    assert f"| prompt | {metrics['eval_prompt_precision']:.4f}" in card.text
    tagger = transformers.pipeline("token-classification", str(tmp_path / "out"), device="cpu")
    assert isinstance(tagger("Mira Holt sings"), list)


def test_records_of_ids_without_knowledge_train_one_view(tmp_path, encoder):
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=TAGS))})
    ids = [{**row, "ner_tags": [TAGS.index(tag) for tag in row["ner_tags"]]} for row in rows(6)]
    records = Dataset.from_list(ids, features=features)
    trainer = make(tmp_path, encoder, records, {"one": records, "two": records.select(range(3))})
    trainer.train()
    metrics = trainer.evaluate()
    assert "eval_one_prompt_f1" in metrics and metrics["eval_two_prompt_gold_entities"] == 6
    assert not [name for name in metrics if "knowledge" in name]
    assert trainer.model.config.knowledge_columns == []
    trainer.save_model(tmp_path / "saved")
    text = (tmp_path / "saved" / "README.md").read_text("utf-8")
    assert "| knowledge view | none |" in text and "The model reads the post alone." in text


def test_relations(tmp_path, encoder):
    records = Dataset.from_list([{**row, "cot_noun": "Mira is a singer"} for row in pairs(6)])
    trainer = make(tmp_path, encoder, records, records, CoTPDForRelationExtraction, RELATIONS)
    trainer.train()
    assert trainer.evaluate()["eval_prompt_gold_relations"] == 3
    predicted = trainer.predict(records)
    assert "test_knowledge_f1" in predicted.metrics
    assert len(trainer.evaluations["test"].predictions["prompt"]) == 6
    trainer.save_model()
    extract = transformers.pipeline("relation-extraction", str(tmp_path / "out"), trust_remote_code=True, device="cpu")
    assert extract({"text": "Mira Holt sings at Tarn", "head": "Mira Holt", "tail": "Tarn"})["label"] in RELATIONS


def test_unlabelled_rows_are_predicted_and_not_scored(tmp_path, encoder):
    records = Dataset.from_list(rows(6))
    unlabelled = Dataset.from_list(
        [{"tokens": row["tokens"], "ner_tags": None} for row in rows(3)],
        features=Features({"tokens": List(Value("string")), "ner_tags": List(Value("string"))}),
    )
    with pytest.raises(DataError, match="No training row has a label, and nothing else teaches this run"):
        make(tmp_path, encoder, unlabelled)
    trainer = make(tmp_path, encoder, records, unlabelled)
    trainer.train()
    assert not [name for name in trainer.evaluate() if name.endswith("_f1")]
    evaluation = trainer.evaluations["validation"]
    assert evaluation.scores == {} and len(evaluation.predictions["prompt"]) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"captions": "a stage"}, "Unknown column 'captions'. Did you mean 'caption'"),
        ({"ner_tags": ["B-BAND"] * 6}, "Unknown label 'B-BAND'|6 tags"),
        ({"tokens": "Mira sings"}, "tokens"),
        ({"caption": 3}, "caption"),
    ],
    ids=["misspelt", "unknown label", "text for tokens", "number for text"],
)
def test_a_wrong_column_is_named(tmp_path, encoder, change, message):
    with pytest.raises(DataError, match=message):
        make(tmp_path, encoder, Dataset.from_list([{**rows(1)[0], **change}]))


def test_a_missing_column_is_named(tmp_path, encoder):
    with pytest.raises(DataError, match="ner_tags"):
        make(tmp_path, encoder, Dataset.from_list([{"tokens": ["Mira"]}]))


def test_the_token_is_never_written(tmp_path, encoder):
    secret = "hf_" + "x" * 30
    trainer = make(
        tmp_path, encoder, Dataset.from_list(rows(4)), hub_token=secret, save_strategy="steps", save_steps=1
    )
    trainer.train()
    trainer.save_model()
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert [path for path in written if path.name == "training_args.bin"]
    assert not [path for path in written if secret.encode() in path.read_bytes()]


class TestRefusals:
    def test_stock_arguments(self, tmp_path, encoder):
        model = CoTPDForTokenClassification.from_encoder(encoder, **names(TAGS))
        with pytest.raises(SettingError, match=r"args is a TrainingArguments. Use CoTPDTrainingArguments"):
            CoTPDTrainer(model=model, args=transformers.TrainingArguments(str(tmp_path), use_cpu=True))

    @pytest.mark.parametrize("kind", ["function", "partial", "object", "subclass"])
    def test_stock_collators(self, tmp_path, encoder, kind):
        tokenizer = load_tokenizer(encoder)
        collator = transformers.default_data_collator
        if kind == "partial":
            collator = functools.partial(collator, return_tensors="pt")
        if kind in ("object", "subclass"):
            stock = transformers.DataCollatorForTokenClassification
            collator = (type("Own", (stock,), {}) if kind == "subclass" else stock)(tokenizer)
        with pytest.raises(SettingError, match=r"The collator is one of transformers.*Leave data_collator out"):
            CoTPDTrainer(
                model=CoTPDForTokenClassification.from_encoder(encoder, **names(TAGS)),
                args=CoTPDTrainingArguments(str(tmp_path), use_cpu=True),
                data_collator=collator,
            )

    def test_what_is_no_dataset_and_no_model(self, tmp_path, encoder):
        records = Dataset.from_list(rows(4))
        for given in (rows(4), records.to_iterable_dataset(), DatasetDict(train=records)):
            with pytest.raises(SettingError, match=r"Records come as a datasets.Dataset, not as a"):
                make(tmp_path, encoder, given)
        kind = transformers.AutoModelForTokenClassification
        with pytest.raises(SettingError, match="The model is a BertForTokenClassification, not a CoTPD model"):
            CoTPDTrainer(
                kind.from_pretrained(encoder),
                CoTPDTrainingArguments(str(tmp_path), use_cpu=True),
                train_dataset=records,
                processing_class=load_tokenizer(encoder),
            )

    def test_logits_are_not_changed_before_they_are_scored(self, tmp_path, encoder):
        with pytest.raises(SettingError, match="preprocess_logits_for_metrics changes what the scores"):
            CoTPDTrainer(preprocess_logits_for_metrics=lambda logits, labels: logits)

    @pytest.mark.parametrize("metric", ["f1", "eval_knowledge_f1", "prompt_f2"])
    def test_a_metric_that_no_evaluation_returns(self, tmp_path, encoder, metric):
        records = Dataset.from_list(rows(3))
        with pytest.raises(SettingError, match=f"metric_for_best_model={metric} is not what evaluation returns"):
            make(tmp_path, encoder, records, records, metric_for_best_model=metric)
        assert make(tmp_path, encoder, records, records, metric_for_best_model="eval_prompt_f1")
        assert make(tmp_path, encoder, records, records, metric_for_best_model="loss")

    def test_records_without_a_tokenizer(self, tmp_path, encoder):
        with pytest.raises(SettingError, match=r"Records need a tokenizer. Give it as processing_class"):
            CoTPDTrainer(
                model=CoTPDForTokenClassification.from_encoder(encoder, **names(TAGS)),
                args=CoTPDTrainingArguments(str(tmp_path), use_cpu=True),
                train_dataset=Dataset.from_list(rows(3)),
            )


def test_evaluation_reads_all_rows_in_order_whatever_training_does(tmp_path, encoder):
    records = Dataset.from_list(rows(7))
    settings = {"dataloader_drop_last": True, "train_sampling_strategy": "group_by_length"}
    trainer = make(tmp_path, encoder, records, records, per_device_eval_batch_size=4, **settings)
    trainer.evaluate()
    plain = make(tmp_path, encoder, records, records, per_device_eval_batch_size=1)
    plain.model.load_state_dict(trainer.model.state_dict())
    plain.evaluate()
    found, expected = (each.evaluations["validation"].predictions for each in (trainer, plain))
    assert found == expected and len(found["prompt"]) == 7
    assert trainer.args.dataloader_drop_last and trainer.args.train_sampling_strategy == "group_by_length"


def test_results_are_json(tmp_path, encoder):
    trainer = make(tmp_path, encoder, Dataset.from_list(rows(3)))
    trainer.train()
    results = json.loads(json.dumps(run_results(trainer)))
    assert results["task"] == "mner" and results["label_names"] == TAGS and results["train_rows"] == 3


def test_the_script_of_the_documents(tmp_path, encoder, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "how_to" / "python.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len([line for line in code.splitlines() if line.strip()]) <= 18
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    small = code.replace("embedded-minilm", encoder).replace("num_train_epochs=3", "max_steps=1, use_cpu=True")
    exec(compile(small, "python.md", "exec"), {})
    assert 0 <= float(capsys.readouterr().out.splitlines()[-1]) <= 1
    names = {path.name for path in (tmp_path / "outputs" / "python").iterdir()}
    assert {"model.safetensors", "tokenizer.json", "README.md", "modeling_cotpd.py"} <= names
