"""Configuration of CoTPD models: an encoder, a prompt, a head."""

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

PROMPT_TYPES = ("conditional", "unconditional", "prefix", "none")


@strict
class CoTPDConfig(PreTrainedConfig):
    r"""
    Configuration of a Chain-of-Thought Prompt Distillation model (arXiv 2306.14122).

    The package's legend of letters: B batch, n text tokens, l caption and knowledge tokens, N prompt length, d hidden
    size, C labels.

    Args:
        encoder_config (`PreTrainedConfig` or `dict`, *optional*): Configuration of the encoder; any bidirectional
            encoder that `AutoModel` can build and that takes `inputs_embeds`. Defaults to BERT-base.
        prompt_type (`str`, *optional*, defaults to `"conditional"`): What the prompt view appends to the text (Table 3
            of the paper): `"conditional"`, N vectors that learnable queries read from the text (Eq. 1, CPD);
            `"unconditional"`, N learnable vectors, the same for every text (UPD); `"prefix"`, N learnable key/value
            prompts in every encoder layer (PrefixD); `"none"`, the text alone (MV).
        prompt_length (`int`, *optional*, defaults to 2): N. The encoder reads every prompt vector like one more
            subword token.
        prompt_layers (`int`, *optional*, defaults to 1): Cross-attention layers of a conditional prompt. One is Eq. 1.
        prompt_attention_heads (`int`, *optional*, defaults to 1): Attention heads of a conditional prompt. One is
            Eq. 1. Must divide the width of the embeddings.
        use_crf (`bool`, *optional*, defaults to `False`): Token classification only: a linear-chain CRF instead of a
            softmax per position.
        classifier_dropout (`float`, *optional*, defaults to 0.1): Dropout before the classifier; the value of BERT.
        word_prefixes (`dict[str, int]`, *optional*): Token classification only: marks that the training data write as
            part of the word behind them, as Twitter-2015 does with `#`, and their subword tokens. The label of the
            mark is that of the word.
        word_hyphens (`list[int]`, *optional*): Token classification only: subword tokens of hyphens and underscores,
            where the tokenizer makes them words of their own. Within an entity they belong to it.
        knowledge_columns (`list[str]`, *optional*): The columns that the knowledge view read in training, in order;
            `None`: not recorded.
        knowledge_placement (`str`, *optional*, defaults to `"appended"`): Where knowledge stood in training:
            `"appended"` behind the text, or `"inline"`, each gloss behind its mention in the text.
        knowledge_max_length (`int`, *optional*, defaults to 512): The most subword tokens of a knowledge view in
            training.
        initializer_range (`float`, *optional*, defaults to 0.02): Standard deviation of new classifier weights; the
            value of BERT.

    Raises:
        ValueError: A field is out of range. The message names the field, the rule and the value given.

    Example:

    ```python
    >>> from modeling_cotpd import CoTPDConfig
    >>> config = CoTPDConfig(prompt_type="conditional", prompt_length=8)
    >>> config.encoder_config.model_type
    'bert'
    ```
    """

    model_type = "cotpd"
    sub_configs_defaults = {"encoder_config": SubConfigSpec(config_class=AutoConfig, model_type="bert")}
    keys_to_ignore_at_inference = ["nll", "knowledge_nll", "prompt_attentions", "hidden_states", "attentions"]

    encoder_config: PreTrainedConfig | dict | None = None
    prompt_type: str = "conditional"
    prompt_length: int = 2
    prompt_layers: int = 1
    prompt_attention_heads: int = 1
    use_crf: bool = False
    classifier_dropout: float = 0.1
    word_prefixes: dict[str, int] | None = None
    word_hyphens: list[int] | None = None
    knowledge_columns: list[str] | None = None
    knowledge_placement: str = "appended"
    knowledge_max_length: int = 512
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.prompt_type not in PROMPT_TYPES:
            raise ValueError(f"prompt_type must be one of {', '.join(PROMPT_TYPES)}, got {self.prompt_type!r}.")
        for name in ("prompt_length", "prompt_layers", "prompt_attention_heads"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}. For no prompt at all: prompt_type='none'."
                )
        if not 0.0 <= self.classifier_dropout < 1.0:
            raise ValueError(f"classifier_dropout must lie in [0, 1), got {self.classifier_dropout}.")
        labels = self.id2label or {}
        names = {name for name in labels.values() if isinstance(name, str)}
        if sorted(labels) != list(range(len(labels))) or len(names) < len(labels):
            raise ValueError(f"id2label must name each label once, in ids from 0, got {labels!r:.200}.")
        positions = getattr(self.encoder_config, "max_position_embeddings", None)
        bounded = positions is not None and positions > 0  # XLNet: -1
        if self.prompt_type != "none" and bounded and self.prompt_length >= positions:
            raise ValueError(
                f"prompt_length must leave room for text in the encoder's {positions} positions, "
                f"got {self.prompt_length}."
            )

    def get_text_config(self, decoder=None, encoder=None) -> PreTrainedConfig:
        """The encoder's configuration: it holds the vocabulary size and the dimensions."""
        return self.encoder_config


__all__ = ["CoTPDConfig", "PROMPT_TYPES"]
