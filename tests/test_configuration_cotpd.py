"""CoTPDConfig: ranges, nesting, round trip."""

import pytest
import transformers
from huggingface_hub.errors import StrictDataclassError
from support.tiny_models import ENCODER_FAMILIES, tiny_encoder_config

from modeling_cotpd import CoTPDConfig


def test_defaults():
    config = CoTPDConfig()
    assert config.encoder_config.model_type == "bert" and config.prompt_type == "conditional"
    assert config.prompt_length == 2 and config.prompt_layers == config.prompt_attention_heads == 1
    assert config.use_crf is False


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
def test_round_trip(family, tmp_path):
    names = ["O", "B-LOC", "I-LOC"]
    config = CoTPDConfig(
        encoder_config=tiny_encoder_config(family),
        prompt_type="prefix",
        prompt_length=5,
        use_crf=True,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )
    config.save_pretrained(tmp_path)
    for again in (CoTPDConfig.from_pretrained(tmp_path), transformers.AutoConfig.from_pretrained(tmp_path)):
        assert type(again) is CoTPDConfig
        assert again.encoder_config.model_type == family
        assert again.to_dict() == {
            **config.to_dict(),
            **{k: again.to_dict()[k] for k in ("_name_or_path",) if k in again.to_dict()},
        }
        assert again.id2label == {0: "O", 1: "B-LOC", 2: "I-LOC"} and again.num_labels == 3


def test_an_encoder_given_as_a_dict():
    config = CoTPDConfig(encoder_config=tiny_encoder_config("roberta").to_dict())
    assert isinstance(config.encoder_config, transformers.RobertaConfig) and config.encoder_config.hidden_size == 32


def test_text_config_is_the_encoder():
    config = CoTPDConfig(encoder_config=tiny_encoder_config("bert"))
    assert config.get_text_config() is config.encoder_config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt_type": "Conditional"}, "prompt_type must be one of .*'Conditional'"),
        ({"prompt_type": ""}, "prompt_type must be one of conditional, unconditional, prefix, none, got ''"),
        ({"prompt_length": 0}, "prompt_length must be at least 1, got 0.*prompt_type='none'"),
        ({"prompt_length": -4}, "prompt_length must be at least 1, got -4"),
        ({"prompt_layers": 0}, "prompt_layers must be at least 1, got 0"),
        ({"prompt_attention_heads": 0}, "prompt_attention_heads must be at least 1, got 0"),
        ({"classifier_dropout": 1.0}, r"classifier_dropout must lie in \[0, 1\), got 1.0"),
        ({"classifier_dropout": -0.1}, r"classifier_dropout must lie in \[0, 1\), got -0.1"),
        ({"id2label": {0: "O", 2: "B-PER"}}, "id2label must name each label once, in ids from 0"),
        ({"id2label": {0: "O", 1: "O"}}, "id2label must name each label once"),
        ({"prompt_length": 64}, "prompt_length must leave room for text in the encoder's 64 positions, got 64"),
    ],
)
def test_ranges(settings, message):
    with pytest.raises(ValueError, match=message):
        CoTPDConfig(encoder_config=tiny_encoder_config("bert"), **settings)


def test_a_wrong_type_is_refused():
    with pytest.raises(StrictDataclassError, match="prompt_length"):
        CoTPDConfig(prompt_length="8")


def test_n_does_not_matter_without_a_prompt():
    CoTPDConfig(encoder_config=tiny_encoder_config("bert"), prompt_type="none", prompt_length=64)
