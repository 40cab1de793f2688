"""Tiny vision models with random weights, saved to a folder the way the Hub holds the real ones."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertLMHeadModel,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipProcessor,
    CLIPConfig,
    CLIPModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTModel,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

WORDS = ["a", "red", "blue", "dog", "boat", "street", "crowd", "on", "in", "the", "sun", "rain"]
SMALL = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def tokenizer(ends=True):
    special = ["<s>", "</s>", "<pad>", "<unk>"]
    vocabulary = {word: number for number, word in enumerate(special + WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="<s> $A" + (" </s>" if ends else ""), special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def liven(model):
    """Weights large enough that the answer depends on the picture, and a bias against the special tokens."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
            if name.endswith("predictions.bias"):
                parameter[:4] = -50.0
    return model


def blip2(folder):
    torch.manual_seed(0)
    words = tokenizer(ends=False)  # like OPT's
    size = {"height": 16, "width": 16}
    processor = Blip2Processor(BlipImageProcessorPil(size=size), words, num_query_tokens=2)
    config = Blip2Config(
        vision_config={**SMALL, "image_size": 16, "patch_size": 8},
        qformer_config={**SMALL, "vocab_size": 20},
        text_config={
            "model_type": "opt",
            "hidden_size": 16,
            "word_embed_proj_dim": 16,
            "ffn_dim": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "vocab_size": len(words),
            "bos_token_id": 0,
            "eos_token_id": 1,
            "pad_token_id": 2,
            "max_position_embeddings": 128,
        },
        num_query_tokens=2,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    model = Blip2ForConditionalGeneration(config)
    liven(model).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def blip(folder):
    torch.manual_seed(0)
    words = tokenizer()
    config = BlipConfig(
        vision_config={**SMALL, "image_size": 16, "patch_size": 8},
        text_config={
            **SMALL,
            "vocab_size": len(words),
            "bos_token_id": 0,
            "sep_token_id": 1,
            "eos_token_id": 1,
            "pad_token_id": 2,
            "max_position_embeddings": 64,
            "encoder_hidden_size": 16,
        },
    )
    model = BlipForConditionalGeneration(config)
    liven(model).save_pretrained(folder)
    BlipProcessor(BlipImageProcessorPil(size={"height": 16, "width": 16}), words).save_pretrained(folder)
    return folder


def vision_encoder_decoder(folder):
    torch.manual_seed(0)
    words = tokenizer()
    decoder = BertConfig(
        **SMALL, vocab_size=len(words), is_decoder=True, add_cross_attention=True, max_position_embeddings=64
    )
    model = VisionEncoderDecoderModel(
        encoder=ViTModel(ViTConfig(**SMALL, image_size=16, patch_size=8)), decoder=BertLMHeadModel(decoder)
    )
    model.config.decoder_start_token_id = model.generation_config.decoder_start_token_id = 0
    model.config.pad_token_id = model.generation_config.pad_token_id = 2
    liven(model).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def llava(folder):
    """A chat model: its processor has a template that puts the picture before the question."""
    torch.manual_seed(0)
    words = tokenizer(ends=False)
    words.add_special_tokens({"additional_special_tokens": ["<image>"]})
    crop = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    template = (
        "{% for message in messages %}{% for part in message['content'] %}"
        "{{ '<image> ' if part['type'] == 'image' else part['text'] }}{% endfor %}{% endfor %}"
    )
    processor = LlavaProcessor(
        crop,
        words,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    )
    text = {**SMALL, "model_type": "llama", "vocab_size": len(words), "pad_token_id": 2, "bos_token_id": 0}
    vision = {**SMALL, "model_type": "clip_vision_model", "image_size": 16, "patch_size": 8, "projection_dim": 16}
    config = LlavaConfig(
        text_config={**text, "num_key_value_heads": 2, "eos_token_id": 1},
        vision_config=vision,
        image_token_index=words.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    liven(LlavaForConditionalGeneration(config)).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def clip(folder):
    torch.manual_seed(0)
    text = {**SMALL, "vocab_size": 20, "max_position_embeddings": 16}
    vision = {**SMALL, "image_size": 16, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder
