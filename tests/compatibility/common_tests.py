"""transformers' common tests on our classes. Run by `run.py`, which fetches them; ordinary test runs pass it over."""

import unittest

import torch
from support.tiny_models import tiny_encoder_config
from transformers_tests.test_configuration_common import ConfigTester
from transformers_tests.test_modeling_common import ModelTesterMixin, ids_tensor

from modeling_cotpd import CoTPDConfig, CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.modeling_cotpd import CoTPDModel


class Small:
    """Small configurations and inputs, as the mixin asks for them."""

    base_model_class = CoTPDModel
    batch_size, seq_length, hidden_size, num_hidden_layers, num_attention_heads = 3, 7, 32, 2, 2
    num_labels = 5

    def __init__(self, family: str, prompt_type: str, is_training: bool):
        self.family, self.prompt_type, self.is_training = family, prompt_type, is_training
        self.prompt_length = 0 if prompt_type == "none" else 3
        # Attention of the encoder is over text and prompt
        self.encoder_seq_length = self.key_length = self.seq_length + self.prompt_length

    def get_config(self) -> CoTPDConfig:
        return CoTPDConfig(
            encoder_config=tiny_encoder_config(self.family),
            prompt_type=self.prompt_type,
            prompt_length=3,
            num_labels=self.num_labels,
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[CoTPDConfig, dict]:
        ids = ids_tensor([self.batch_size, self.seq_length], 140) + 5
        return self.get_config(), {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


class CommonTests(ModelTesterMixin):
    """What all classes share."""

    family, prompt_type, is_training = "bert", "conditional", True

    def setUp(self):
        self.model_tester = Small(self.family, self.prompt_type, self.is_training)

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class, return_labels=False)
        size = self.model_tester.batch_size
        if model_class is CoTPDForRelationExtraction:
            inputs["marker_positions"] = torch.tensor([[1, 3]] * size)
        if return_labels and model_class is not CoTPDModel:
            shape = (size,) if model_class is CoTPDForRelationExtraction else (size, self.model_tester.seq_length)
            inputs["labels"] = torch.zeros(shape, dtype=torch.long)
        return inputs


class BaseModelTest(CommonTests, unittest.TestCase):
    all_model_classes = (CoTPDModel,)
    # A bare model has no loss. The mixin leaves out those that transformers itself lists, for the same reason.
    is_training = False

    @unittest.skip("CoTPDModel always returns its output class; the models with a head take return_dict")
    def test_model_outputs_equivalence(self):
        pass


class TokenClassificationTest(CommonTests, unittest.TestCase):
    all_model_classes = (CoTPDForTokenClassification,)


class RelationExtractionTest(CommonTests, unittest.TestCase):
    all_model_classes = (CoTPDForRelationExtraction,)


class UnconditionalPromptTest(CommonTests, unittest.TestCase):
    all_model_classes = (CoTPDForTokenClassification,)
    prompt_type = "unconditional"


class PrefixPromptTest(CommonTests, unittest.TestCase):
    all_model_classes = (CoTPDForTokenClassification,)
    prompt_type = "prefix"


class RotaryEncoderTest(CommonTests, unittest.TestCase):
    all_model_classes = (CoTPDForTokenClassification,)
    family = "modernbert"


class RelativeEncoderTest(CommonTests, unittest.TestCase):
    all_model_classes = (CoTPDForTokenClassification,)
    family = "deberta-v2"

    @unittest.skip(
        "DeBERTa shares its relative embeddings between checkpointed layers; the stock model fails likewise"
    )
    def test_training_gradient_checkpointing_use_reentrant_true(self):
        pass


class ConfigurationTest(unittest.TestCase):
    def test_config(self):
        self.model_tester = Small("bert", "conditional", True)
        tester = ConfigTester(self, config_class=CoTPDConfig, has_text_modality=False, prompt_length=4)
        tester.run_common_tests()
