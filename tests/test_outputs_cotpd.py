"""What models return can be read by name, by index, and as a tuple."""

import torch

from modeling_cotpd.outputs_cotpd import CoTPDModelOutput, CoTPDOutput


def test_fields_that_are_not_there_are_left_out():
    logits = torch.zeros(1, 2, 3)
    output = CoTPDOutput(logits=logits)
    assert output[0] is logits and output.to_tuple() == (logits,) and output.knowledge_logits is None
    both = CoTPDModelOutput(last_hidden_state=logits, knowledge_last_hidden_state=logits)
    assert list(both) == ["last_hidden_state", "knowledge_last_hidden_state"]
