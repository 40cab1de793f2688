"""What CoTPD models return. Legend of letters: B batch, n text tokens, N prompt length, d hidden size, C labels."""

from dataclasses import dataclass

import torch
from transformers.utils import ModelOutput


@dataclass
class CoTPDModelOutput(ModelOutput):
    """Hidden states `(B, n, d)` of the views that were run, at the text positions; the rest is as in `CoTPDOutput`."""

    last_hidden_state: torch.FloatTensor | None = None
    knowledge_last_hidden_state: torch.FloatTensor | None = None
    prompt_attentions: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


@dataclass
class CoTPDOutput(ModelOutput):
    """Predictions of the views that were run.

    Args:
        loss (`torch.Tensor` of shape `(1,)`, *optional*): Mean gold negative log-likelihood, with `labels`: of the
            knowledge view when its inputs were given (Eq. 3), else of the prompt view. The distillation term is added
            by `CoTPDTrainer`.
        logits (`torch.Tensor` of shape `(B, n, C)` or `(B, C)`): Prompt view; what inference returns. With a CRF, log
            posterior marginals.
        knowledge_logits (`torch.Tensor` of the same shape, *optional*): Knowledge view.
        nll (`torch.Tensor` of shape `(B,)`, *optional*): Gold negative log-likelihood of each row in the prompt view,
            summed over its labelled positions, with `labels`.
        knowledge_nll (`torch.Tensor` of shape `(B,)`, *optional*): The same in the knowledge view.
        prompt_attentions (`torch.Tensor` of shape `(B, N, n)`, *optional*): Where each query looks in the text, with
            `output_prompt_attentions=True`.
        hidden_states, attentions (`tuple(torch.Tensor)`, *optional*): Of the encoder in the prompt view, every layer,
            prompt included.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    knowledge_logits: torch.FloatTensor | None = None
    nll: torch.FloatTensor | None = None
    knowledge_nll: torch.FloatTensor | None = None
    prompt_attentions: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None
