from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from medgraph.config import ConfigError
from medgraph.prompting.encoder import DualEncoder, load_dual_encoder

TEXTS = ["a photo of mass", "the lung image shows cyst ."]


@pytest.fixture
def images():
    return torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_images_and_texts_are_where_the_model_itself_puts_them(encoder, images):
    pixels = (images.float() / 255 - encoder.mean) / encoder.std
    expected = torch.nn.functional.normalize(encoder.model.get_image_features(pixels).pooler_output, dim=-1)
    features = encoder.encode_images(images)
    assert_close(features.pooled, expected)
    assert features.tokens.shape == (3, 16, expected.shape[1])
    assert_close(features.tokens.norm(dim=-1), torch.ones(3, 16))
    padding = {"padding": "max_length", "max_length": 24} if encoder.kind == "siglip" else {"padding": True}
    ids = encoder.tokenizer(TEXTS, return_tensors="pt", **padding)["input_ids"]
    expected = torch.nn.functional.normalize(encoder.model.get_text_features(ids).pooler_output, dim=-1)
    assert_close(encoder.encode_texts(TEXTS), expected)


def test_a_context_of_word_embeddings_is_the_text_with_these_words(encoder):
    words = encoder.tokenizer("the lung", add_special_tokens=False, return_tensors="pt")["input_ids"]
    contexts = encoder.words(words).expand(len(TEXTS), -1, -1)
    made = encoder.encode_prompts(encoder.tokenize(TEXTS, context=2), contexts)
    assert_close(made, encoder.encode_texts([f"the lung {text}" for text in TEXTS]))
    assert_close(encoder.encode_texts(TEXTS), encoder.encode_prompts(encoder.tokenize(TEXTS), contexts[:, :0]))


def test_contexts_learn_and_nothing_else_does(encoder):
    contexts = torch.randn(2, 3, encoder.word_width, requires_grad=True)
    encoder.encode_prompts(encoder.tokenize(TEXTS, context=3), contexts)[:, 0].sum().backward()
    assert contexts.grad.norm(dim=-1).min() > 0
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_a_prompt_that_does_not_fit_is_named(encoder):
    with pytest.raises(ConfigError, match="'a photo of mass' has 6 tokens and a context of 20"):
        encoder.tokenize(TEXTS, context=20)
    with pytest.raises(ConfigError, match="at least one word"):
        encoder.tokenize([""])


def test_a_saved_model_is_loaded_by_its_path(encoder, images, tmp_path):
    encoder.model.save_pretrained(tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    loaded = load_dual_encoder(str(tmp_path))
    assert_close(loaded.encode_images(images).tokens, encoder.encode_images(images).tokens)
    assert_close(loaded.encode_texts(TEXTS), encoder.encode_texts(TEXTS))


def test_a_model_without_texts_is_refused(tokenizer):
    from transformers import ViTConfig, ViTModel

    with pytest.raises(ConfigError, match="ViTModel is no dual encoder"):
        DualEncoder(ViTModel(ViTConfig(hidden_size=8, num_attention_heads=2, num_hidden_layers=1)), tokenizer)
