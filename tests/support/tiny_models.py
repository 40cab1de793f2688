"""Tiny random encoders of every family, tiny tokenizers built on the fly, fictional posts."""

import copy
import functools
from collections.abc import Callable

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedConfig, PreTrainedTokenizerFast

VOCABULARY, HIDDEN, LAYERS, POSITIONS = 150, 32, 2, 64

TINY = {
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    # larger than usual, so that random models give logits that differ visibly
    "initializer_range": 0.3,
}

ENCODER_FAMILIES = ("bert", "xlm-roberta", "roberta", "mpnet", "deberta-v2", "modernbert")


def tiny_encoder_config(family: str, **changes) -> PreTrainedConfig:
    """A two-layer configuration of one encoder family, without dropout."""
    if family == "bert":
        return transformers.BertConfig(**{**TINY, "max_position_embeddings": POSITIONS, "pad_token_id": 0, **changes})
    if family in ("roberta", "xlm-roberta"):
        kind = {"roberta": transformers.RobertaConfig, "xlm-roberta": transformers.XLMRobertaConfig}[family]
        special = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}
        return kind(**{**TINY, **special, "max_position_embeddings": POSITIONS + 2, **changes})
    if family == "mpnet":
        return transformers.MPNetConfig(
            **{**TINY, "max_position_embeddings": POSITIONS + 2, "pad_token_id": 1, **changes}
        )
    if family == "deberta-v2":  # as DeBERTa-v3 is configured
        return transformers.DebertaV2Config(
            **{
                **TINY,
                "pad_token_id": 0,
                "relative_attention": True,
                "position_buckets": 16,
                "norm_rel_ebd": "layer_norm",
                "share_att_key": True,
                "pos_att_type": ["p2c", "c2p"],
                "position_biased_input": False,
                "max_position_embeddings": POSITIONS,
                "type_vocab_size": 0,
            }
            | changes
        )
    if family == "modernbert":
        return transformers.ModernBertConfig(
            **{
                "vocab_size": VOCABULARY,
                "hidden_size": HIDDEN,
                "num_hidden_layers": LAYERS,
                "num_attention_heads": 2,
                "intermediate_size": 48,
                "max_position_embeddings": POSITIONS,
                "global_attn_every_n_layers": 2,
                "local_attention": 8,
                "initializer_range": 0.3,
                "initializer_cutoff_factor": 3.0,
                "pad_token_id": 0,
                "bos_token_id": 1,
                "cls_token_id": 1,
                "eos_token_id": 2,
                "sep_token_id": 2,
            }
            | changes
        )
    raise ValueError(family)


POSTS = (
    "Mira Holt sings at Quarry Lane tonight",
    "so proud of the Fenwick Otters ! ! !",
    "RT @ mira_holt : new single out on Friday #otters",
    "Dario and Mira walk the dog near Tarn Bridge",
    "no idea why Holt left Brightwater Records",
)
"""Fictional posts that the tiny tokenizers learn their pieces from."""


def _trained(tokenizer: Tokenizer, trainer: trainers.Trainer) -> Tokenizer:
    tokenizer.train_from_iterator(
        [*POSTS, "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 < > / [ ]"], trainer
    )
    return tokenizer


WORD_PIECES = """
[PAD] [UNK] [CLS] [SEP] [MASK] ! # / 0 1 2 3 4 5 6 7 8 9 : < > @ [ ] _ a b c d e f g h i j k l m n o p q r s t
u v w x y z ##a ##l ##k ##e ##f ##t ##r ##s ##u ##y ##o ##1 ##2 ##3 ##4 ##5 ##6 ##7 ##8 ##9 ##b ##c ##d ##g
##h ##i ##j ##m ##n ##p ##q ##v ##w ##x ##z ##ar ##rs ##gh ho mi ##lt ##ef ##te ##ra ##ri holt mira ab bri ne
ot si th ##lm ##klm ##tu ##yz ##op ##cd ##ij ##ng ##nop ##qrs ##vw ##xyz ##ght ##ghij ##efghij ##ters abcd
otters sing the ##klmnop ##tuvw ##qrstuvw ##efghijklmnop abcdefghijklmnop ##qrstuvwxyz
abcdefghijklmnopqrstuvwxyz 01 at an do dar fe fri id la
"""
"""Pieces in id order, learned from `POSTS`. They are fixed, because the trainer breaks ties anew in every process."""


def wordpiece_tokenizer() -> PreTrainedTokenizerFast:
    """As BERT's (uncased)."""
    vocabulary = {piece: index for index, piece in enumerate(WORD_PIECES.split())}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        mask_token="[MASK]",
    )


ROBERTA_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
ROBERTA_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
"""In id order; RoBERTa's and XLM-R's alike."""


def bpe_tokenizer() -> PreTrainedTokenizerFast:
    """As RoBERTa's: byte-level, the space before a word belongs to the word's first piece."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    _trained(
        tokenizer,
        trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=ROBERTA_SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        sep=("</s>", 2), cls_token=("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ROBERTA_TOKENS)


def unigram_tokenizer() -> PreTrainedTokenizerFast:
    """As XLM-R's: a Unigram model over text whose spaces became a visible character."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace()
    _trained(
        tokenizer,
        trainers.UnigramTrainer(
            vocab_size=140, special_tokens=ROBERTA_SPECIAL, unk_token="<unk>", show_progress=False
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ROBERTA_TOKENS)


def _fresh(train: Callable[[], PreTrainedTokenizerFast]) -> Callable[[], PreTrainedTokenizerFast]:
    """Train once, then hand out copies."""
    once = functools.cache(train)
    return lambda: copy.deepcopy(once())


TOKENIZER_KINDS = {
    "wordpiece": _fresh(wordpiece_tokenizer),
    "bpe": _fresh(bpe_tokenizer),
    "unigram": _fresh(unigram_tokenizer),
}


PROMPT_TYPES = ("conditional", "unconditional", "prefix", "none")
LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def tiny_model(kind: type, family: str = "bert", encoder_changes: dict | None = None, **settings):
    """A random CoTPD model in evaluation mode, the same at every call; N = 3 and five labels by default."""
    from modeling_cotpd import CoTPDConfig

    torch.manual_seed(7)
    settings = {"prompt_length": 3, "num_labels": 5, "initializer_range": 0.3, "classifier_dropout": 0.0, **settings}
    config = CoTPDConfig(encoder_config=tiny_encoder_config(family, **(encoder_changes or {})), **settings)
    return kind(config).eval()


def pad_id(model) -> int:
    """The padding id of the model's encoder."""
    return model.config.encoder_config.pad_token_id


def padded(rows: list[list[int]], width: int, pad: int, side: str = "right") -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask` of rows padded to a width on one side."""
    ids, mask = torch.full((len(rows), width), pad), torch.zeros((len(rows), width), dtype=torch.long)
    for index, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        ids[index, place], mask[index, place] = torch.tensor(row), 1
    return {"input_ids": ids, "attention_mask": mask}
