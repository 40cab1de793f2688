"""The scripts of benchmarks/, which import one another by their bare names; a tiny encoder; fictional posts."""

import json
import sys
from pathlib import Path

import pytest
import torch
from support.tiny_models import VOCABULARY, tiny_encoder_config, wordpiece_tokenizer
from transformers import AutoModel

from modeling_cotpd.data.prepare import prepare

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "gpu_kit")]


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Path:
    """The prepared sample corpus."""
    folder = tmp_path_factory.mktemp("data") / "sample"
    prepare("sample-mner", None, folder)
    return folder


@pytest.fixture(scope="session", params=["bert", "mpnet"])
def encoder(request, tmp_path_factory) -> Path:
    """A tiny encoder with room for long posts, and a WordPiece tokenizer that counts padding as 0 or 1."""
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer = wordpiece_tokenizer()
    if request.param == "mpnet":
        state = json.loads(tokenizer.backend_tokenizer.to_str())
        vocabulary = state["model"]["vocab"]
        rare = "##qrstuvwxyz"  # an ordinary token below the padding token, which counts positions from its id
        vocabulary["[PAD]"], vocabulary["[UNK]"], vocabulary[rare] = 1, vocabulary[rare], 0
        for token in state["added_tokens"]:
            token["id"] = vocabulary[token["content"]]
        tokenizer._tokenizer = type(tokenizer.backend_tokenizer).from_str(json.dumps(state))
    torch.manual_seed(0)
    config = tiny_encoder_config(request.param, max_position_embeddings=514)
    assert config.pad_token_id == tokenizer.pad_token_id
    assert config.vocab_size == VOCABULARY
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
