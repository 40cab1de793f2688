import json

import pytest

pytest.importorskip("PIL")
import torch
from PIL import Image
from support import tiny_vision

from modeling_cotpd.errors import KnowledgeError, SettingError
from modeling_cotpd.knowledge.captioner import TransformersCaptioner, caption_line, pick_dtype
from modeling_cotpd.knowledge.images import ImageProblem

COLOURS = [
    Image.new("RGB", (9 + number, 20 - number), colour) for number, colour in enumerate(("red", "blue", "white"))
]
MAKERS = {
    maker.__name__: maker
    for maker in (tiny_vision.blip2, tiny_vision.blip, tiny_vision.vision_encoder_decoder, tiny_vision.llava)
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    torch.set_num_threads(1)
    return {name: str(maker(tmp_path_factory.mktemp(name))) for name, maker in MAKERS.items()}


@pytest.mark.parametrize("family", MAKERS)
def test_captions_depend_on_the_picture_and_not_on_the_batch(folders, family):
    captioner = TransformersCaptioner(folders[family], max_new_tokens=6)
    together = captioner.caption(COLOURS)
    assert [captioner.caption([image])[0] for image in COLOURS] == together
    assert len(set(together)) > 1
    for text in together:
        assert isinstance(text, str)
        assert 0 < len(text.split()) <= 6
        assert set(text.split()) <= set(tiny_vision.WORDS)


@pytest.mark.parametrize("family", ["blip2", "blip"])
def test_the_prompt_is_used_but_not_part_of_the_caption(folders, family):
    free = TransformersCaptioner(folders[family], max_new_tokens=6).caption(COLOURS)
    captioner = TransformersCaptioner(folders[family], max_new_tokens=6, prompt="a boat")
    asked = captioner.caption(COLOURS)
    assert asked != free
    inputs = captioner._inputs(COLOURS)
    raw = captioner.model.generate(**inputs, max_new_tokens=6, do_sample=False)
    whole = captioner.tokenizer.batch_decode(raw, skip_special_tokens=True)
    assert [text.strip().removeprefix("a boat").strip() for text in whole] == asked


def test_a_picture_that_the_processor_rejects_costs_no_other_its_caption(folders, monkeypatch):
    captioner = TransformersCaptioner(folders["blip"], max_new_tokens=4)
    expected = captioner.caption(COLOURS)
    inner = captioner.processor.image_processor.preprocess

    def picky(images, *arguments, **options):
        if any(image.size == COLOURS[1].size for image in images):
            raise ValueError("odd shape")
        return inner(images, *arguments, **options)

    monkeypatch.setattr(captioner.processor.image_processor, "preprocess", picky)
    first, second, third = captioner.caption(COLOURS)
    assert [first, third] == [expected[0], expected[2]]
    assert isinstance(second, ImageProblem) and second.reason == "not accepted by the model"


def test_out_of_memory_names_the_batch_size(folders, monkeypatch):
    captioner = TransformersCaptioner(folders["blip2"])

    def full(**_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(captioner.model, "generate", full)
    with pytest.raises(KnowledgeError, match="--batch-size"):
        captioner.caption(COLOURS)


def test_pickled_weights_are_refused(folders, tmp_path):
    model = TransformersCaptioner(folders["blip"]).model
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    TransformersCaptioner(folders["blip"]).processor.save_pretrained(tmp_path)
    with pytest.raises(KnowledgeError, match="safetensors"):
        TransformersCaptioner(str(tmp_path))


def test_remote_code_is_not_run_unasked(tmp_path):
    config = {"model_type": "strange", "auto_map": {"AutoConfig": "evil.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text("open('ran', 'w').close()\n")
    with pytest.raises(KnowledgeError):
        TransformersCaptioner(str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_a_model_of_another_kind_is_reported(tmp_path):
    tiny_vision.clip(tmp_path)
    with pytest.raises(KnowledgeError, match="captioning model"):
        TransformersCaptioner(str(tmp_path))


def test_a_prompt_for_an_encoder_decoder_is_reported(folders):
    with pytest.raises(SettingError, match="takes no prompt"):
        TransformersCaptioner(folders["vision_encoder_decoder"], prompt="a red")


def test_half_precision_runs(folders):
    captioner = TransformersCaptioner(folders["blip"], max_new_tokens=4, dtype="bfloat16")
    assert captioner.model.dtype == torch.bfloat16
    assert all(isinstance(text, str) for text in captioner.caption(COLOURS))


def test_dtypes():
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32
    assert pick_dtype("float16", torch.device("cpu")) == torch.float16
    with pytest.raises(SettingError, match="int8"):
        pick_dtype("int8", torch.device("cpu"))


def test_caption_line():
    assert caption_line(" a dog\n in rain ") == "a dog in rain"
    assert caption_line("A photo of a dog", "a photo  of") == "a dog"
    assert caption_line(" \n").reason == "empty caption"


def test_a_chat_model_is_asked_through_its_template(folders):
    captioner = TransformersCaptioner(folders["llava"], max_new_tokens=5)
    assert captioner.is_chat and captioner.prompt == "Describe the image in one sentence."
    ids = captioner._inputs(COLOURS)["input_ids"]
    assert (ids == captioner.model.config.image_token_id).sum(1).tolist() == [4, 4, 4]
    asked = TransformersCaptioner(folders["llava"], max_new_tokens=5, prompt="the dog in the rain")
    inputs = asked._inputs(COLOURS[:1])
    raw = asked.model.generate(**inputs, max_new_tokens=5, do_sample=False)
    assert "the dog in the rain" in asked.tokenizer.decode(raw[0], skip_special_tokens=True)
    new = asked.tokenizer.decode(raw[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert [str(text) for text in asked.caption(COLOURS[:1])] == [" ".join(new.split())]
