"""The prompt generators of Table 3: conditional (Eq. 1), unconditional, prefix, none. No task, no loss."""

import math

import torch
from torch import nn
from transformers import initialization as init


class ConditionalPrompt(nn.Module):
    r"""
    Eq. 1: learnable queries read a prompt from the text, p = softmax(q W_q (x W_k)^T / sqrt(d)) x W_v.

    With more than one layer, the prompt of layer i is added to the queries, normalized, and asks again in layer i + 1.

    Args:
        length (`int`): N, the number of prompt vectors.
        width (`int`): d, the width of the encoder's embeddings.
        layers (`int`, *optional*, defaults to 1): Cross-attention layers; 1 is Eq. 1.
        heads (`int`, *optional*, defaults to 1): Attention heads; 1 is Eq. 1.

    Raises:
        ValueError: `heads` does not divide `width`.

    Example:

    ```python
    >>> import torch
    >>> from modeling_cotpd.prompt_cotpd import ConditionalPrompt
    >>> prompt, attentions = ConditionalPrompt(length=4, width=16)(torch.randn(2, 7, 16), torch.ones(2, 7))
    >>> prompt.shape, attentions.shape
    (torch.Size([2, 4, 16]), torch.Size([2, 4, 7]))
    ```
    """

    def __init__(self, length: int, width: int, layers: int = 1, heads: int = 1):
        super().__init__()
        if width % heads:
            raise ValueError(f"prompt_attention_heads must divide the embedding width {width}, got {heads}.")
        self.queries = nn.Parameter(torch.empty(length, width))
        self.layers = nn.ModuleList(PromptAttention(width, heads) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers - 1))

    def forward(self, text: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            text (`torch.Tensor` of shape `(B, n, d)`): The text's embeddings.
            attention_mask (`torch.Tensor` of shape `(B, n)`): 1 for tokens, 0 for padding.

        Returns:
            The prompt `(B, N, d)` and where each query looks in the text, `(B, N, n)`: the last layer's attention,
            averaged over heads.
        """
        queries = self.queries.unsqueeze(0)
        prompt, attentions = self.layers[0](queries, text, attention_mask)
        for norm, layer in zip(self.norms, self.layers[1:], strict=True):
            queries = norm(queries + prompt)
            prompt, attentions = layer(queries, text, attention_mask)
        return prompt, attentions


class PromptAttention(nn.Module):
    """Cross-attention from prompt queries to the text, with the three matrices of Eq. 1 and no bias."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)

    def forward(
        self, queries: torch.Tensor, text: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Queries `(B, N, d)` or `(1, N, d)` read text `(B, n, d)` under its mask `(B, n)`; returns `(B, N, d)` and
        `(B, N, n)`.

        W_v is applied to what the queries read, because N is smaller than n: the product is the same.
        """
        width = text.shape[-1] // self.heads
        query = self.query(queries).unflatten(-1, (self.heads, width)).transpose(1, 2)
        key = self.key(text).unflatten(-1, (self.heads, width)).transpose(1, 2)
        scores = query @ key.transpose(2, 3) / math.sqrt(width)
        scores = scores.masked_fill(attention_mask[:, None, None, :] == 0, torch.finfo(scores.dtype).min)
        weights = scores.softmax(-1)
        read = self.value(weights.to(text.dtype) @ text.unsqueeze(1)).unflatten(-1, (self.heads, width))
        # head h keeps its own slice of what it read
        prompt = read.diagonal(dim1=1, dim2=3).movedim(-1, 2).flatten(2)
        return prompt, weights.mean(1)


class UnconditionalPrompt(nn.Module):
    """N learnable vectors of width d, the same for every text."""

    def __init__(self, length: int, width: int):
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(length, width))

    def forward(self, text: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The prompt `(B, N, d)`; there is no attention to report."""
        return self.vectors.unsqueeze(0).expand(text.shape[0], -1, -1), None


class PrefixPrompt(nn.Module):
    """N learnable vectors for every encoder layer, from which that layer's own projections make keys and values.

    Prefix tuning gives each layer N extra keys and values. Few encoders take them as an argument, so the same is
    reached through the layer's input: N positions stand behind the text, and before every layer their states are
    replaced by that layer's vectors (the "deep" prompts of VPT, arXiv 2203.12119). What the layer computes *at* those
    positions is overwritten again by the next, so they act as keys and values alone.
    """

    def __init__(self, length: int, width: int, layers: int):
        super().__init__()
        self.layer_vectors = nn.Parameter(torch.empty(layers, length, width))

    def forward(self, text: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The vectors of every layer `(layers, N, d)`; there is no attention to report."""
        return self.layer_vectors, None


def init_prompt_weights(module: nn.Module) -> None:
    """Initialize one prompt module; called for every module by `PreTrainedModel._init_weights`.

    Queries and projections start so that attention already differs between queries (unit-variance queries, Xavier
    projections); learnable vectors start at BERT's embedding scale, 0.02.
    """
    if isinstance(module, ConditionalPrompt):
        init.normal_(module.queries, std=1.0)
    elif isinstance(module, PromptAttention):
        for projection in (module.query, module.key, module.value):
            init.xavier_uniform_(projection.weight)
    elif isinstance(module, UnconditionalPrompt):
        init.normal_(module.vectors, std=0.02)
    elif isinstance(module, PrefixPrompt):
        init.normal_(module.layer_vectors, std=0.02)
