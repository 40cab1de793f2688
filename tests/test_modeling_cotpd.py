"""Both heads around every encoder family and prompt type: independence of the batch, losses, gradients, saving."""

import numpy as np
import pytest
import torch
import transformers
from support.tiny_models import (
    ENCODER_FAMILIES,
    HIDDEN,
    LABELS,
    POSITIONS,
    PROMPT_TYPES,
    pad_id,
    padded,
    tiny_encoder_config,
    tiny_model,
)

from modeling_cotpd import CoTPDConfig, CoTPDForRelationExtraction, CoTPDForTokenClassification, CoTPDModel
from modeling_cotpd.encoder_cotpd import encoder_layers, prompt_view_layout
from modeling_cotpd.training.losses import distillation_kl

EVERY_MODEL = pytest.mark.parametrize(
    ("family", "prompt_type"), [(family, kind) for family in ENCODER_FAMILIES for kind in PROMPT_TYPES]
)
ROWS = [[2, 31, 47, 53, 60, 3], [2, 9, 3], [2, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 3]]
KNOWLEDGE = [ROWS[0] + [71, 72, 73, 3], ROWS[1] + [90, 3, 91, 92, 93, 94, 3], ROWS[2] + [33, 3]]
TAGS = [[-100, 0, 1, 2, -100, -100], [-100, 3, -100], [-100] * 12]
TIGHT = {"atol": 1e-5, "rtol": 0}


def two_views(model, tags=None) -> dict[str, torch.Tensor]:
    """A batch of three rows with both views; the last row has no labels."""
    width = max(map(len, ROWS))
    batch = padded(ROWS, width, pad_id(model))
    knowledge = padded(KNOWLEDGE, max(map(len, KNOWLEDGE)) + 2, pad_id(model))
    batch |= {f"knowledge_{name}": value for name, value in knowledge.items()}
    if tags is not None:
        batch["labels"] = torch.tensor([row + [-100] * (width - len(row)) for row in tags])
    return batch


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


class TestIndependenceOfTheBatch:
    @EVERY_MODEL
    @torch.no_grad()
    def test_a_post_is_predicted_the_same_alone_in_a_batch_and_with_any_padding(self, family, prompt_type):
        model = tiny_model(CoTPDForTokenClassification, family, prompt_type=prompt_type)
        alone = [model(input_ids=torch.tensor([row])).logits[0] for row in ROWS]
        assert max(logits.std() for logits in alone) > 0.05, "logits that hardly differ would prove nothing"
        for width in (12, 13, 31, 45):
            together = model(**padded(ROWS, width, pad_id(model))).logits
            for row, expected, logits in zip(ROWS, alone, together, strict=True):
                torch.testing.assert_close(logits[: len(row)], expected, **TIGHT)
        left = model(**padded(ROWS, 17, pad_id(model), side="left")).logits
        for row, expected, logits in zip(ROWS, alone, left, strict=True):
            torch.testing.assert_close(logits[-len(row) :], expected, **TIGHT)

    @EVERY_MODEL
    @torch.no_grad()
    def test_a_relation_is_predicted_the_same_alone_in_a_batch_and_with_any_padding(self, family, prompt_type):
        model = tiny_model(CoTPDForRelationExtraction, family, prompt_type=prompt_type)
        places = torch.tensor([[1, 3], [1, 1], [9, 2]])
        alone = [
            model(input_ids=torch.tensor([row]), marker_positions=place[None]).logits[0]
            for row, place in zip(ROWS, places, strict=True)
        ]
        assert torch.stack(alone).std() > 0.05
        for side, width in (("right", 12), ("right", 40), ("left", 21)):
            batch = padded(ROWS, width, pad_id(model), side)
            shift = torch.tensor([[width - len(row) if side == "left" else 0] for row in ROWS])
            together = model(**batch, marker_positions=places + shift).logits
            torch.testing.assert_close(together, torch.stack(alone), **TIGHT)

    @pytest.mark.parametrize("family", ENCODER_FAMILIES)
    @torch.no_grad()
    def test_the_knowledge_view_of_a_row_does_not_depend_on_its_batch(self, family):
        model = tiny_model(CoTPDForTokenClassification, family)
        together = model(**two_views(model)).knowledge_logits
        for row, knowledge, logits in zip(ROWS, KNOWLEDGE, together, strict=True):
            one = model(input_ids=torch.tensor([row]), knowledge_input_ids=torch.tensor([knowledge]))
            torch.testing.assert_close(logits[: len(row)], one.knowledge_logits[0], **TIGHT)

    @pytest.mark.parametrize("side", ["right", "left"])
    @torch.no_grad()
    def test_a_crf_predicts_a_post_the_same_with_any_padding(self, side):
        model = tiny_model(CoTPDForTokenClassification, use_crf=True)
        torch.nn.init.normal_(model.crf.transitions)
        torch.nn.init.normal_(model.crf.start)
        together = model(**padded(ROWS, 17, pad_id(model), side)).logits
        for row, logits in zip(ROWS, together, strict=True):
            kept = logits[: len(row)] if side == "right" else logits[-len(row) :]
            torch.testing.assert_close(kept, model(input_ids=torch.tensor([row])).logits[0], **TIGHT)

    @torch.no_grad()
    def test_embeddings_instead_of_ids_give_the_same(self):
        model = tiny_model(CoTPDForTokenClassification)
        batch = padded(ROWS, 12, 0)
        embedded = model(
            inputs_embeds=model.get_input_embeddings()(batch["input_ids"]), attention_mask=batch["attention_mask"]
        )
        torch.testing.assert_close(embedded.logits, model(**batch).logits)

    @torch.no_grad()
    def test_a_boolean_mask_and_segment_ids_change_nothing(self):
        model = tiny_model(CoTPDForTokenClassification)
        batch = padded(ROWS, 12, 0)
        other = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"].bool()}
        given = model(**other, token_type_ids=torch.ones_like(batch["input_ids"]))
        torch.testing.assert_close(given.logits, model(**batch).logits)


class TestPromptView:
    def test_the_layout_is_text_then_prompt_then_padding(self):
        mask = torch.tensor([[1, 1, 1, 0, 0], [0, 0, 1, 1, 0], [1, 1, 1, 1, 1]])
        text, prompt, attended = prompt_view_layout(mask, 2)
        assert text[0].tolist() == [0, 1, 2, 5, 6]
        assert text[1].tolist()[2:4] == [0, 1] and sorted(text[1].tolist()) == [0, 1, 4, 5, 6]
        assert prompt.tolist() == [[3, 4], [2, 3], [5, 6]]
        assert attended.tolist() == [[1] * 5 + [0] * 2, [1] * 4 + [0] * 3, [1] * 7]

    @pytest.mark.parametrize("prompt_type", ["conditional", "unconditional"])
    @torch.no_grad()
    def test_the_view_is_the_encoder_on_text_and_prompt_side_by_side(self, prompt_type):
        """[x; p] written out for one post: embeddings, then the prompt's vectors, through the bare encoder."""
        model = tiny_model(CoTPDForTokenClassification, prompt_type=prompt_type)
        text = model.get_input_embeddings()(torch.tensor([ROWS[0]]))
        prompt, _ = model.cotpd.prompt(text, torch.ones(1, 6))
        states = model.cotpd.encoder(inputs_embeds=torch.cat([text, prompt], 1)).last_hidden_state[:, :6]
        given = model(input_ids=torch.tensor([ROWS[0]])).logits
        torch.testing.assert_close(given, model.classifier(states))

    @pytest.mark.parametrize("family", ENCODER_FAMILIES)
    @torch.no_grad()
    def test_prefix_vectors_stand_before_every_layer(self, family):
        """PrefixD written out: at the prompt's places every layer reads its own vectors."""
        model = tiny_model(CoTPDForTokenClassification, family, prompt_type="prefix")
        seen = []
        for layer in encoder_layers(model.cotpd.encoder):
            layer.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()), prepend=False)
        # these hooks stand before the model's own; a second look at the layer's true input is its own hook's result
        for index, layer in enumerate(encoder_layers(model.cotpd.encoder)):
            forward = layer.forward
            layer.forward = lambda *args, _forward=forward, **kw: (
                seen.append(args[0].clone()),
                _forward(*args, **kw),
            )[1]
            del index
        model(**padded(ROWS, 15, pad_id(model)))
        inputs = seen[1::2]
        assert len(inputs) == 2
        for states, vectors in zip(inputs, model.cotpd.prompt.layer_vectors, strict=True):
            for row, length in enumerate(map(len, ROWS)):
                torch.testing.assert_close(states[row, length : length + 3], vectors)
        assert not [
            hook for layer in encoder_layers(model.cotpd.encoder) for hook in list(layer._forward_pre_hooks)[1:]
        ]

    @pytest.mark.parametrize("family", ENCODER_FAMILIES)
    @pytest.mark.parametrize("prompt_type", PROMPT_TYPES)
    @torch.no_grad()
    def test_only_a_prompt_changes_the_prediction(self, family, prompt_type):
        model = tiny_model(CoTPDForTokenClassification, family, prompt_type=prompt_type)
        given = model(input_ids=torch.tensor([ROWS[0]])).logits
        bare = model.classifier(model.cotpd.encoder(input_ids=torch.tensor([ROWS[0]])).last_hidden_state)
        difference = (given - bare).abs().max()
        assert (difference < 1e-5) if prompt_type == "none" else (difference > 1e-3)

    @torch.no_grad()
    def test_prompt_attentions_are_distributions_over_the_text(self):
        model = tiny_model(CoTPDForTokenClassification, prompt_layers=2, prompt_attention_heads=4)
        batch = padded(ROWS, 14, 0)
        output = model(**batch, output_prompt_attentions=True)
        assert output.prompt_attentions.shape == (3, 3, 14)
        torch.testing.assert_close(output.prompt_attentions.sum(-1), torch.ones(3, 3))
        padding = (batch["attention_mask"] == 0)[:, None].expand(-1, 3, -1)
        assert (output.prompt_attentions[padding] == 0).all()
        assert model(**batch).prompt_attentions is None

    @torch.no_grad()
    def test_no_attention_is_reported_where_there_is_none(self):
        for prompt_type in ("unconditional", "prefix", "none"):
            model = tiny_model(CoTPDForTokenClassification, prompt_type=prompt_type)
            assert model(**padded(ROWS, 12, 0), output_prompt_attentions=True).prompt_attentions is None


class TestOutputs:
    @torch.no_grad()
    def test_shapes_and_fields(self):
        model = tiny_model(CoTPDForTokenClassification)
        model.set_attn_implementation("eager")
        output = model(**two_views(model, TAGS), output_hidden_states=True, output_attentions=True)
        assert output.logits.shape == output.knowledge_logits.shape == (3, 12, 5)
        assert output.nll.shape == output.knowledge_nll.shape == (3,) and output.loss.shape == ()
        assert [states.shape for states in output.hidden_states] == [(3, 15, HIDDEN)] * 3
        assert [weights.shape for weights in output.attentions] == [(3, 2, 15, 15)] * 2
        alone = model(**padded(ROWS, 12, 0))
        assert [alone.loss, alone.nll, alone.knowledge_logits, alone.knowledge_nll] == [None] * 4
        assert alone.hidden_states is None and alone.attentions is None

    @torch.no_grad()
    def test_tuples_hold_the_same_values(self):
        model = tiny_model(CoTPDForTokenClassification)
        loss, logits, knowledge_logits, nll, knowledge_nll = model(**two_views(model, TAGS), return_dict=False)
        output = model(**two_views(model, TAGS))
        for given, expected in zip(
            (loss, logits, knowledge_logits, nll, knowledge_nll), output.to_tuple(), strict=True
        ):
            torch.testing.assert_close(given, expected)

    @torch.no_grad()
    def test_base_model_returns_both_views(self):
        model = tiny_model(CoTPDModel)
        states = model(
            torch.tensor([ROWS[0]]), knowledge_input_ids=torch.tensor([KNOWLEDGE[0]]), output_hidden_states=True
        )
        assert states.last_hidden_state.shape == states.knowledge_last_hidden_state.shape == (1, 6, HIDDEN)


class TestLosses:
    @EVERY_MODEL
    @torch.no_grad()
    def test_nll_and_kl_of_two_views_by_hand(self, family, prompt_type):
        model = tiny_model(CoTPDForTokenClassification, family, prompt_type=prompt_type)
        output = model(**two_views(model, TAGS))
        prompt, knowledge = softmax(output.logits.numpy()), softmax(output.knowledge_logits.numpy())
        labelled = [(row, place, tag) for row, tags in enumerate(TAGS) for place, tag in enumerate(tags) if tag >= 0]
        for probabilities, given in ((prompt, output.nll), (knowledge, output.knowledge_nll)):
            expected = np.zeros(3)
            for row, place, tag in labelled:
                expected[row] -= np.log(probabilities[row, place, tag])
            np.testing.assert_allclose(given.numpy(), expected, rtol=1e-5)
        np.testing.assert_allclose(output.loss.item(), output.knowledge_nll.numpy().sum() / 4, rtol=1e-5)
        text_only = model(**padded(ROWS, 12, pad_id(model)), labels=two_views(model, TAGS)["labels"])
        np.testing.assert_allclose(text_only.loss.item(), output.nll.numpy().sum() / 4, rtol=1e-5)
        mask = torch.zeros(3, 12)
        mask[0, 1:4], mask[2, 5] = 1, 1
        by_hand = sum(
            knowledge[row, place] @ (np.log(knowledge[row, place]) - np.log(prompt[row, place]))
            for row, place in ((0, 1), (0, 2), (0, 3), (2, 5))
        )
        assert by_hand > 1e-4
        kl = distillation_kl(output.logits, output.knowledge_logits, mask)
        np.testing.assert_allclose(kl.item(), by_hand, rtol=1e-4)

    @torch.no_grad()
    def test_relation_nll_by_hand(self):
        model = tiny_model(CoTPDForRelationExtraction)
        places = torch.tensor([[1, 3], [1, 1], [9, 2]])
        output = model(**two_views(model), marker_positions=places, labels=torch.tensor([4, -100, 0]))
        for logits, given in ((output.logits, output.nll), (output.knowledge_logits, output.knowledge_nll)):
            probabilities = softmax(logits.numpy())
            np.testing.assert_allclose(
                given.numpy(), [-np.log(probabilities[0, 4]), 0, -np.log(probabilities[2, 0])], rtol=1e-5
            )
        np.testing.assert_allclose(output.loss.item(), output.knowledge_nll.numpy().sum() / 2, rtol=1e-6)

    @torch.no_grad()
    def test_the_relation_is_read_at_head_then_tail(self):
        model = tiny_model(CoTPDForRelationExtraction)
        row = torch.tensor([ROWS[2]])
        states = model.cotpd(row).last_hidden_state[0]
        given = model(input_ids=row, marker_positions=torch.tensor([[9, 2]])).logits[0]
        torch.testing.assert_close(given, model.classifier(torch.cat([states[9], states[2]])))

    def test_rows_without_labels_give_zero_with_a_gradient_path(self):
        model = tiny_model(CoTPDForTokenClassification)
        output = model(**two_views(model, [[-100] * len(row) for row in ROWS]))
        assert output.loss.item() == 0 and output.nll.tolist() == [0, 0, 0]
        output.loss.backward()

    @torch.no_grad()
    def test_crf_nll_is_that_of_its_own_logits_path(self):
        model = tiny_model(CoTPDForTokenClassification, use_crf=True)
        output = model(**two_views(model, TAGS))
        torch.testing.assert_close(output.logits.exp().sum(-1), torch.ones(3, 12))
        # one labelled piece alone: the likelihood of its tag is its marginal
        np.testing.assert_allclose(output.nll[1].item(), -output.logits[1, 1, 3].item(), rtol=1e-4)
        np.testing.assert_allclose(output.knowledge_nll[1].item(), -output.knowledge_logits[1, 1, 3].item(), rtol=1e-4)
        assert output.nll[2].abs() < 1e-4


def training_loss(model, **inputs) -> torch.Tensor:
    output = model(**inputs)
    labels = inputs["labels"]
    mask = torch.ones_like(labels) if labels.ndim == 1 else inputs["attention_mask"]
    return output.knowledge_nll.sum() + distillation_kl(output.logits, output.knowledge_logits, mask)


def training_inputs(model) -> dict[str, torch.Tensor]:
    if isinstance(model, CoTPDForRelationExtraction):
        places = torch.tensor([[1, 3], [1, 1], [9, 2]])
        return {**two_views(model), "marker_positions": places, "labels": torch.tensor([4, -100, 0])}
    return two_views(model, TAGS)


class TestGradients:
    @EVERY_MODEL
    @pytest.mark.parametrize("kind", [CoTPDForTokenClassification, CoTPDForRelationExtraction])
    def test_every_trainable_tensor_moves_within_two_steps(self, family, prompt_type, kind):
        settings = {"prompt_layers": 2} if prompt_type == "conditional" else {}
        if kind is CoTPDForTokenClassification:
            settings["use_crf"] = True
        model = tiny_model(kind, family, prompt_type=prompt_type, **settings).train()
        before = {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        inputs = training_inputs(model)
        for _ in range(2):
            optimizer.zero_grad()
            training_loss(model, **inputs).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        after = dict(model.named_parameters())
        still = [
            name
            for name, value in before.items()
            # softmax does not see what all keys have in common
            if torch.equal(value, after[name]) and not name.endswith(("key.bias", "k.bias", "key_proj.bias"))
        ]
        assert still == []
        embeddings = "cotpd.encoder." + next(
            name
            for name, module in model.cotpd.encoder.named_modules()
            if module is model.cotpd.encoder.get_input_embeddings()
        )
        moved = (before[f"{embeddings}.weight"] != after[f"{embeddings}.weight"]).any(1).nonzero().flatten().tolist()
        occurring = {piece for row in KNOWLEDGE for piece in row}
        assert set(moved) == occurring

    # transformers' MPNet has no gradient checkpointing
    @pytest.mark.parametrize("family", [family for family in ENCODER_FAMILIES if family != "mpnet"])
    @pytest.mark.parametrize("prompt_type", PROMPT_TYPES)
    def test_gradient_checkpointing_gives_equal_gradients(self, family, prompt_type):
        gradients = []
        for checkpointing in (False, True):
            model = tiny_model(CoTPDForTokenClassification, family, prompt_type=prompt_type).train()
            if checkpointing:
                model.gradient_checkpointing_enable()
                assert [layer.gradient_checkpointing for layer in encoder_layers(model.cotpd.encoder)] == [True] * 2
            training_loss(model, **two_views(model, TAGS)).backward()
            gradients.append({name: value.grad for name, value in model.named_parameters()})
        for name, expected in gradients[0].items():
            torch.testing.assert_close(gradients[1][name], expected, msg=lambda text, name=name: f"{name}: {text}")

    def test_autocast_trains_in_bfloat16(self):
        for prompt_type in PROMPT_TYPES:
            model = tiny_model(CoTPDForTokenClassification, prompt_type=prompt_type).train()
            with torch.autocast("cpu", torch.bfloat16):
                loss = training_loss(model, **two_views(model, TAGS))
            loss.backward()
            assert loss.dtype == torch.float32 and all(
                torch.isfinite(value.grad).all() for value in model.parameters() if value.grad is not None
            )


class TestSaving:
    @EVERY_MODEL
    @torch.no_grad()
    def test_round_trip(self, family, prompt_type, tmp_path):
        settings = {"prompt_layers": 2} if prompt_type == "conditional" else {}
        kinds = (CoTPDForTokenClassification, CoTPDForRelationExtraction)
        for kind, extra in zip(kinds, ({"use_crf": True}, {}), strict=True):
            model = tiny_model(kind, family, prompt_type=prompt_type, **settings, **extra)
            model.save_pretrained(tmp_path / kind.__name__)
            again, report = kind.from_pretrained(tmp_path / kind.__name__, output_loading_info=True)
            assert not report["missing_keys"] and not report["unexpected_keys"]
            expected, given = model.state_dict(), again.state_dict()
            assert expected.keys() == given.keys()
            for name, value in expected.items():
                torch.testing.assert_close(given[name], value, rtol=0, atol=0)
            # buffers that are not saved come back too
            for (name, value), (_, other) in zip(model.named_buffers(), again.named_buffers(), strict=True):
                torch.testing.assert_close(other, value, rtol=0, atol=0, msg=name)
            inputs = {name: value for name, value in training_inputs(model).items() if name != "labels"}
            # the same weights at another address: a matrix product may round otherwise
            torch.testing.assert_close(again(**inputs).logits, model(**inputs).logits, rtol=1e-5, atol=1e-5)

    def test_files_are_safetensors(self, tmp_path):
        tiny_model(CoTPDForTokenClassification).save_pretrained(tmp_path)
        assert (tmp_path / "model.safetensors").is_file() and not list(tmp_path.glob("*.bin"))

    @pytest.mark.parametrize("prompt_type", PROMPT_TYPES)
    def test_weights_that_a_checkpoint_lacks_are_initialized(self, prompt_type, tmp_path):
        """A checkpoint of another prompt type: what is missing gets fresh weights, never raw memory."""
        tiny_model(CoTPDForTokenClassification, prompt_type="none").save_pretrained(tmp_path)
        config = CoTPDConfig.from_pretrained(tmp_path, prompt_type=prompt_type, prompt_layers=2, use_crf=True)
        model, _ = CoTPDForTokenClassification.from_pretrained(tmp_path, config=config, output_loading_info=True)
        assert all(torch.isfinite(value).all() for value in model.state_dict().values())
        assert model.crf.transitions.abs().max() <= 0.1 and model.crf.transitions.std() > 0.01
        if prompt_type == "conditional":
            assert 0.5 < model.cotpd.prompt.queries.std() < 2
            assert model.cotpd.prompt.norms[0].weight.eq(1).all() and model.cotpd.prompt.norms[0].bias.eq(0).all()
        elif prompt_type != "none":
            vectors = (
                model.cotpd.prompt.vectors if prompt_type == "unconditional" else model.cotpd.prompt.layer_vectors
            )
            assert 0.01 < vectors.std() < 0.03

    @pytest.mark.parametrize("family", ENCODER_FAMILIES)
    @torch.no_grad()
    def test_from_encoder_keeps_the_encoder(self, family, tmp_path):
        torch.manual_seed(0)
        encoder = transformers.AutoModel.from_config(tiny_encoder_config(family))
        encoder.save_pretrained(tmp_path)
        model = CoTPDForTokenClassification.from_encoder(tmp_path, num_labels=5, prompt_length=2).eval()
        ids = torch.tensor([ROWS[0]])
        expected = encoder.eval()(input_ids=ids).last_hidden_state
        torch.testing.assert_close(model.cotpd.encoder(input_ids=ids).last_hidden_state, expected)
        assert model.config.prompt_length == 2 and model.config.encoder_config.model_type == encoder.config.model_type
        model.save_pretrained(tmp_path / "saved")
        again = CoTPDForTokenClassification.from_pretrained(tmp_path / "saved")
        torch.testing.assert_close(again(input_ids=ids).logits, model(input_ids=ids).logits)

    def test_from_encoder_keeps_the_attention_implementation(self, tmp_path):
        transformers.AutoModel.from_config(tiny_encoder_config("bert")).save_pretrained(tmp_path)
        eager = {"attn_implementation": "eager"}
        for settings in ({"num_labels": 5}, {"config": CoTPDConfig(num_labels=5)}):
            model = CoTPDForTokenClassification.from_encoder(str(tmp_path), encoder_kwargs=eager, **settings)
            assert model.cotpd.encoder.config._attn_implementation == "eager"
            assert model(input_ids=torch.tensor([ROWS[0]]), output_attentions=True).attentions[0].shape[1] == 2

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_an_encoder_stored_in_half_precision_trains_in_full_precision(self, dtype, tmp_path):
        transformers.AutoModel.from_config(tiny_encoder_config("bert")).to(dtype).save_pretrained(tmp_path)
        model = CoTPDForTokenClassification.from_encoder(str(tmp_path), num_labels=5).train()
        assert {value.dtype for value in model.parameters()} == {torch.float32}
        training_loss(model, **two_views(model, TAGS)).backward()
        model.save_pretrained(tmp_path / "saved")
        again = CoTPDForTokenClassification.from_pretrained(tmp_path / "saved")
        assert {value.dtype for value in again.parameters()} == {torch.float32}

    @pytest.mark.parametrize("prompt_type", PROMPT_TYPES)
    def test_a_model_in_half_precision_predicts(self, prompt_type, tmp_path):
        tiny_model(CoTPDForTokenClassification, prompt_type=prompt_type).save_pretrained(tmp_path)
        model = CoTPDForTokenClassification.from_pretrained(tmp_path, dtype=torch.bfloat16)
        assert model(**padded(ROWS, 14, 0)).logits.dtype == torch.bfloat16


class TestErrors:
    @pytest.mark.parametrize("kind", PROMPT_TYPES)
    def test_text_longer_than_the_encoder(self, kind):
        model = tiny_model(CoTPDForTokenClassification, prompt_type=kind)
        limit = POSITIONS - (0 if kind == "none" else 3)
        assert model.cotpd.max_text_length == limit
        model(input_ids=torch.full((1, limit), 9))
        with pytest.raises(ValueError, match=f"{limit + 1} subword tokens, but only {limit} fit.*max_length={limit}"):
            model(input_ids=torch.full((1, limit + 1), 9))

    @pytest.mark.parametrize("family", ENCODER_FAMILIES)
    def test_the_longest_text_and_the_longest_knowledge_view_run(self, family):
        model = tiny_model(CoTPDForTokenClassification, family)
        limit = model.cotpd.max_text_length or POSITIONS
        knowledge = torch.full((1, POSITIONS), 9)
        model(input_ids=torch.full((1, limit), 9), knowledge_input_ids=knowledge)

    def test_a_knowledge_view_longer_than_the_encoder(self):
        model = tiny_model(CoTPDForTokenClassification)
        with pytest.raises(ValueError, match=r"knowledge view has 65 subword tokens.*64"):
            model(input_ids=torch.tensor([ROWS[0]]), knowledge_input_ids=torch.full((1, POSITIONS + 1), 9))

    @pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
    @pytest.mark.parametrize("prompt_type", ["conditional", "unconditional", "prefix"])
    def test_a_prompt_that_leaves_no_room_for_text(self, family, prompt_type):
        with pytest.raises(ValueError, match=f"prompt_length must leave room .* got {POSITIONS}"):
            tiny_model(CoTPDForTokenClassification, family, prompt_type=prompt_type, prompt_length=POSITIONS)
        model = tiny_model(CoTPDForTokenClassification, family, prompt_type=prompt_type, prompt_length=POSITIONS - 1)
        assert model(input_ids=torch.tensor([[9]])).logits.shape == (1, 1, 5)

    def test_knowledge_view_shorter_than_the_text(self):
        model = tiny_model(CoTPDForTokenClassification)
        with pytest.raises(ValueError, match="at least 6, got 3"):
            model(input_ids=torch.tensor([ROWS[0]]), knowledge_input_ids=torch.tensor([ROWS[1]]))

    def test_neither_or_both_inputs(self):
        model = tiny_model(CoTPDForTokenClassification)
        with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
            model()
        with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
            model(input_ids=torch.tensor([ROWS[0]]), inputs_embeds=torch.zeros(1, 6, HIDDEN))

    def test_marker_positions_missing(self):
        with pytest.raises(ValueError, match="marker_positions is missing"):
            tiny_model(CoTPDForRelationExtraction)(input_ids=torch.tensor([ROWS[0]]))

    def test_encoder_without_a_list_of_layers(self):
        encoder = transformers.AlbertConfig(
            vocab_size=50, hidden_size=HIDDEN, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48
        )
        with pytest.raises(ValueError, match="no list of 3 layers, which prompt_type='prefix' needs"):
            CoTPDForTokenClassification(CoTPDConfig(encoder_config=encoder, prompt_type="prefix", num_labels=5))


@torch.no_grad()
def test_an_encoder_with_narrow_embeddings_works():
    """ALBERT's embeddings are narrower than its layers: the prompt is as wide as the embeddings."""
    encoder = transformers.AlbertConfig(
        vocab_size=150,
        embedding_size=16,
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=POSITIONS,
    )
    model = CoTPDForTokenClassification(CoTPDConfig(encoder_config=encoder, num_labels=5)).eval()
    assert model.cotpd.prompt.queries.shape == (2, 16)
    alone = model(input_ids=torch.tensor([ROWS[0]])).logits[0]
    torch.testing.assert_close(model(**padded(ROWS, 20, 0)).logits[0, :6], alone, **TIGHT)


@torch.no_grad()
def test_every_token_of_a_word_has_the_label_of_its_first():
    model = tiny_model(CoTPDForTokenClassification, "bert", id2label=dict(enumerate(LABELS)))
    ids = torch.tensor([[5, 9, 30, 31, 9, 30, 6], [5, 30, 9, 31, 30, 6, 0]])
    mask = (ids > 0).long()
    plain = model(input_ids=ids, attention_mask=mask).logits
    model.read_words([index in (30, 31) for index in range(40)])
    read = model(input_ids=ids, attention_mask=mask).logits
    inside = {1: 2, 3: 4}  # B-LOC to I-LOC, B-PER to I-PER
    for row, tokens in enumerate(ids.tolist()):
        first = 0
        for place, token in enumerate(tokens):
            if token not in (30, 31):
                first = place
                assert torch.equal(read[row, place], plain[row, place])
            else:
                label = int(plain[row, first].argmax())
                assert int(read[row, place].argmax()) == inside.get(label, label)
                assert read[row, place].sort().values.tolist() == plain[row, first].sort().values.tolist()
    model.train()
    assert torch.equal(model(input_ids=ids, attention_mask=mask).logits, plain)  # in training every token has its own
    model.eval().read_words(None)
    assert torch.equal(model(input_ids=ids, attention_mask=mask).logits, plain)


@torch.no_grad()
def test_the_word_behind_a_prefix_has_the_label_of_the_prefix():
    model = tiny_model(CoTPDForTokenClassification, "bert", id2label=dict(enumerate(LABELS)))
    ids = torch.tensor([[5, 9, 20, 30, 31, 9, 9]])
    plain = model(input_ids=ids).logits[0]
    model.read_words([index == 31 for index in range(40)], {"#": 20})
    read = model(input_ids=ids).logits[0]
    label = int(plain[2].argmax())
    inside = {1: 2, 3: 4}.get(label, label)
    assert read.argmax(-1)[2:5].tolist() == [label, inside, inside]
    assert torch.equal(read[[0, 1, 2, 5, 6]], plain[[0, 1, 2, 5, 6]])


@torch.no_grad()
@pytest.mark.parametrize(
    "labels, expected",
    [
        ([1, 0, 2], [1, 2, 2]),  # Holt-Ray
        ([2, 3, 2], [2, 2, 2]),  # whatever the hyphen's own label says
        ([1, 2, 2], [1, 2, 2]),
        ([1, 0, 1], [1, 0, 1]),  # two entities
        ([1, 0, 4], [1, 0, 4]),  # of two types
        ([1, 0, 0], [1, 0, 0]),
        ([0, 0, 2], [0, 0, 2]),  # a stray I- behind no entity
    ],
)
def test_a_hyphen_within_an_entity_belongs_to_it(labels, expected):
    model = tiny_model(CoTPDForTokenClassification, "bert", id2label=dict(enumerate(LABELS)))
    model.read_words([False] * 40, None, [20])
    logits = torch.nn.functional.one_hot(torch.tensor([[0, *labels, 0]]), 5).float()
    read = model._of_words(logits, torch.tensor([[5, 9, 20, 10, 6]])).argmax(-1)
    assert read.tolist() == [[0, *expected, 0]]
    read = model._of_words(logits, torch.tensor([[5, 9, 21, 10, 6]])).argmax(-1)
    assert read.tolist() == [[0, *labels, 0]]  # another sign
    for place in range(3):  # a text that begins or ends with a hyphen
        row = torch.tensor([[20 if place == index else 9 for index in range(3)]])
        read = model._of_words(logits[:, 1:-1], row).argmax(-1).tolist()
        assert read == [expected if place == 1 else labels]


def test_the_reading_of_words_is_saved(tmp_path):
    model = tiny_model(CoTPDForTokenClassification, "bert")
    model.read_words([True, False, True], {"#": 20}, [7])
    model.save_pretrained(tmp_path)
    loaded = CoTPDForTokenClassification.from_pretrained(tmp_path)
    assert loaded.config.word_prefixes == {"#": 20} and loaded.config.word_hyphens == [7]
    assert loaded.continues_word.tolist() == model.continues_word.tolist() and loaded.continues_word.sum() == 2
