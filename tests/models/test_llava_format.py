from __future__ import annotations

import json

import numpy as np
import PIL.Image
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    GraniteConfig,
    LlamaConfig,
    LlavaForConditionalGeneration,
    PhiConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTModel,
)

from medgraph.config import LoraOptions
from medgraph.data.collate import Tokens, collate_conversations, collate_questions
from medgraph.data.conversation import ask, prompt, reply
from medgraph.data.images import fit
from medgraph.models.connectors import Connector
from medgraph.models.llava_format import export_llava, import_llava
from medgraph.models.lora import add_lora
from medgraph.models.medvlm import MedVLM
from medgraph.models.packing import can_pack
from medgraph.models.projector import build_projector
from medgraph.models.tokenizer import load_tokenizer
from medgraph.models.vision import VisionTower

TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32,
         "patch_size": 8}  # fmt: skip
LLM = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
       "num_key_value_heads": 2}  # fmt: skip
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """One that gets its image token last, as those of real language models do."""
    folder = tmp_path_factory.mktemp("tokenizer")
    model = Tokenizer(models.BPE())
    model.pre_tokenizer, model.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    specials, bytes_ = ["<s>", "</s>"], pre_tokenizers.ByteLevel.alphabet()
    model.train_from_iterator([], trainers.BpeTrainer(special_tokens=specials, initial_alphabet=bytes_))
    PreTrainedTokenizerFast(tokenizer_object=model, bos_token="<s>", eos_token="</s>").save_pretrained(folder)
    return load_tokenizer(str(folder))


def make(tokenizer, tower, layer, config, connector=Connector(), projector="mlp2x_gelu", **options):  # noqa: B008
    torch.manual_seed(0)
    vision = VisionTower(tower(), layer, MEAN, STD, connector, **options)
    llm = AutoModelForCausalLM.from_config(config)
    return MedVLM(vision, build_projector(projector, vision.width, 24), llm, tokenizer).eval()


def adapted(vlm):
    add_lora(vlm, LoraOptions(rank=2))
    return vlm


def clip():
    return CLIPVisionModel(CLIPVisionConfig(**TOWER))


def siglip():
    return SiglipVisionModel(SiglipVisionConfig(**TOWER))


def registers():
    return Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**TOWER, mlp_ratio=2))


def interpolating():
    model = Dinov2Model(Dinov2Config(**TOWER, mlp_ratio=2))
    model.config.image_size = 48
    return model


def vit():
    return ViTModel(ViTConfig(**TOWER), add_pooling_layer=False)


@pytest.fixture(
    params=["clip and llama", "clip's last layer, tied llama without a row for <image>", "siglip and qwen2"]
)
def vlm(request, tokenizer):
    rows = len(tokenizer)
    if request.param == "clip and llama":
        return make(tokenizer, clip, -2, LlamaConfig(vocab_size=rows + 5, **LLM))
    if request.param == "siglip and qwen2":
        return make(tokenizer, siglip, -2, Qwen2Config(vocab_size=rows, **LLM))
    return make(
        tokenizer,
        clip,
        -1,
        LlamaConfig(vocab_size=tokenizer.convert_tokens_to_ids("<image>"), tie_word_embeddings=True, **LLM),
    )


def logits(vlm, ids, images):
    from medgraph.data.collate import TokenBatch

    batch = TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool))
    hidden = vlm.hidden_states({"lm": (batch, vlm.encode_images(images))})["lm"]
    return vlm.llm.get_output_embeddings()(hidden)


@torch.no_grad()
def test_an_exported_model_has_equal_logits_and_comes_back_with_equal_weights(vlm, tmp_path, request):
    before = {name: tensor.clone() for name, tensor in vlm.state_dict().items()}
    assert export_llava(vlm, tmp_path / "a") <= 1e-5
    whole = LlavaForConditionalGeneration.from_pretrained(tmp_path / "a").eval()
    processor = AutoProcessor.from_pretrained(tmp_path / "a")
    picture = np.random.default_rng(0).integers(256, size=(40, 50, 3), dtype=np.uint8)
    inputs = processor(images=PIL.Image.fromarray(picture), text="USER: <image>\nWhat? ASSISTANT:", return_tensors="pt")
    ids = inputs["input_ids"]
    assert (ids == vlm.image_token_id).sum() == vlm.num_image_tokens == whole.config.image_seq_length
    images = torch.from_numpy(fit(PIL.Image.fromarray(picture), 32).copy()).permute(2, 0, 1).unsqueeze(0)
    expected, found = logits(vlm, ids, images), whole(**inputs).logits[..., : len(vlm.words)]
    error = float((found - expected).abs().max() / expected.abs().max())
    print(f"{request.node.callspec.id}: logits differ by {error:.1e} of the largest")
    assert error <= 1e-5
    again = import_llava(str(tmp_path / "a"))
    ours, theirs = vlm.state_dict(), again.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(theirs[name][: len(tensor)], tensor), name
        assert torch.equal(before[name], tensor), name
    torch.testing.assert_close(logits(again, ids, images)[..., : len(vlm.words)], expected)
    assert export_llava(again, tmp_path / "b") <= 1e-5
    second = LlavaForConditionalGeneration.from_pretrained(tmp_path / "b").state_dict()
    assert all(torch.equal(second[name], tensor) for name, tensor in whole.state_dict().items())


@pytest.mark.parametrize(
    ("make_other", "reason"),
    [
        (lambda t: make(t, clip, -2, LlamaConfig(vocab_size=300, **LLM), projector="linear"), "model.projector=mlp2x"),
        (lambda t: make(t, clip, -2, LlamaConfig(vocab_size=300, **LLM), projector="resampler"), "model.projector=mlp"),
        (lambda t: make(t, clip, -2, LlamaConfig(vocab_size=300, **LLM), Connector("sci")), "model.connector=none"),
        (lambda t: make(t, clip, -2, LlamaConfig(vocab_size=300, **LLM), Connector(pool=2)), "model.pool=1"),
        (lambda t: make(t, clip, -2, PhiConfig(vocab_size=300, **LLM)), "without bias"),
        (lambda t: make(t, clip, -2, GraniteConfig(vocab_size=300, logits_scaling=2.0, **LLM)), "cap or factor"),
        (lambda t: adapted(make(t, clip, -2, LlamaConfig(vocab_size=300, **LLM))), "merge them first"),
        (lambda t: make(t, siglip, -1, LlamaConfig(vocab_size=300, **LLM)), "without a final norm"),
        (lambda t: make(t, registers, -2, LlamaConfig(vocab_size=300, **LLM)), "this tower has 5"),
        (lambda t: make(t, interpolating, -2, LlamaConfig(vocab_size=300, **LLM)), "differ in .*position_embeddings"),
        (lambda t: make(t, vit, -2, LlamaConfig(vocab_size=300, **LLM)), "differ in .*pooler"),
    ],
    ids=[
        "linear",
        "resampler",
        "connector",
        "pooling",
        "bias",
        "factor",
        "adapters",
        "final norm",
        "registers",
        "larger images than the table",
        "no pooler",
    ],
)
def test_what_the_format_cannot_express_is_refused_with_the_reason(make_other, reason, tokenizer, tmp_path):
    with pytest.raises(ValueError, match=reason):
        export_llava(make_other(tokenizer), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_content_is_not_written_to(tokenizer, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="not empty"):
        export_llava(make(tokenizer, clip, -2, LlamaConfig(vocab_size=300, **LLM)), tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vision_feature_layer": [-2, -1]}, "only one layer"),
        ({"projector_hidden_act": "relu"}, "only one layer and gelu"),
        ({"vision_feature_select_strategy": "full"}, "1 tokens besides its patches"),
        ({"image_token_index": 7}, "image_token_index=7"),
    ],
)
def test_what_cannot_be_imported_is_refused_with_the_reason(change, reason, tokenizer, tmp_path):
    export_llava(make(tokenizer, clip, -2, LlamaConfig(vocab_size=300, **LLM)), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ValueError, match=reason):
        import_llava(str(tmp_path))


def test_a_positive_layer_is_counted_from_the_other_end(tokenizer, tmp_path):
    export_llava(make(tokenizer, clip, -1, LlamaConfig(vocab_size=300, **LLM)), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"vision_feature_layer": 2}))
    vlm = import_llava(str(tmp_path))
    assert len(vlm.vision.model.encoder.layers) == 2
    with torch.no_grad():
        whole = LlavaForConditionalGeneration.from_pretrained(tmp_path).eval()
        pixels = torch.full((1, 3, 32, 32), 100, dtype=torch.uint8)
        features = whole.model.get_image_features((pixels / 255 - vlm.vision.mean) / vlm.vision.std).pooler_output[0]
        torch.testing.assert_close(vlm.encode_images(pixels)[0], features)


def test_the_chat_template_writes_the_conversations_of_medgraph(corpus, tokenizer, tmp_path):
    export_llava(make(tokenizer, clip, -2, LlamaConfig(vocab_size=300, **LLM)), tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    first, second = corpus.splits["train"][:2]
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": ask(first)}]},
        {"role": "assistant", "content": [{"type": "text", "text": reply(first)}]},
        {"role": "user", "content": [{"type": "text", "text": ask(second)}]},
    ]
    assert processor.apply_chat_template(messages[:1], add_generation_prompt=True) == prompt(first)
    end = tokenizer.eos_token
    expected = f"{prompt(first)} {reply(first)}{end}{prompt(second, image=False)}"
    assert processor.apply_chat_template(messages, add_generation_prompt=True) == expected


def test_the_exported_model_answers_like_this_one(corpus, tokenizer, tmp_path):
    vlm = make(tokenizer, siglip, -2, Qwen2Config(vocab_size=len(tokenizer), **LLM))
    export_llava(vlm, tmp_path)
    record, tokens = corpus.splits["test"][0], Tokens(tokenizer, vlm.num_image_tokens, 512)
    image = corpus.load_image(record.image, 32)
    expected = vlm.generate(collate_questions([(image, record)], tokens), 6)[0]
    whole = LlavaForConditionalGeneration.from_pretrained(tmp_path).eval()
    processor = AutoProcessor.from_pretrained(tmp_path)
    inputs = processor(images=PIL.Image.fromarray(image), text=prompt(record), return_tensors="pt")
    output = whole.generate(**inputs, max_new_tokens=6, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert tokenizer.decode(output, skip_special_tokens=True).strip() == expected


def test_an_imported_model_trains_in_one_packed_pass(corpus, tokenizer, tmp_path):
    export_llava(make(tokenizer, clip, -2, LlamaConfig(vocab_size=300, **LLM)), tmp_path)
    vlm = import_llava(str(tmp_path))
    vlm.set_trainable(["projector", "llm"])
    record = corpus.splits["train"][0]
    samples = [(corpus.load_image(record.image, 32), [record])]
    batch = collate_conversations(samples, Tokens(vlm.tokenizer, vlm.num_image_tokens, 1024), ("answer",), False)
    passes = {"lm": (batch.lm, vlm.encode_images(batch.images)), "answer": (batch.texts["answer"], None)}
    assert can_pack(vlm.llm, [tokens.mask for tokens, _ in passes.values()])
    vlm.lm_loss(vlm.hidden_states(passes)["lm"], batch.lm).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in vlm.llm.parameters() if p.requires_grad)
