"""What every test runs under: one thread, no network, an interruptible process; and the shared fixtures."""

import os
import signal
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
from support.tiny_models import ENCODER_FAMILIES, TOKENIZER_KINDS, tiny_encoder_config
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

torch.set_num_threads(1)
# A process that was started in the background may ignore Ctrl-C, as may its children
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=sorted(TOKENIZER_KINDS))
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    """Each of the three tokenizer kinds in turn, fresh."""
    return TOKENIZER_KINDS[request.param]()


@pytest.fixture
def wordpiece() -> PreTrainedTokenizerBase:
    """A fresh tiny WordPiece tokenizer."""
    return TOKENIZER_KINDS["wordpiece"]()


@pytest.fixture(params=ENCODER_FAMILIES)
def encoder_config(request: pytest.FixtureRequest) -> PreTrainedConfig:
    """A tiny configuration of every encoder family in turn."""
    return tiny_encoder_config(request.param)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real benchmark data; tests that need it are skipped where there is none."""
    folder = os.environ.get("COTPD_DATA")
    if not folder:
        pytest.skip("COTPD_DATA does not name a folder with the benchmark data")
    return Path(folder)
