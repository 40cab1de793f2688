"""A linear-chain conditional random field whose unlabelled positions are latent."""

import torch
from torch import nn
from transformers import initialization as init

NO_PATH = -1.0e9  # finite, so that gradients of impossible paths are 0 and not NaN


class LinearChainCRF(nn.Module):
    """Scores tag sequences over all subword tokens of a text.

    Tokens without a gold tag are summed over, in training as at inference, so that the chain needs no word boundaries
    and runs the same way on raw text.
    """

    def __init__(self, num_labels: int):
        super().__init__()
        self.start = nn.Parameter(torch.empty(num_labels))
        self.end = nn.Parameter(torch.empty(num_labels))
        self.transitions = nn.Parameter(torch.empty(num_labels, num_labels))

    def forward(self, emissions: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Log of the posterior marginals, `(B, n, C)`: softmax of it gives p(tag at i | text).

        Takes scores per position `(B, n, C)` and the mask `(B, n)`, 0 for padding on either side.
        """
        emissions = emissions.float()
        forwards = self._forward_scores(emissions, attention_mask)
        backwards = self._backward_scores(emissions, attention_mask)
        return torch.log_softmax(forwards + backwards, -1)

    def nll(self, emissions: torch.Tensor, labels: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood `(B,)` of `labels` `(B, n)`, summed over all tags where one is -100: latent."""
        emissions = emissions.float()
        tags = torch.arange(emissions.shape[-1], device=emissions.device)
        excluded = (labels.unsqueeze(-1) != tags) & (labels.unsqueeze(-1) != -100)
        observed = emissions.masked_fill(excluded, NO_PATH)
        return self._log_partition(emissions, attention_mask) - self._log_partition(observed, attention_mask)

    def _log_partition(self, emissions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return torch.logsumexp(self._forward_scores(emissions, mask)[:, -1] + self.end, -1)

    def _forward_scores(self, emissions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Log-sum of all paths that end at (i, tag), `(B, n, C)`; padding repeats the last token's."""
        begins = (mask != 0) & ((mask != 0).cumsum(1) == 1)  # the first token, which padding may precede
        score = self.start + emissions[:, 0]
        scores = [score]
        for i in range(1, emissions.shape[1]):
            step = torch.logsumexp(score.unsqueeze(2) + self.transitions, 1)
            step = torch.where(begins[:, i, None], self.start, step) + emissions[:, i]
            score = torch.where(mask[:, i, None].bool(), step, score)
            scores.append(score)
        return torch.stack(scores, 1)

    def _backward_scores(self, emissions: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Log-sum of all paths that leave (i, tag), `(B, n, C)`."""
        score = self.end.expand_as(emissions[:, 0])
        scores = [score]
        for i in range(emissions.shape[1] - 1, 0, -1):
            step = torch.logsumexp(self.transitions + (emissions[:, i] + score).unsqueeze(1), 2)
            score = torch.where(mask[:, i, None].bool(), step, score)
            scores.append(score)
        return torch.stack(scores[::-1], 1)

    def init_weights(self) -> None:
        """Small random scores, as usual for CRF layers (uniform in [-0.1, 0.1])."""
        for parameter in (self.start, self.end, self.transitions):
            init.uniform_(parameter, -0.1, 0.1)
