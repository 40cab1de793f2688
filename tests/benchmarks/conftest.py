"""The scripts of benchmarks/, which import one another by their bare names; a tiny encoder; fictional posts."""

import sys
from pathlib import Path

import pytest
import torch
from support.tiny_models import tiny_encoder_config, wordpiece_tokenizer
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


@pytest.fixture(scope="session")
def encoder(tmp_path_factory) -> Path:
    """A tiny encoder with room for long posts."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    AutoModel.from_config(tiny_encoder_config("bert", max_position_embeddings=514)).save_pretrained(folder)
    wordpiece_tokenizer().save_pretrained(folder)
    return folder
