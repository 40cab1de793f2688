import pytest
import torch
import transformers
from support.tiny_models import ENCODER_FAMILIES, padded, tiny_encoder_config, tiny_model
from transformers import AutoModel

from modeling_cotpd import CoTPDConfig, CoTPDForTokenClassification
from modeling_cotpd.encoder_cotpd import (
    BERT_LAYERS,
    check_weights,
    encode_and_read,
    encoder_layers,
    max_positions,
    prepare_encoder,
    prompt_view_layout,
)


def test_layout_puts_the_prompt_behind_the_text_and_padding_last():
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [0, 1, 1, 0]])
    text, prompt, attended = prompt_view_layout(mask, 2)
    assert text.tolist() == [[0, 1, 2, 5], [0, 1, 2, 3], [4, 0, 1, 5]]
    assert prompt.tolist() == [[3, 4], [4, 5], [2, 3]]
    assert attended.tolist() == [[1, 1, 1, 1, 1, 0], [1] * 6, [1, 1, 1, 1, 0, 0]]


def test_layout_is_a_permutation():
    mask = torch.randint(0, 2, (50, 7))
    text, prompt, _ = prompt_view_layout(mask, 3)
    positions = torch.cat([text, prompt], 1).sort(1).values
    assert torch.equal(positions, torch.arange(10).expand(50, -1))


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
def test_layers_are_found_in_every_family(family):
    encoder = AutoModel.from_config(tiny_encoder_config(family))
    layers = encoder_layers(encoder)
    assert len(layers) == encoder.config.num_hidden_layers
    assert all("Layer" in type(layer).__name__ for layer in layers)


def test_an_encoder_without_such_a_list():
    encoder = AutoModel.from_config(tiny_encoder_config("bert"))
    encoder.config.num_hidden_layers = 77
    with pytest.raises(ValueError, match="no list of 77 layers"):
        encoder_layers(encoder)


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
def test_the_longest_text_that_an_encoder_reads(family):
    encoder = AutoModel.from_config(tiny_encoder_config(family)).eval()
    longest = max_positions(encoder)
    if longest is None:
        assert family == "deberta-v2"
        return
    ids = torch.full((1, longest), 9)
    assert encoder(input_ids=ids).last_hidden_state.shape[1] == longest
    if family not in ("modernbert",):  # rotary positions have no table to run out of
        with pytest.raises((IndexError, RuntimeError)):
            encoder(input_ids=torch.full((1, longest + 1), 9))


def test_a_pooler_is_dropped():
    encoder = AutoModel.from_config(tiny_encoder_config("bert"))
    assert any(name.startswith("pooler") for name, _ in encoder.named_parameters())
    assert not any(name.startswith("pooler") for name, _ in prepare_encoder(encoder, False).named_parameters())


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
@pytest.mark.parametrize("training", [False, True])
def test_reading_some_positions_gives_what_reading_all_gives(family, training):
    encoder = prepare_encoder(AutoModel.from_config(tiny_encoder_config(family)), False).train(training)
    positions = torch.tensor([[1, 2, 3], [0, 4, 2], [8, 1, 1]])
    inputs = {"input_ids": torch.randint(5, 100, (3, 9)), "attention_mask": torch.ones(3, 9, dtype=torch.long)}
    inputs["attention_mask"][1, 6:] = 0
    found = {}
    for whole in (False, True):
        states, encoded = encode_and_read(encoder, positions, whole=whole, **inputs)
        computed = encoded.last_hidden_state.shape[1]
        assert computed == (3 if family in BERT_LAYERS and not whole else 9)
        encoder.zero_grad()
        states.square().sum().backward()
        gradients = {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}
        found[whole] = {"states": states.detach(), **gradients}
    torch.testing.assert_close(found[False], found[True], rtol=1e-4, atol=1e-5)
    first, _ = encode_and_read(encoder, 4, **inputs)
    torch.testing.assert_close(first, encoder(**inputs).last_hidden_state[:, :4], rtol=1e-4, atol=1e-5)


def test_gradient_checkpointing_computes_all_positions():
    encoder = prepare_encoder(AutoModel.from_config(tiny_encoder_config("bert")), False).train()
    encoder.gradient_checkpointing_enable()
    states, encoded = encode_and_read(encoder, 2, input_ids=torch.randint(5, 100, (2, 6)))
    assert encoded.last_hidden_state.shape[1] == 6
    states.sum().backward()  # recomputes the layers, when the call is over


SMALL = {"hidden_size": 32, "embedding_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def small(kind: type, **settings):
    return AutoModel.from_config(kind(vocab_size=100, **settings))


@pytest.mark.parametrize(
    ("encoder", "reason"),
    [
        (
            lambda: small(transformers.T5Config, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2),
            "has a decoder",
        ),
        (lambda: small(transformers.GPT2Config, n_embd=16, n_layer=1, n_head=2), "reads text from left to right"),
        (
            lambda: small(
                transformers.LlamaConfig,
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
            ),
            "reads text from left to right",
        ),
        (lambda: AutoModel.from_config(tiny_encoder_config("bert", is_decoder=True)), "reads text from left to right"),
        (
            lambda: AutoModel.from_config(
                transformers.ViTConfig(
                    hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32
                )
            ),
            "does not take inputs_embeds",
        ),
        (lambda: small(transformers.ConvBertConfig, **SMALL), "sees padding, so a prediction depends on its batch"),
        (lambda: small(transformers.SqueezeBertConfig, **SMALL), "cannot read inputs_embeds"),
        (lambda: small(transformers.BigBirdConfig, **SMALL), "changes its attention .* unless attention_type="),
    ],
    ids=["T5", "GPT-2", "Llama", "BERT as a decoder", "ViT", "ConvBERT", "SqueezeBERT", "BigBird"],
)
def test_what_cannot_be_the_encoder_is_refused_by_name(encoder, reason):
    model = encoder()
    with pytest.raises(ValueError, match=f"{type(model).__name__} {reason}.*CoTPD needs a bidirectional encoder"):
        prepare_encoder(model, False)


OTHERS = {
    "xlnet": lambda: transformers.XLNetConfig(vocab_size=150, d_model=32, n_layer=2, n_head=2, d_inner=48),
    "distilbert": lambda: transformers.DistilBertConfig(
        vocab_size=150, dim=32, n_layers=2, n_heads=2, hidden_dim=48, max_position_embeddings=64, dropout=0.0
    ),
    "albert": lambda: transformers.AlbertConfig(
        vocab_size=150, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        embedding_size=16, max_position_embeddings=64,
    ),
    "electra": lambda: transformers.ElectraConfig(
        vocab_size=150, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
        embedding_size=16, max_position_embeddings=64,
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", OTHERS)
@torch.no_grad()
def test_other_encoders_work_and_do_not_see_padding(family):
    torch.manual_seed(0)
    config = CoTPDConfig(encoder_config=OTHERS[family](), num_labels=3, prompt_length=2)
    model = CoTPDForTokenClassification(config).eval()
    assert model.cotpd.max_positions == (None if family == "xlnet" else 64)
    alone = model(torch.tensor([[5, 6, 7]])).logits[0]
    batch = padded([[5, 6, 7], [5, 9, 10, 11, 12, 6]], 8, 0)
    torch.testing.assert_close(model(**batch).logits[0, :3], alone, atol=1e-5, rtol=0)


def test_xlnet_takes_no_prefix():
    config = CoTPDConfig(encoder_config=OTHERS["xlnet"](), num_labels=3, prompt_type="prefix")
    with pytest.raises(ValueError, match="XLNet's layers cannot take a prefix; use another prompt_type"):
        CoTPDForTokenClassification(config)


class TestWeights:
    """What is not whole is refused before a model is built."""

    @pytest.fixture
    def folder(self, tmp_path):
        tiny_model(CoTPDForTokenClassification).save_pretrained(tmp_path)
        return tmp_path

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda data: data[: len(data) // 2], r"has [\d,]+ bytes instead of [\d,]+. Copy the file again"),
            (lambda data: data + b"xx", "bytes instead of"),
            (lambda data: data[:5], "is not a safetensors file"),
            (lambda data: b"", "is not a safetensors file"),
            (lambda data: b"<html>" * 100, "is not a safetensors file"),
            (
                lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n",
                "is a git-lfs pointer, not the weights. Run: git lfs pull",
            ),
        ],
        ids=["cut", "longer", "header cut", "empty", "another file", "git-lfs"],
    )
    def test_a_file_that_is_not_whole(self, folder, change, says):
        path = folder / "model.safetensors"
        path.write_bytes(change(path.read_bytes()))
        with pytest.raises(OSError, match=says):
            CoTPDForTokenClassification.from_pretrained(folder)

    def test_a_shard_is_missing(self, folder):
        (folder / "model.safetensors").unlink()
        tiny_model(CoTPDForTokenClassification).save_pretrained(folder, max_shard_size="20KB")
        CoTPDForTokenClassification.from_pretrained(folder)
        sorted(folder.glob("model-*.safetensors"))[1].unlink()
        with pytest.raises(OSError, match=r"model-00002-of-.*is missing"):
            CoTPDForTokenClassification.from_pretrained(folder)

    def test_an_index_that_is_cut(self, folder):
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text('{"weight_map": {')
        with pytest.raises(OSError, match="is not an index of weights"):
            check_weights(folder)
