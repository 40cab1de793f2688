"""The distillation loss, as a pure function of logits."""

import torch


def distillation_kl(
    prompt_logits: torch.Tensor, knowledge_logits: torch.Tensor, mask: torch.Tensor, temperature: float = 1.0
) -> torch.Tensor:
    """Eq. 4: KL(p_knowledge || p_prompt), summed over the positions that count.

    Args:
        prompt_logits (`torch.Tensor` of shape `(B, n, C)` or `(B, C)`): Logits of the prompt view.
        knowledge_logits (`torch.Tensor` of the same shape): Logits of the knowledge view.
        mask (`torch.Tensor` of shape `(B, n)` or `(B,)`): Nonzero where the views are compared.
        temperature (`float`, *optional*, defaults to 1.0): Both distributions are softened by it and the result is
            multiplied by its square, so that the gradient keeps its size (Hinton et al., arXiv 1503.02531).

    Returns:
        A float32 scalar: the sum. An empty mask gives 0 with a gradient path.

    Example:

    ```python
    >>> import torch
    >>> from modeling_cotpd.training.losses import distillation_kl
    >>> same = torch.tensor([[1.0, 2.0]])
    >>> distillation_kl(same, same, torch.tensor([1])).item()
    0.0
    ```
    """
    prompt = torch.log_softmax(prompt_logits.float() / temperature, -1)
    knowledge = torch.log_softmax(knowledge_logits.float() / temperature, -1)
    divergence = (knowledge.exp() * (knowledge - prompt)).sum(-1)
    return divergence.masked_fill(mask == 0, 0.0).sum() * temperature**2
