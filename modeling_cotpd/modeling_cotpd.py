"""CoTPD models: one encoder, two views, a head.

The prompt view [x; p] is what inference reads; the knowledge view [x; I; c] runs too when its inputs are given. Legend
of letters: B batch, n text tokens, l caption and knowledge tokens, N prompt length, d hidden size, C labels.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PreTrainedConfig
from transformers import initialization as init
from transformers.utils import ModelOutput

from .configuration_cotpd import CoTPDConfig
from .crf_cotpd import LinearChainCRF
from .encoder_cotpd import encode_and_read, encoder_layers, max_positions, prepare_encoder, prompt_view_layout
from .outputs_cotpd import CoTPDModelOutput, CoTPDOutput
from .pretrained_cotpd import CoTPDPreTrainedModel
from .prompt_cotpd import ConditionalPrompt, PrefixPrompt, UnconditionalPrompt


class CoTPDModel(CoTPDPreTrainedModel):
    """Encoder and prompt: the hidden states of both views at the text positions.

    Args:
        config (`CoTPDConfig`): The encoder is built from `config.encoder_config` with random weights; use
            `from_encoder` for a pretrained one.

    Attributes:
        max_text_length (`int` or `None`): The most subword tokens of a text, special tokens included, so that text and
            prompt fit the encoder's positions; `None` when positions are relative and unbounded.
        max_positions (`int` or `None`): The most subword tokens that the encoder reads at once, thus of a knowledge
            view.

    Raises:
        ValueError: The prompt leaves no room for text.
    """

    def __init__(self, config: CoTPDConfig):
        super().__init__(config)
        encoder = AutoModel.from_config(config.encoder_config)
        self.encoder = prepare_encoder(encoder, config.prompt_type == "prefix")
        width = self.encoder.get_input_embeddings().embedding_dim
        length, layers = config.prompt_length, config.prompt_layers
        self.prompt: Any = None
        if config.prompt_type == "conditional":
            self.prompt = ConditionalPrompt(length, width, layers, config.prompt_attention_heads)
        elif config.prompt_type == "unconditional":
            self.prompt = UnconditionalPrompt(length, width)
        elif config.prompt_type == "prefix":
            self.prompt = PrefixPrompt(length, config.get_text_config().hidden_size, len(encoder_layers(self.encoder)))
        self.max_positions = max_positions(self.encoder)
        self.max_text_length = self.max_positions
        if self.max_positions is not None and self.prompt is not None:
            self.max_text_length = self.max_positions - length
            if self.max_text_length < 1:
                raise ValueError(
                    f"prompt_length must leave room for text in the encoder's {self.max_positions} positions, "
                    f"got {length}."
                )
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.encoder.set_input_embeddings(value)

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        knowledge_input_ids: torch.LongTensor | None = None,
        knowledge_attention_mask: torch.Tensor | None = None,
        knowledge_text_positions: torch.LongTensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool = True,
    ) -> CoTPDModelOutput | tuple:
        """Run the prompt view, and the knowledge view when `knowledge_input_ids` is given.

        Arguments are those of `CoTPDForTokenClassification.forward`; a tuple is returned with `return_dict=False`.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give either input_ids or inputs_embeds of the text, and not both.")
        text, knowledge = self._embed(input_ids, inputs_embeds, knowledge_input_ids)
        if attention_mask is None:
            attention_mask = torch.ones(text.shape[:2], dtype=torch.long, device=text.device)
        hidden, prompt_attentions, encoded = self._prompt_view(
            text,
            attention_mask,
            self.config.output_attentions if output_attentions is None else output_attentions,
            self.config.output_hidden_states if output_hidden_states is None else output_hidden_states,
        )
        knowledge_hidden = None
        if knowledge is not None:
            if knowledge_text_positions is not None and knowledge_text_positions.shape != text.shape[:2]:
                raise ValueError(
                    f"knowledge_text_positions needs the shape {tuple(text.shape[:2])} of input_ids, "
                    f"got {tuple(knowledge_text_positions.shape)}."
                )
            if knowledge.shape[1] < text.shape[1]:
                raise ValueError(
                    "knowledge_input_ids must hold the text's own subword tokens: expected at least "
                    f"{text.shape[1]}, got {knowledge.shape[1]}."
                )
            if self.max_positions is not None and knowledge.shape[1] > self.max_positions:
                raise ValueError(
                    f"The knowledge view has {knowledge.shape[1]} subword tokens, but the encoder reads at most "
                    f"{self.max_positions}. Build it with ViewSettings(max_length={self.max_positions})."
                )
            knowledge_hidden, _ = encode_and_read(
                self.encoder,
                text.shape[1] if knowledge_text_positions is None else knowledge_text_positions,
                inputs_embeds=knowledge,
                attention_mask=knowledge_attention_mask,
            )
        output = CoTPDModelOutput(
            last_hidden_state=hidden,
            knowledge_last_hidden_state=knowledge_hidden,
            prompt_attentions=prompt_attentions,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        return output if return_dict else output.to_tuple()

    def _embed(
        self,
        input_ids: torch.Tensor | None,
        inputs_embeds: torch.Tensor | None,
        knowledge_input_ids: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Embeddings of text `(B, n, d)` and knowledge view `(B, n+l, d)`.

        Both come from one look-up, because each look-up has a gradient as large as the whole vocabulary.
        """
        embed = self.get_input_embeddings()
        given = [ids for ids in (input_ids, knowledge_input_ids) if ids is not None]
        found = list(embed(torch.cat(given, 1)).split([ids.shape[1] for ids in given], 1)) if given else []
        text = found.pop(0) if inputs_embeds is None else inputs_embeds
        return text, found[0] if found else None

    def _prompt_view(
        self, text: torch.Tensor, mask: torch.Tensor, output_attentions: bool, output_hidden_states: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None, ModelOutput]:
        """Encode [x; p] and read it at the n text positions."""
        prompt: Any = None
        prompt_attentions = prefix_vectors = None
        if self.prompt is not None:
            prompt, prompt_attentions = self.prompt(text, mask)
        if self.config.prompt_type == "prefix":  # not isinstance: peft wraps the modules that it trains
            prefix_vectors = prompt
            prompt = text.new_zeros(text.shape[0], prompt.shape[1], text.shape[2])
        length = 0 if prompt is None else prompt.shape[1]
        limit = self.max_text_length
        if limit is not None and text.shape[1] > limit:
            raise ValueError(
                f"The text has {text.shape[1]} subword tokens, but only {limit} fit beside {length} prompt vectors. "
                f"Shorten it, for example with tokenizer(text, truncation=True, max_length={limit})."
            )
        text_positions, prompt_positions, view_mask = prompt_view_layout(mask, length)
        view = text.new_zeros(text.shape[0], text.shape[1] + length, text.shape[2])
        view = view.scatter(1, text_positions.unsqueeze(-1).expand_as(text), text)
        if prompt is not None:
            prompt = prompt.to(text.dtype).expand(text.shape[0], -1, -1)
            view = view.scatter(1, prompt_positions.unsqueeze(-1).expand_as(prompt), prompt)
        hidden, encoded = encode_and_read(
            self.encoder,
            text_positions,
            whole=output_hidden_states,
            prefix=None if prefix_vectors is None else (prefix_vectors, prompt_positions),
            inputs_embeds=view,
            attention_mask=view_mask,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        return hidden, prompt_attentions, encoded


class CoTPDForTokenClassification(CoTPDPreTrainedModel):
    """CoTPD for named entity recognition: a tag for every subword token of the text.

    Args:
        config (`CoTPDConfig`): With `num_labels` or `id2label`, and `use_crf` for a linear-chain CRF head.
    """

    _keys_to_ignore_on_load_missing = ["continues_word"]  # models saved before it was there

    def __init__(self, config: CoTPDConfig):
        super().__init__(config)
        self.cotpd = CoTPDModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.get_text_config().hidden_size, config.num_labels)
        self.crf = LinearChainCRF(config.num_labels) if config.use_crf else None
        self.continues_word: torch.Tensor
        self.register_buffer("continues_word", torch.zeros(config.get_text_config().vocab_size, dtype=torch.bool))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            init.zeros_(self.continues_word)

    def read_words(
        self,
        continues_word: Sequence[bool] | None,
        word_prefixes: dict[str, int] | None = None,
        word_hyphens: Sequence[int] | None = None,
    ) -> None:
        """Let every subword token of a word have the label of the word's first one, in evaluation mode.

        The stock pipeline then reads words as training labels them, with any tokenizer. Saved with the model.

        Args:
            continues_word (`Sequence[bool]`, *optional*): Per id of the vocabulary whether the subword token continues
                a word. `None`: every token has a label of its own.
            word_prefixes (`dict[str, int]`, *optional*): Marks that belong to the word behind them, and their subword
                tokens. Kept in the configuration.
            word_hyphens (`Sequence[int]`, *optional*): Subword tokens of hyphens and underscores that the tokenizer
                makes words of their own. Kept in the configuration.
        """
        size = self.config.get_text_config().vocab_size
        marks = torch.zeros(size, dtype=torch.bool)
        given = torch.tensor(list(continues_word or ()), dtype=torch.bool)[:size]
        marks[: len(given)] = given
        self.continues_word = marks.to(self.continues_word.device)
        self.config.word_prefixes = word_prefixes or None
        self.config.word_hyphens = list(word_hyphens or ()) or None

    def resize_token_embeddings(self, *args, **kwargs) -> nn.Module:
        """As the parent; new subword tokens begin a word."""
        embeddings = super().resize_token_embeddings(*args, **kwargs)
        self.read_words(self.continues_word.tolist(), self.config.word_prefixes, self.config.word_hyphens)
        return embeddings

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        knowledge_input_ids: torch.LongTensor | None = None,
        knowledge_attention_mask: torch.Tensor | None = None,
        knowledge_text_positions: torch.LongTensor | None = None,
        labels: torch.LongTensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        output_prompt_attentions: bool = False,
        return_dict: bool | None = None,
    ) -> CoTPDOutput | tuple:
        """
        Args:
            input_ids (`torch.LongTensor` of shape `(B, n)`): Subword tokens of the text.
            attention_mask (`torch.Tensor` of shape `(B, n)`, *optional*): 1 for tokens, 0 for padding.
            token_type_ids (`torch.LongTensor` of shape `(B, n)`, *optional*): Taken because some tokenizers return it,
                and not read: a post is one segment.
            inputs_embeds (`torch.FloatTensor` of shape `(B, n, d)`, *optional*): Embeddings instead of `input_ids`.
            knowledge_input_ids (`torch.LongTensor` of shape `(B, n+l)`, *optional*): Subword tokens of [x; I; c],
                which hold those of `input_ids`; both padded on the right.
            knowledge_attention_mask (`torch.Tensor` of shape `(B, n+l)`, *optional*): Its mask.
            knowledge_text_positions (`torch.LongTensor` of shape `(B, n)`, *optional*): Where each token of
                `input_ids` stands in `knowledge_input_ids`; any position for padding. By default the first n:
                knowledge behind the text.
            labels (`torch.LongTensor` of shape `(B, n)`, *optional*): Tag ids; -100 where there is none.
            output_prompt_attentions (`bool`, *optional*, defaults to `False`): Return where each query looks.

        Returns:
            `CoTPDOutput`, or a tuple of its fields that are not `None` with `return_dict=False`.

        Raises:
            ValueError: The text is longer than the encoder, or the knowledge view is shorter than the text.
        """
        states = self.cotpd(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            knowledge_input_ids=knowledge_input_ids,
            knowledge_attention_mask=knowledge_attention_mask,
            knowledge_text_positions=knowledge_text_positions,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        if attention_mask is None:
            attention_mask = torch.ones(states.last_hidden_state.shape[:2], device=states.last_hidden_state.device)
        words = None if self.training else input_ids
        read = partial(self._read, attention_mask=attention_mask, labels=labels, words=words)
        return two_view_output(self.config, states, read, labels, output_prompt_attentions, return_dict)

    def _of_words(self, logits: torch.Tensor, input_ids: torch.Tensor) -> torch.Tensor:
        """Logits `(B, n, C)` in which a token that continues a word has those of the word's first token.

        There the larger logit of `B-X` and `I-X` is that of `I-X`: an entity begins once. A hyphen after an entity of
        type X and before `I-X` has the logits of that `I-X`: "Holt-Ray" is one name.
        """
        known = len(self.continues_word)
        continues = self.continues_word[input_ids.clamp(max=known - 1)] & (input_ids < known)
        for prefix in (self.config.word_prefixes or {}).values():
            continues = continues | nn.functional.pad(input_ids[:, :-1] == prefix, (1, 0))
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        before = (places <= places[:, None]) & ~continues[:, None, :]
        first = torch.where(before, places, 0).amax(-1)
        taken = logits.gather(1, first[..., None].expand_as(logits))
        ids = {name: index for index, name in self.config.id2label.items()}
        columns = list(taken.unbind(-1))
        for name, begins in ids.items():
            inside = ids.get(f"I-{name[2:]}") if name.startswith("B-") else None
            if inside is not None:
                columns[inside], columns[begins] = (
                    torch.maximum(taken[..., begins], taken[..., inside]),
                    torch.minimum(taken[..., begins], taken[..., inside]),
                )
        read = torch.where(continues[..., None], torch.stack(columns, -1), logits)
        if not self.config.word_hyphens:
            return read
        names = [self.config.id2label[index] for index in range(logits.shape[-1])]
        types = [name[2:] for name in names if name.startswith("I-")]
        labels, pad = read.argmax(-1), nn.functional.pad
        kinds = labels.new_tensor([types.index(name[2:]) if name[2:] in types else -1 for name in names])
        inside = labels.new_tensor([types.index(name[2:]) if name.startswith("I-") else -2 for name in names])
        before, after = pad(kinds[labels[:, :-1]], (1, 0), value=-1), pad(inside[labels[:, 1:]], (0, 1), value=-2)
        hyphens = (input_ids[..., None] == input_ids.new_tensor(self.config.word_hyphens)).any(-1)
        within, behind = hyphens & (before == after), pad(read[:, 1:], (0, 0, 0, 1))
        return torch.where(within[..., None], behind, read)

    def _read(
        self,
        hidden: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor | None,
        words: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits and gold negative log-likelihood per row of one view; `words` are subword tokens to read by words."""
        logits, nll = self.classifier(self.dropout(hidden)), None
        if self.crf is not None:
            if labels is not None:
                check_labels(labels, logits.shape[-1])
                nll = self.crf.nll(logits, labels, attention_mask)
            logits = self.crf(logits, attention_mask)
        elif labels is not None:
            nll = row_nll(logits, labels)
        return logits if words is None else self._of_words(logits, words), nll


class CoTPDForRelationExtraction(CoTPDPreTrainedModel):
    """CoTPD for relation extraction: the relation between two marked entities of the text.

    Reads the states at the two entity-start markers, concatenated (entity start, arXiv 1906.03158), through one linear
    layer.

    Args:
        config (`CoTPDConfig`): With `num_labels` or `id2label`.
    """

    def __init__(self, config: CoTPDConfig):
        super().__init__(config)
        self.cotpd = CoTPDModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(2 * config.get_text_config().hidden_size, config.num_labels)
        # saved with the model, so that pipeline("relation-extraction", FOLDER) works without this package
        from .pipeline_cotpd import RELATION_PIPELINE

        config.custom_pipelines = RELATION_PIPELINE
        self.post_init()

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        marker_positions: torch.LongTensor | None = None,
        knowledge_input_ids: torch.LongTensor | None = None,
        knowledge_attention_mask: torch.Tensor | None = None,
        knowledge_text_positions: torch.LongTensor | None = None,
        labels: torch.LongTensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        output_prompt_attentions: bool = False,
        return_dict: bool | None = None,
    ) -> CoTPDOutput | tuple:
        """
        Args:
            marker_positions (`torch.LongTensor` of shape `(B, 2)`): Where head and tail begin: the positions of their
                start markers in `input_ids`; `knowledge_text_positions` finds them in the knowledge view.
            labels (`torch.LongTensor` of shape `(B,)`, *optional*): Relation ids; -100 where it is not known.

        The other arguments are those of `CoTPDForTokenClassification.forward`.

        Raises:
            ValueError: `marker_positions` is missing, the text is longer than the encoder, or the knowledge view is
                shorter than the text.
        """
        if marker_positions is None:
            raise ValueError(
                "marker_positions is missing: the positions of the head's and the tail's start marker, (B, 2). "
                "pipeline('relation-extraction') finds them from two character spans."
            )
        states = self.cotpd(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            knowledge_input_ids=knowledge_input_ids,
            knowledge_attention_mask=knowledge_attention_mask,
            knowledge_text_positions=knowledge_text_positions,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        read = partial(self._read, positions=marker_positions, labels=labels)
        return two_view_output(self.config, states, read, labels, output_prompt_attentions, return_dict)

    def _read(
        self, hidden: torch.Tensor, positions: torch.Tensor, labels: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits and gold negative log-likelihood per row of one view."""
        markers = hidden.gather(1, positions.unsqueeze(-1).expand(-1, -1, hidden.shape[-1])).flatten(1)
        logits = self.classifier(self.dropout(markers))
        return logits, None if labels is None else row_nll(logits, labels)


def row_nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross entropy in float32, summed over each row's labelled positions, `(B,)`."""
    check_labels(labels, logits.shape[-1])
    losses = nn.functional.cross_entropy(
        logits.float().flatten(0, -2), labels.flatten(), ignore_index=-100, reduction="none"
    )
    return losses.view(labels.shape[0], -1).sum(1)


def check_labels(labels: torch.Tensor, classes: int) -> None:
    """Raise a `ValueError` for labels that are neither ids of a class nor -100."""
    if torch.compiler.is_compiling():
        return
    wrong = labels[(labels != -100) & ((labels < 0) | (labels >= classes))]
    if wrong.numel():
        raise ValueError(
            f"labels holds {wrong[0].item()}, but the model has {classes} labels: ids are 0 to {classes - 1}, and "
            "-100 where there is none."
        )


def two_view_output(
    config: PreTrainedConfig,
    states: CoTPDModelOutput,
    read: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor | None]],
    labels: torch.Tensor | None,
    output_prompt_attentions: bool,
    return_dict: bool | None,
) -> CoTPDOutput | tuple:
    """What both heads return; `read` gives a view's logits and gold negative log-likelihood per row.

    The loss is the mean over labelled positions of the view that gold supervises.
    """
    logits, nll = read(states.last_hidden_state)
    knowledge_logits = knowledge_nll = loss = None
    if states.knowledge_last_hidden_state is not None:
        knowledge_logits, knowledge_nll = read(states.knowledge_last_hidden_state)
    if labels is not None and nll is not None:
        supervised = nll if knowledge_nll is None else knowledge_nll
        loss = supervised.sum() / (labels != -100).sum().clamp(min=1)
    output = CoTPDOutput(
        loss=loss,
        logits=logits,
        knowledge_logits=knowledge_logits,
        nll=nll,
        knowledge_nll=knowledge_nll,
        prompt_attentions=states.prompt_attentions if output_prompt_attentions else None,
        hidden_states=states.hidden_states,
        attentions=states.attentions,
    )
    return output if (config.return_dict if return_dict is None else return_dict) else output.to_tuple()


__all__ = ["CoTPDPreTrainedModel", "CoTPDModel", "CoTPDForTokenClassification", "CoTPDForRelationExtraction"]
