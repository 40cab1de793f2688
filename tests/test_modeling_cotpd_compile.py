"""torch.compile gives what the model gives, for batches of changing shapes, backward pass included."""

import pytest
import torch
from support.tiny_models import tiny_model

from modeling_cotpd import CoTPDForTokenClassification


@pytest.mark.slow
def test_shapes_may_change_from_batch_to_batch():
    model = tiny_model(CoTPDForTokenClassification, classifier_dropout=0.0).train()
    compiled = torch.compile(model)
    for rows, pieces, knowledge_pieces in ((4, 14, 20), (4, 12, 22), (3, 9, 19)):
        ids = torch.randint(5, 100, (rows, pieces))
        mask = torch.ones_like(ids)
        mask[1, pieces - 2 :] = 0
        more = torch.randint(5, 100, (rows, knowledge_pieces - pieces))
        inputs = {"input_ids": ids, "attention_mask": mask, "knowledge_input_ids": torch.cat([ids, more], 1)}
        found = []
        for run in (compiled, model):
            model.zero_grad()
            output = run(**inputs)
            (output.logits - output.knowledge_logits).square().sum().backward()
            gradient = model.get_input_embeddings().weight.grad.clone()
            found.append((output.logits.detach(), output.knowledge_logits.detach(), gradient))
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)
