from __future__ import annotations

import pytest

WORDS = ("a", "photo", "of", "mass", "cyst", "normal", "the", "lung", "image", "shows", ".")
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def word_tokenizer():
    """Words as tokens, with begin and end as CLIP has them; the end is not token 2, which CLIP reads differently."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokens = ["<pad>", "<unk>", *WORDS, "<s>", "</s>"]
    model = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(token, tokens.index(token)) for token in ("<s>", "</s>")]
    model.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=model, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def make_model(kind: str, tokenizer):
    """A CLIP or SigLIP with random weights for images of 32 pixels in 4 × 4 patches."""
    import torch
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

    text = {**SIZES, "vocab_size": len(tokenizer), "max_position_embeddings": 24, "pad_token_id": 0,
            "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}  # fmt: skip
    vision = {**SIZES, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    if kind == "clip":
        return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).eval()
    return SiglipModel(SiglipConfig(text_config={**text, "projection_size": 16}, vision_config=vision)).eval()


@pytest.fixture(scope="session")
def tokenizer():
    return word_tokenizer()


@pytest.fixture(scope="session")
def tiny_model():
    """Makes a tiny model of a kind; see `make_model`."""
    return make_model


@pytest.fixture(scope="session", params=["clip", "siglip"])
def encoder(request, tokenizer):
    """A tiny dual encoder of each kind."""
    from medgraph.prompting.encoder import DualEncoder

    return DualEncoder(make_model(request.param, tokenizer), tokenizer)
