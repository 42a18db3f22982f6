"""Every family of towers and of language models, made tiny, saved, and loaded by path through the public code."""

from __future__ import annotations

import json

import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from medgraph.config import ModelConfig
from medgraph.data.collate import Tokens, collate_conversations, collate_questions
from medgraph.models.build import build_model
from medgraph.models.packing import can_pack
from medgraph.models.vision import load_vision

TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32,
         "patch_size": 8}  # fmt: skip
DINO = {key: value for key, value in TOWER.items() if key != "intermediate_size"} | {"mlp_ratio": 2}
NAFLEX = {key: value for key, value in TOWER.items() if key != "image_size"} | {"num_patches": 16}
TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}
DUAL = {"vision_config": TOWER, "text_config": TEXT}
STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}

TRANSFORMERS = {  # the model, and its tokens in front of the patches
    "clip": (lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**TOWER)), 1),
    "clip with text": (lambda: hf.CLIPModel(hf.CLIPConfig(**DUAL)), 1),
    "siglip": (lambda: hf.SiglipVisionModel(hf.SiglipVisionConfig(**TOWER)), 0),
    "siglip with text": (lambda: hf.SiglipModel(hf.SiglipConfig(**DUAL)), 0),
    "dinov2": (lambda: hf.Dinov2Model(hf.Dinov2Config(**DINO)), 1),
    "dinov2 with registers": (lambda: hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(**DINO)), 5),
    "dinov3": (lambda: hf.DINOv3ViTModel(hf.DINOv3ViTConfig(**TOWER, num_register_tokens=2)), 3),
    "vit": (lambda: hf.ViTModel(hf.ViTConfig(**TOWER)), 1),
    "deit": (lambda: hf.DeiTModel(hf.DeiTConfig(**TOWER)), 2),
    "i-jepa": (lambda: hf.IJepaModel(hf.IJepaConfig(**TOWER)), 0),
}
STAGED = {  # the model, and the side of its grid for images of 64 pixels
    "resnet": (lambda: hf.ResNetModel(hf.ResNetConfig(embedding_size=8, layer_type="basic", **STAGES)), 2),
    "convnext": (lambda: hf.ConvNextModel(hf.ConvNextConfig(image_size=64, **STAGES)), 2),
    "dinov3 convnext": (lambda: hf.DINOv3ConvNextModel(hf.DINOv3ConvNextConfig(image_size=64, **STAGES)), 2),
    "swin": (
        lambda: hf.SwinModel(
            hf.SwinConfig(image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 4], window_size=2)
        ),
        2,
    ),
}
IMAGES = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def save(build, folder, **processor):
    torch.manual_seed(0)
    model = build().eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return getattr(model, "vision_model", model)


def normalised(images, mean=(0.5,) * 3, std=(0.5,) * 3):
    return (images / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def assert_equal(found, expected, name, limit=1e-5):
    """Equal to a share of the largest value, which is printed (pytest -rP)."""
    error = float((found - expected).detach().abs().max() / expected.detach().abs().max())
    print(f"{name}: {error:.1e}")
    assert found.shape == expected.shape
    assert error <= limit


PROCESSOR = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


@torch.no_grad()
@pytest.mark.parametrize(("build", "others"), TRANSFORMERS.values(), ids=TRANSFORMERS)
def test_a_transformer_gives_the_patches_of_the_chosen_layer(build, others, tmp_path):
    model, images = save(build, tmp_path, **PROCESSOR), IMAGES[..., :32, :32]
    output = model(pixel_values=normalised(images), output_hidden_states=True)
    for layer, expected in ((-2, output.hidden_states[-2]), (-1, output.last_hidden_state)):
        tower = load_vision(str(tmp_path), layer, random=False).eval()
        assert (tower.image_size, tower.num_tokens, tower.width) == (32, 16, 32)
        assert_equal(tower(images), expected[:, others:], f"{type(model).__name__}, layer {layer}")


@torch.no_grad()
def test_siglip_2_of_native_resolution_takes_square_images(tmp_path):
    from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

    model = save(lambda: hf.Siglip2VisionModel(hf.Siglip2VisionConfig(**NAFLEX)), tmp_path, **PROCESSOR)
    images = IMAGES[..., :32, :32]
    patches = [torch.from_numpy(convert_image_to_patches(image.numpy(), 8)) for image in normalised(images)]
    output = model(torch.stack(patches), torch.ones(2, 16, dtype=torch.long), torch.full((2, 2), 4),
                   output_hidden_states=True)  # fmt: skip
    for layer, expected in ((-2, output.hidden_states[-2]), (-1, output.last_hidden_state)):
        tower = load_vision(str(tmp_path), layer, random=False).eval()
        assert (tower.image_size, tower.num_tokens) == (32, 16)
        assert_equal(tower(images), expected, f"Siglip2VisionModel, layer {layer}")


@torch.no_grad()
@pytest.mark.parametrize(("build", "side"), STAGED.values(), ids=STAGED)
def test_a_tower_of_stages_gives_the_grid_of_its_last_one(build, side, tmp_path):
    model = save(build, tmp_path, **PROCESSOR, size={"shortest_edge": 64})
    expected = model(normalised(IMAGES)).last_hidden_state
    expected = expected.flatten(2).mT if expected.dim() == 4 else expected[:, -(side**2) :]
    tower = load_vision(str(tmp_path), -1, random=False).eval()
    assert (tower.image_size, tower.num_tokens, tower.width) == (64, side**2, expected.shape[2])
    assert_equal(tower(IMAGES), expected, type(model).__name__)
    with pytest.raises(ValueError, match=r"model.vision_layer=-2: expected -1"):
        load_vision(str(tmp_path), -2, random=False)


def test_the_processor_says_which_images_a_tower_sees(tmp_path):
    interpolates, _ = TRANSFORMERS["dinov2"]
    save(interpolates, tmp_path, image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6], do_center_crop=True,
         size={"shortest_edge": 72}, crop_size={"height": 64, "width": 64})  # fmt: skip
    tower = load_vision(str(tmp_path), -2, random=False)
    assert (tower.image_size, tower.num_tokens) == (64, 64)
    assert (tower.mean.flatten().tolist(), tower.std.flatten().tolist()) == (
        pytest.approx([0.1, 0.2, 0.3]),
        pytest.approx([0.4, 0.5, 0.6]),
    )


def test_images_of_no_size_or_not_square_are_refused(tmp_path):
    save(STAGED["resnet"][0], tmp_path, **PROCESSOR)
    with pytest.raises(ValueError, match=r"neither its config.json nor a preprocessor_config.json gives a size"):
        load_vision(str(tmp_path), -1, random=False)
    save(STAGED["resnet"][0], tmp_path, size={"height": 64, "width": 32})
    with pytest.raises(ValueError, match="only square ones"):
        load_vision(str(tmp_path), -1, random=False)


def test_a_name_that_is_no_tower_is_refused_with_its_key(tmp_path):
    hf.GPT2Model(hf.GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=9)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="GPT2Model does not read images"):
        load_vision(str(tmp_path), -1, random=False)
    with pytest.raises(ValueError, match=r"model.vision=timm/none: not a local folder with a model"):
        build_model(ModelConfig(vision="timm/none"), [])


def test_half_precision_checkpoints_are_loaded_in_float32(tmp_path):
    save(lambda: hf.CLIPVisionModel(hf.CLIPVisionConfig(**TOWER)).half(), tmp_path)
    assert {p.dtype for p in load_vision(str(tmp_path), -2, random=False).parameters()} == {torch.float32}


# --------------------------------------------------------------------------------------------------------------------
# language models

LLM = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 258}
GROUPED = {**LLM, "num_key_value_heads": 2}
HEADS = {**GROUPED, "head_dim": 8}
LANGUAGE = {
    "llama": hf.LlamaConfig(**GROUPED),
    "mistral": hf.MistralConfig(**GROUPED, sliding_window=None),
    "mistral with a window": hf.MistralConfig(**GROUPED, sliding_window=16),
    "qwen2": hf.Qwen2Config(**GROUPED),
    "qwen3": hf.Qwen3Config(**HEADS),
    "gemma": hf.GemmaConfig(**HEADS),
    "gemma2": hf.Gemma2Config(**HEADS, query_pre_attn_scalar=8),
    "gemma3": hf.Gemma3TextConfig(**HEADS, query_pre_attn_scalar=8),
    "phi": hf.PhiConfig(**LLM, partial_rotary_factor=1.0),
    "phi3": hf.Phi3Config(**GROUPED, pad_token_id=0),
    "gpt-neox": hf.GPTNeoXConfig(**LLM),
    "gpt2": hf.GPT2Config(n_embd=24, n_layer=2, n_head=4, vocab_size=258),
    "opt": hf.OPTConfig(hidden_size=24, ffn_dim=32, num_hidden_layers=2, num_attention_heads=4, vocab_size=258,
                        word_embed_proj_dim=24),
    "olmo2": hf.Olmo2Config(**GROUPED, pad_token_id=0),
    "granite": hf.GraniteConfig(**GROUPED, logits_scaling=4.0),
    "cohere": hf.CohereConfig(**GROUPED),
    "falcon": hf.FalconConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=4, vocab_size=258),
    "smollm3": hf.SmolLM3Config(**GROUPED, pad_token_id=0),
}  # fmt: skip


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Folders of a tower, and of a tokenizer without a padding and an image token, as most language models have."""
    folder = tmp_path_factory.mktemp("parts")
    (folder / "tower").mkdir()
    save(TRANSFORMERS["clip"][0], folder / "tower", **PROCESSOR)
    model = Tokenizer(models.BPE())
    model.pre_tokenizer, model.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    model.train_from_iterator([], trainers.BpeTrainer(special_tokens=["<s>", "</s>"], initial_alphabet=alphabet))
    tokenizer = hf.PreTrainedTokenizerFast(tokenizer_object=model, bos_token="<s>", eos_token="</s>")
    return folder, tokenizer


FAST = ("llama", "mistral with a window", "qwen3", "gemma2", "opt")
"""One of each way to pack or not, and to know positions; the others take a second each."""


@pytest.mark.parametrize(
    "config",
    [pytest.param(LANGUAGE[name], id=name, marks=[pytest.mark.slow] * (name not in FAST)) for name in LANGUAGE],
)
def test_a_language_model_trains_packs_and_answers(config, parts, corpus, tmp_path):
    folder, tokenizer = parts
    torch.manual_seed(0)
    config.eos_token_id = 1
    hf.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    vlm = build_model(ModelConfig("mine", str(folder / "tower"), str(tmp_path)), [])
    records = corpus.splits["test"][:3]
    samples = [(corpus.load_image(record.image, 32), record) for record in records]
    tokens = Tokens(vlm.tokenizer, vlm.num_image_tokens, 1024)

    batch = collate_conversations([(image, [record]) for image, record in samples], tokens, ("answer",), False)
    passes = {"lm": (batch.lm, vlm.encode_images(batch.images)), "answer": (batch.texts["answer"], None)}
    states = vlm.hidden_states(passes)
    for name, (texts, _) in passes.items():
        alone = vlm.hidden_states({name: passes[name]})[name]
        padded = vlm.llm.get_decoder()(
            inputs_embeds=vlm._embed(texts.ids, passes[name][1]), attention_mask=texts.mask.long(), use_cache=False
        ).last_hidden_state
        kind = "packed" if can_pack(vlm.llm, [texts.layout for texts, _ in passes.values()]) else "padded"
        for other in (alone, padded):
            assert_equal(states[name][texts.mask], other[texts.mask], f"{config.model_type}, {kind}")

    vlm.set_trainable(["projector", "llm"])
    states = vlm.hidden_states({name: (texts, None if image is None else vlm.encode_images(batch.images))
                                for name, (texts, image) in passes.items()})  # fmt: skip
    loss = vlm.lm_loss(states["lm"], batch.lm) + states["answer"][batch.texts["answer"].mask].square().mean()
    loss.backward()
    gradients = [p.grad for p in vlm.parameters() if p.requires_grad]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)

    vlm.eval()
    together = vlm.generate(collate_questions(samples, tokens), 4)
    assert together == [vlm.generate(collate_questions([sample], tokens), 4)[0] for sample in samples]
