"""Where encoders and tokenizers come from."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file
from support.saved_models import save_tiny_model
from support.tiny_models import (
    ENCODER_FAMILIES,
    LABELS,
    PROMPT_TYPES,
    TOKENIZER_KINDS,
    pad_id,
    padded,
    tiny_encoder_config,
    tiny_model,
)

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.encoder_cotpd import resolve_encoder
from modeling_cotpd.errors import SettingError
from modeling_cotpd.training.arguments import ModelArguments
from modeling_cotpd.training.pretrained import (
    add_lora,
    is_cotpd_checkpoint,
    load_config,
    load_tokenizer,
    make_model,
    unspell_special_tokens,
)
from modeling_cotpd.training.tasks import TASKS


def test_the_embedded_encoder():
    folder = resolve_encoder("embedded-minilm")
    assert transformers.AutoConfig.from_pretrained(folder).hidden_size == 384
    assert resolve_encoder("someone/encoder") == "someone/encoder"


def test_the_embedded_encoder_is_not_installed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OSError, match=r"not installed. pip install 'modeling_cotpd\[quickstart\]'"):
        resolve_encoder("embedded-minilm")


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "outputs/a/run", "-name"])
def test_a_name_that_only_a_folder_can_have_and_that_is_none(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match=f"^{name}: There is no such folder. Name a folder that holds a model"):
        resolve_encoder(name)


def test_a_name_that_is_no_folder_without_a_connection():
    with pytest.raises(
        SettingError, match=r"^no/model: There is no such folder here, and the Hub could not be reached"
    ):
        load_config("no/model")


def test_kind_of_checkpoint(tmp_path):
    tiny_model(CoTPDForTokenClassification).save_pretrained(tmp_path / "cotpd")
    transformers.AutoModel.from_config(tiny_encoder_config("bert")).save_pretrained(tmp_path / "plain")
    assert is_cotpd_checkpoint(str(tmp_path / "cotpd")) and not is_cotpd_checkpoint(str(tmp_path / "plain"))


@pytest.mark.parametrize("kind", sorted(TOKENIZER_KINDS))
def test_text_stays_text_also_after_saving(kind, tmp_path):
    TOKENIZER_KINDS[kind]().save_pretrained(tmp_path / "a")
    tokenizer = load_tokenizer(str(tmp_path / "a"), max_length=77)
    assert tokenizer.model_max_length == 77
    tokenizer.save_pretrained(tmp_path / "b")
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "b")
    for one in (tokenizer, again):
        assert sorted(one("Mira")) == ["attention_mask", "input_ids"]
        specials = set(one.all_special_ids) - {one.unk_token_id}
        text = " ".join([*one.all_special_tokens, "x" + one.sep_token + "y"])
        assert not specials & set(one(text)["input_ids"][1:-1])
        assert one("Mira sings")["input_ids"] == TOKENIZER_KINDS[kind]()("Mira sings")["input_ids"]
        assert one.model_max_length == 77


def test_a_tokenizer_of_the_unigram_kind_reads_all_else_as_before():
    posts = ["Mira Holt sings at Quarry Lane", "\u2764\ufe0f \u6771\u4eac caf\u00e9", "#otters < > / [ ] !!!", ""]
    plain, changed = TOKENIZER_KINDS["unigram"](), unspell_special_tokens(TOKENIZER_KINDS["unigram"]())
    for post in posts:
        given, expected = (one(post, return_offsets_mapping=True) for one in (changed, plain))
        assert given["input_ids"] == expected["input_ids"] and given["offset_mapping"] == expected["offset_mapping"]
    changed_state, state = (json.loads(one.backend_tokenizer.to_str()) for one in (changed, plain))
    different = [
        new[0] for new, old in zip(changed_state["model"]["vocab"], state["model"]["vocab"], strict=True) if new != old
    ]
    assert sorted(different) == ["</s>", "<mask>", "<pad>", "<s>"]
    assert {**changed_state, "model": None} == {**state, "model": None}


def test_the_tokenizer_of_xlm_r_as_transformers_builds_it():
    vocabulary = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocabulary += [(piece, -4.0) for piece in "\u2581<>/sabcpd"] + [("\u2581a", -3.0), ("<mask>", 0.0)]
    tokenizer = transformers.XLMRobertaTokenizer(vocab=vocabulary)
    spelt = "a </s> <pad> <s> c"
    assert {1, 2} & set(tokenizer(spelt, split_special_tokens=True)["input_ids"][1:-1]), "nothing to guard against"
    unspell_special_tokens(tokenizer)
    assert not {0, 1, 2} & set(tokenizer(spelt, split_special_tokens=True)["input_ids"][1:-1])


class TestTokenizersThatAreNotWhole:
    @pytest.fixture
    def folder(self, tmp_path):
        save_tiny_model(tmp_path, "mner")
        return tmp_path

    @pytest.mark.parametrize(
        "change",
        [lambda text: text[: len(text) // 2], lambda text: "{}", lambda text: "<html>"],
        ids=["cut", "{}", "html"],
    )
    def test_its_file(self, folder, change):
        path = folder / "tokenizer.json"
        path.write_text(change(path.read_text("utf-8")), "utf-8")
        with pytest.raises(OSError, match="The tokenizer cannot be loaded") as error:
            load_tokenizer(str(folder))
        assert "\n" not in str(error.value)

    def test_there_is_none(self, folder):
        for path in folder.glob("tokenizer*"):
            path.unlink()
        with pytest.raises(OSError):
            load_tokenizer(str(folder))

    def test_of_another_model(self, folder):
        tokenizer = load_tokenizer(str(folder))
        tokenizer.add_tokens([f"word{number}" for number in range(60)])
        tokenizer.save_pretrained(folder)
        with pytest.raises(SettingError, match=r"The tokenizer has \d+ tokens, the model \d+: they are of different"):
            make_model(TASKS["mner"], ModelArguments(str(folder)), LABELS)


@pytest.mark.parametrize("names", [{"0": "O", "2": "B-PER"}, {"0": "O", "1": "O"}], ids=["gap", "twice"])
def test_a_label_map_that_is_not_whole(tmp_path, names):
    tiny_model(CoTPDForTokenClassification, num_labels=2).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "id2label": names}), "utf-8")
    with pytest.raises(ValueError, match="id2label must name each label once, in ids from 0"):
        CoTPDForTokenClassification.from_pretrained(tmp_path)


ROWS = [[2, 31, 47, 53, 60, 3], [2, 9, 3]]
SETTINGS = ModelArguments(lora_r=2, lora_dropout=0.0)


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
@pytest.mark.parametrize("prompt_type", PROMPT_TYPES)
def test_a_fresh_adapter_changes_no_prediction(family, prompt_type):
    model = tiny_model(CoTPDForTokenClassification, family, prompt_type=prompt_type, use_crf=True)
    batch = padded(ROWS, 9, pad_id(model))
    before = model(**batch).logits.detach()
    torch.testing.assert_close(add_lora(model, SETTINGS, False).eval()(**batch).logits, before)


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
@pytest.mark.parametrize("prompt_type", PROMPT_TYPES)
def test_adapter_prompt_and_head_learn_and_the_encoder_does_not(family, prompt_type):
    model = tiny_model(CoTPDForTokenClassification, family, prompt_type=prompt_type, use_crf=True)
    adapted = add_lora(model, SETTINGS, False).train()
    for name, value in adapted.named_parameters():
        new = any(part in name for part in ("lora_", "modules_to_save"))
        assert value.requires_grad == new, name
    before = {name: value.detach().clone() for name, value in adapted.named_parameters()}
    optimizer = torch.optim.SGD([value for value in adapted.parameters() if value.requires_grad], lr=0.1)
    batch = padded(ROWS, 9, pad_id(model)) | {
        "labels": torch.tensor([[-100, 1, 2, 0, 4, *[-100] * 4], [-100, 3, *[-100] * 7]])
    }
    for _ in range(3):
        optimizer.zero_grad()
        adapted(**batch).loss.backward()
        optimizer.step()
    still = [
        name for name, value in adapted.named_parameters() if value.requires_grad and torch.equal(before[name], value)
    ]
    assert still == []
    assert any(".encoder." in name and "lora_" in name for name in before)


@pytest.mark.parametrize(
    ("kind", "new_vocabulary"), [(CoTPDForTokenClassification, False), (CoTPDForRelationExtraction, True)]
)
def test_what_is_saved(tmp_path, kind, new_vocabulary):
    crf = {"use_crf": True} if kind is CoTPDForTokenClassification else {}
    model = tiny_model(kind, **crf)
    add_lora(model, SETTINGS, new_vocabulary).save_pretrained(tmp_path)
    names = set(load_file(tmp_path / "adapter_model.safetensors"))
    for part in ("prompt.queries", "prompt.layers.0.value.weight", "classifier.weight", "classifier.bias"):
        assert [name for name in names if name.endswith(part)], part
    assert bool([name for name in names if "crf.transitions" in name]) == bool(crf)
    assert bool([name for name in names if "word_embeddings" in name]) == new_vocabulary


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
def test_by_default_every_linear_layer_of_the_encoder_gets_lora(family):
    model = tiny_model(CoTPDForTokenClassification, family)
    linear = {name for name, part in model.cotpd.encoder.named_modules() if isinstance(part, torch.nn.Linear)}
    adapted = add_lora(model, SETTINGS, False)
    found = {
        name.split("cotpd.encoder.")[1].split(".lora_A")[0]
        for name, _ in adapted.named_parameters()
        if "lora_A" in name
    }
    assert found == linear


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lora_target_modules": ["nothing"]}, "lora: No modules were targeted"),
        ({"lora_r": -1}, "lora: .*r.*positive"),
    ],
)
def test_settings_that_peft_refuses(settings, message):
    with pytest.raises(SettingError, match=message):
        add_lora(tiny_model(CoTPDForTokenClassification), ModelArguments(**{"lora_r": 2, **settings}), False)


@pytest.mark.parametrize("attention", ["nothing", "flash_attention_2"])
@pytest.mark.parametrize("source", ["encoder", "model"])
def test_an_attention_that_cannot_be_had(tmp_path, attention, source):
    if source == "encoder":
        transformers.AutoModel.from_config(tiny_encoder_config("bert")).save_pretrained(tmp_path)
    else:
        save_tiny_model(tmp_path, "mner")
    TOKENIZER_KINDS["wordpiece"]().save_pretrained(tmp_path)
    with pytest.raises((SettingError, OSError), match=r"attn_implementation|FlashAttention2"):
        make_model(TASKS["mner"], ModelArguments(str(tmp_path), attn_implementation=attention), LABELS)


def test_named_targets():
    model = tiny_model(CoTPDForTokenClassification)
    adapted = add_lora(model, ModelArguments(lora_r=2, lora_target_modules=["value"]), False)
    found = [name for name, _ in adapted.named_parameters() if "lora_A" in name]
    assert len(found) == 2 and all(".encoder." in name and "value" in name for name in found)
