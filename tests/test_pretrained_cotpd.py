"""Loading: a whole model of the right kind, or an error that says what to do."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from support.saved_models import PAIR, TEXT, save_tiny_model
from support.tiny_models import TOKENIZER_KINDS, tiny_encoder_config, tiny_model

from modeling_cotpd import (
    CoTPDConfig,
    CoTPDForRelationExtraction,
    CoTPDForTokenClassification,
    CoTPDModel,
    RelationExtractionPipeline,
)

HEADS = {"mner": CoTPDForTokenClassification, "mre": CoTPDForRelationExtraction}


def test_a_plain_encoder_is_refused_and_from_encoder_named(tmp_path):
    transformers.AutoModel.from_config(tiny_encoder_config("bert")).save_pretrained(tmp_path)
    for kind in (CoTPDForTokenClassification, CoTPDForRelationExtraction, CoTPDModel):
        with pytest.raises(
            OSError, match=f"model of type bert, not a trained CoTPD model.*{kind.__name__}.from_encoder"
        ):
            kind.from_pretrained(tmp_path, num_labels=3)
    assert CoTPDForTokenClassification.from_encoder(tmp_path, num_labels=3).config.encoder_config.hidden_size == 32


def test_the_embedded_encoder():
    model = CoTPDModel.from_encoder("embedded-minilm")
    assert model.config.encoder_config.hidden_size == 384
    assert model.config.encoder_config._name_or_path == "sentence-transformers/all-MiniLM-L6-v2"


def test_another_head_is_refused(tmp_path):
    tiny_model(CoTPDForRelationExtraction).save_pretrained(tmp_path)
    with pytest.raises(OSError, match="is a CoTPDForRelationExtraction, not a CoTPDForTokenClassification"):
        CoTPDForTokenClassification.from_pretrained(tmp_path)
    assert CoTPDModel.from_pretrained(tmp_path).config.model_type == "cotpd"
    # the auto classes bring the configuration with them
    with pytest.raises(OSError, match="is a CoTPDForRelationExtraction, not a CoTPDForTokenClassification"):
        transformers.AutoModelForTokenClassification.from_pretrained(tmp_path)


def test_weights_in_a_subfolder(tmp_path):
    tiny_model(CoTPDForTokenClassification).save_pretrained(tmp_path / "best")
    assert CoTPDForTokenClassification.from_pretrained(tmp_path, subfolder="best")
    (tmp_path / "best" / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(OSError, match=r"is a git-lfs pointer, not the weights. Run: git lfs pull"):
        CoTPDForTokenClassification.from_pretrained(tmp_path, subfolder="best")


@pytest.mark.parametrize(
    "name", ["classifier.weight", "cotpd.prompt.queries", "cotpd.encoder.embeddings.LayerNorm.bias"]
)
def test_a_missing_weight_is_refused(tmp_path, name):
    tiny_model(CoTPDForTokenClassification).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights[name]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(OSError, match=f"1 of them are missing, such as {name}"):
        CoTPDForTokenClassification.from_pretrained(tmp_path)
    _, info = CoTPDForTokenClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert set(info["missing_keys"]) == {name}


def test_weights_of_another_shape_are_refused(tmp_path):
    tiny_model(CoTPDForTokenClassification).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    config["id2label"] = {"0": "O", "1": "B-PER"}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(OSError, match=r"2 of them have another shape, such as classifier.*ignore_mismatched_sizes"):
        CoTPDForTokenClassification.from_pretrained(tmp_path)
    model = CoTPDForTokenClassification.from_pretrained(tmp_path, ignore_mismatched_sizes=True)
    assert model.config.num_labels == 2


@pytest.mark.parametrize("task", HEADS)
def test_saved_again_it_is_as_complete_as_the_first_time(tmp_path, task):
    """By the model, by the pipeline, after a merge: the same code files, and a pipeline that works."""
    from peft import LoraConfig, get_peft_model

    _, tokenizer = save_tiny_model(tmp_path / "first", task)
    first = {path.name for path in (tmp_path / "first").iterdir()}
    loaded = HEADS[task].from_pretrained(tmp_path / "first")
    loaded.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    name = "token-classification" if task == "mner" else "relation-extraction"
    transformers.pipeline(name, str(tmp_path / "model"), trust_remote_code=True, device="cpu").save_pretrained(
        tmp_path / "pipeline"
    )
    adapted = get_peft_model(loaded, LoraConfig(target_modules=["query"], modules_to_save=["classifier"]))
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    tokenizer.save_pretrained(tmp_path / "merged")
    given = TEXT if task == "mner" else PAIR
    expected = transformers.pipeline(name, str(tmp_path / "first"), trust_remote_code=True, device="cpu")(given)
    for folder in ("model", "pipeline", "merged"):
        names = {path.name for path in (tmp_path / folder).iterdir()}
        assert names >= {each for each in first if each.endswith((".py", ".safetensors", "config.json"))}, folder
        found = transformers.pipeline(name, str(tmp_path / folder), trust_remote_code=True, device="cpu")(given)
        torch.testing.assert_close(_scores(found), _scores(expected))
    config = json.loads((tmp_path / "merged" / "config.json").read_text("utf-8"))
    assert ("custom_pipelines" in config) == (task == "mre")


def _scores(found) -> torch.Tensor:
    return torch.tensor(
        [each["score"] for each in (found if isinstance(found, list) else [found])], dtype=torch.float64
    )


def test_auto_model_and_feature_extraction(tmp_path):
    save_tiny_model(tmp_path, "mner")
    model = transformers.AutoModel.from_pretrained(tmp_path)
    assert isinstance(model, CoTPDModel)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    states = transformers.pipeline("feature-extraction", model=model, tokenizer=tokenizer, device="cpu")(TEXT)
    assert len(states[0]) == len(tokenizer(TEXT)["input_ids"]) and len(states[0][0]) == 32
    ids = torch.tensor([[2, 7, 9, 3]])
    assert model(input_ids=ids, token_type_ids=torch.zeros_like(ids)).last_hidden_state.shape == (1, 4, 32)
    torch.testing.assert_close(model(ids, return_dict=False)[0], model(ids, return_dict=True).last_hidden_state)


def test_the_relation_head_names_its_pipeline():
    config = CoTPDConfig(encoder_config=tiny_encoder_config("bert"), num_labels=3)
    assert "relation-extraction" in CoTPDForRelationExtraction(config).config.custom_pipelines
    assert RelationExtractionPipeline.__name__ in config.custom_pipelines["relation-extraction"]["impl"]


def test_a_slow_tokenizer_is_not_needed_to_load(tmp_path):
    tiny_model(CoTPDForTokenClassification).save_pretrained(tmp_path)
    TOKENIZER_KINDS["bpe"]().save_pretrained(tmp_path)
    assert CoTPDForTokenClassification.from_pretrained(tmp_path)
