import copy
import json
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image

from medgraph.alignment.head import AlignmentInput
from medgraph.alignment.heads.exgra import ExGraHead
from medgraph.config import (
    ConfigError,
    ExperimentConfig,
    LoraOptions,
    ModelConfig,
    PhantomConfig,
    StageConfig,
    head_config,
)
from medgraph.data.chat import chat_format
from medgraph.data.collate import TokenBatch, Tokens, collate_conversations, collate_questions, pad
from medgraph.data.conversation import encode_reply
from medgraph.data.loading import ConversationDataset, ImageCache
from medgraph.models.build import build_model
from medgraph.models.interleaved import collate_prompts
from medgraph.models.lora import add_lora, merge_lora
from medgraph.models.medvlm import MedVLM
from medgraph.models.text_nodes import read_batch
from medgraph.models.tokenizer import train_tokenizer
from medgraph.models.whole import load_whole
from medgraph.training.asking import answer_question
from medgraph.training.trained import load_whole_model

SPECIALS = {
    "llava": {"image_token": "<image>"},
    "gemma3": {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"},
    "mllama": {"image_token": "<|image|>"},
    "qwen2_vl": {
        "image_token": "<|image_pad|>",
        "start": "<|vision_start|>",
        "end": "<|vision_end|>",
        "turn": "<|im_start|>",
        "turn_end": "<|im_end|>",
    },
}
SPECIALS["qwen2_5_vl"] = SPECIALS["qwen2_vl"]
CHAT = (  # Qwen's
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for p in m.content %}{% if p.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ p.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 1024, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def tiny_tokenizer(family):
    """Bytes and special tokens, ``<s>`` first where the family has it; no ``<image>``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["<pad>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    model = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, []))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    if not family.startswith("qwen"):
        model.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=model, pad_token="<pad>", bos_token="<s>", eos_token="</s>",
        extra_special_tokens=SPECIALS[family], clean_up_tokenization_spaces=False,
        chat_template=CHAT if family == "qwen2_5_vl" else None,
    )  # fmt: skip


def tiny_gemma3(tokenizer):
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3ImageProcessorPil

    vision = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32,
        "patch_size": 8, "vision_use_head": False,
    }  # fmt: skip
    config = Gemma3Config(
        text_config={**TEXT, "vocab_size": len(tokenizer), "head_dim": 8, "sliding_window": 24,
                     "layer_types": ["sliding_attention", "full_attention"]},
        vision_config=vision, mm_tokens_per_image=4, image_token_index=tokenizer.image_token_id,
    )  # fmt: skip
    return Gemma3ForConditionalGeneration(config), Gemma3ImageProcessorPil(size={"height": 32, "width": 32})


def tiny_mllama(tokenizer):
    from transformers import MllamaConfig, MllamaForConditionalGeneration, MllamaImageProcessorPil

    vision = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_global_layers": 1,
        "attention_heads": 4, "image_size": 32, "patch_size": 8, "max_num_tiles": 4, "vision_output_dim": 64,
        "intermediate_layers_indices": [1], "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1], [2, 2]],
    }  # fmt: skip
    config = MllamaConfig(  # no row for <|image|> in the head, as in the real one
        text_config={**TEXT, "vocab_size": tokenizer.image_token_id, "cross_attention_layers": [1]},
        vision_config=vision, image_token_index=tokenizer.image_token_id,
    )  # fmt: skip
    model = MllamaForConditionalGeneration(config)
    for name, parameter in model.named_parameters():
        if "gate" in name and parameter.numel() == 1:
            parameter.data.fill_(0.5)  # closed at first: nothing would be seen
    return model, MllamaImageProcessorPil(size={"height": 32, "width": 32})


def tiny_qwen(family, tokenizer):
    import transformers

    name = {"qwen2_vl": "Qwen2VL", "qwen2_5_vl": "Qwen2_5_VL"}[family]
    vision = {"depth": 2, "num_heads": 4, "patch_size": 8, "hidden_size": 32}
    if family == "qwen2_vl":
        vision |= {"embed_dim": 32, "mlp_ratio": 2}
    else:
        vision |= {"intermediate_size": 48, "out_hidden_size": 32, "window_size": 32, "fullatt_block_indexes": [1]}
    config = getattr(transformers, f"{name}Config")(
        text_config={**TEXT, "vocab_size": len(tokenizer),
                     "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}},
        vision_config=vision, image_token_id=tokenizer.image_token_id,
        vision_start_token_id=tokenizer.start_id, vision_end_token_id=tokenizer.end_id,
    )  # fmt: skip
    processor = transformers.Qwen2VLImageProcessorPil(patch_size=8, min_pixels=32 * 32, max_pixels=48 * 48)
    return getattr(transformers, f"{name}ForConditionalGeneration")(config), processor


@pytest.fixture(
    scope="module", params=["gemma3", "mllama", "qwen2_5_vl", pytest.param("qwen2_vl", marks=pytest.mark.slow)]
)
def saved(request, tmp_path_factory):
    """A tiny model of a family, and the folder it is saved in."""
    family = request.param
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(family)
    make = {"gemma3": tiny_gemma3, "mllama": tiny_mllama}.get(family) or (lambda t: tiny_qwen(family, t))
    model, processor = make(tokenizer)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)  # 0.02 is meant for real widths
    folder = tmp_path_factory.mktemp(family)
    for part in (model, tokenizer, processor):
        part.save_pretrained(folder)
    return family, model.eval(), processor, folder


@pytest.fixture(scope="module")
def _whole(saved):
    return load_whole(str(saved[3]), random=False, image_size=None)


@pytest.fixture
def whole(_whole):
    """The same model through the library."""
    return copy.deepcopy(_whole)


@pytest.fixture
def pictures(corpus, whole):
    """Image cache at the model's size."""
    return ImageCache(corpus, whole.vision.image_size)


@pytest.fixture
def sizes(whole):
    """What collation knows about the model."""
    return Tokens(whole.tokenizer, whole.vision.num_tokens, 1024)


@pytest.fixture
def batch(corpus, pictures, sizes):
    """Three conversations of different lengths."""
    dataset = ConversationDataset(corpus.splits["train"], pictures, seed=0)
    return collate_conversations([dataset[0, i] for i in range(3)], sizes, ("answer", "extended"), False)


def processed(saved, images, texts, left=False):
    """What the model's own processor makes of texts and the (3, S, S) images of each, or (B, 3, S, S), one for each."""
    from transformers import Gemma3Processor, MllamaProcessor

    family, _, processor, _ = saved
    tokenizer = tiny_tokenizer(family)
    groups = images[:, None] if torch.is_tensor(images) else images
    pictures = [[Image.fromarray(image.permute(1, 2, 0).numpy()) for image in group] for group in groups]
    options = {"padding": True, "padding_side": "left" if left else "right", "return_tensors": "pt"}
    if family == "gemma3":
        texts = [text.replace("<image>", "<start_of_image>") for text in texts]
        made = Gemma3Processor(processor, tokenizer, image_seq_length=4)(pictures, texts, **options)
    elif family == "mllama":
        tokenizer._tokenizer.post_processor = None  # the processor writes <s> itself
        texts = [f"<s>{text}".replace("<image>", "<|image|>") for text in texts]
        made = MllamaProcessor(processor, tokenizer)(pictures, texts, **options)
    else:  # its processor needs torchvision, for videos
        made = processor([picture for group in pictures for picture in group], return_tensors="pt")
        count = int(made["image_grid_thw"][0].prod()) // 4
        mark = f"<|vision_start|>{'<|image_pad|>' * count}<|vision_end|>"
        made |= tokenizer([text.replace("<image>", mark) for text in texts], **options)
        made["mm_token_type_ids"] = (made["input_ids"] == tokenizer.image_token_id).int()
    return {name: torch.as_tensor(value) for name, value in made.items()}


def texts_of(batch, whole):
    """The texts of a batch, with one ``<image>`` each."""
    ids = [row[mask] for row, mask in zip(batch.ids, batch.mask, strict=True)]
    kept = [[i for n, i in enumerate(row.tolist()) if i != whole.image_token_id or row[n - 1] != i] for row in ids]
    return [whole.tokenizer.decode(row).removeprefix("<s>") for row in kept]


def test_pixels_and_tokens_are_those_of_the_models_own_processor(saved, whole, batch):
    expected = processed(saved, batch.images, texts_of(batch.lm, whole))
    found = whole._inputs(batch.lm, whole.encode_images(batch.images))
    assert found["input_ids"].equal(expected["input_ids"].masked_fill(~batch.lm.mask, 0))
    assert found["attention_mask"].equal(expected["attention_mask"])
    normalised = (batch.images.float() / 255 - whole.vision.mean) / whole.vision.std
    for name, value in whole.vision.inputs(normalised).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6)


def test_logits_and_loss_are_those_of_the_whole_model(saved, whole, batch):
    inputs = processed(saved, batch.images, texts_of(batch.lm, whole))
    expected = saved[1](**inputs, labels=batch.lm.labels)
    hidden = whole.hidden_states({"lm": (batch.lm, whole.encode_images(batch.images))})["lm"]
    logits = whole.llm.get_output_embeddings()(hidden)
    error = (logits - expected.logits)[batch.lm.mask].abs().max() / expected.logits[batch.lm.mask].abs().max()
    print(f"{saved[0]}: {error:.1e}")
    assert error <= 1e-5
    torch.testing.assert_close(whole.lm_loss(hidden, batch.lm), expected.loss, rtol=1e-5, atol=0)


def test_several_images_stand_where_their_marks_are(saved, whole, corpus, pictures, sizes):
    shown = [pictures(record.image) for record in corpus.splits["test"][:3]]
    texts = ["USER: <image>\nor <image>? ASSISTANT:", "USER: <image>\na? ASSISTANT: b</s>USER: <image>\nc? ASSISTANT:"]
    made = collate_prompts([(shown[:2], texts[0]), (shown[1:], texts[1])], sizes)
    inputs = processed(saved, [made.images[:2], made.images[2:]], texts, left=True)
    expected = saved[1](**inputs).logits[made.prompts.mask]
    hidden = whole.hidden_states({"question": (made.prompts, whole.encode_images(made.images))})["question"]
    logits = whole.llm.get_output_embeddings()(hidden)[made.prompts.mask]
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_nodes_are_finite_and_do_not_depend_on_batch_companions(whole, batch):
    ids, texts = batch.image_ids, batch.texts["extended"]
    images = whole.image_nodes(whole.encode_images(batch.images), ids).pooled
    nodes = whole.text_nodes(whole.hidden_states({"text": (texts, None)})["text"], texts.mask, ids).pooled
    alone = TokenBatch(*pad([texts.ids[1][texts.mask[1]].tolist()], 0))
    node = whole.text_nodes(whole.hidden_states({"text": (alone, None)})["text"], alone.mask, ids[1:2]).pooled
    image = whole.image_nodes(whole.encode_images(batch.images[1:2]), ids[1:2]).pooled
    assert torch.cat([images, nodes]).isfinite().all()
    torch.testing.assert_close(nodes[1:2], node)
    torch.testing.assert_close(images[1:2], image)


@pytest.mark.parametrize("parts", [["projector"], ["vision", "llm"], ["vision", "projector", "llm"]])
def test_a_step_sends_gradients_to_the_named_parts_and_no_others(whole, batch, parts):
    whole.set_trainable(parts)
    head = ExGraHead(graph_size=3, k=1)
    head.setup(whole.width)
    image_tokens = whole.encode_images(batch.images)
    hidden, texts = read_batch(whole, image_tokens, {"lm": batch.lm}, batch.texts, batch.text_ids)
    nodes = AlignmentInput(whole.image_nodes(image_tokens, batch.image_ids), texts, torch.Generator(), {})
    loss = whole.lm_loss(hidden["lm"], batch.lm) + head(nodes).loss
    assert loss.isfinite()
    loss.backward()
    named = dict(whole.named_parameters())
    assert {name.split(".")[0] for name, p in named.items() if p.requires_grad} == set(parts)
    for name, parameter in named.items():
        assert parameter.requires_grad == (parameter.grad is not None), name


def test_answers_are_those_of_the_whole_model_alone_and_in_a_batch(saved, whole, corpus, pictures, sizes):
    records = corpus.splits["test"][:3]
    made = collate_questions([(pictures(r.image), r) for r in records], sizes)
    inputs = processed(saved, made.images, texts_of(made.prompts, whole), left=True)
    ends = [2, whole.tokenizer.convert_tokens_to_ids(chat_format(whole.tokenizer).end)]
    output = saved[1].generate(**inputs, max_new_tokens=6, do_sample=False, eos_token_id=ends, pad_token_id=0)
    expected = whole.tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    answers = whole.generate(made, 6)
    assert answers == [text.strip() for text in expected]
    assert len(set(answers)) > 1
    assert answers == [whole.generate(made.take([row]), 6)[0] for row in range(3)]


def test_questions_without_images_after_some_with_images(saved, whole, corpus, pictures, sizes):
    records = corpus.splits["test"][:3]
    whole.generate(collate_questions([(pictures(r.image), r) for r in records[:2]], sizes), 2)
    made = collate_questions([(None, record) for record in records], sizes)
    output = saved[1].generate(
        input_ids=made.prompts.ids, attention_mask=made.prompts.mask.long(), max_new_tokens=4, do_sample=False,
        eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    expected = whole.tokenizer.batch_decode(output[:, made.prompts.ids.shape[1] :], skip_special_tokens=True)
    assert whole.generate(made, 4) == [text.strip() for text in expected]


def test_replies_are_as_likely_as_in_the_whole_model(saved, whole, corpus, pictures, sizes):
    records = corpus.splits["test"][:2]
    replies = [
        [encode_reply(whole.tokenizer, text, end) for text, end in (("A", False), ("left lung", True))],
        [encode_reply(whole.tokenizer, "yes", True)],
    ]
    made = collate_questions([(pictures(r.image), r) for r in records], sizes)
    found, asked = whole.reply_logprobs(made, replies), texts_of(made.prompts, whole)
    for row in range(len(records)):
        for reply_ids, score in zip(replies[row], found[row], strict=True):
            text = f"{asked[row]}{whole.tokenizer.decode(reply_ids)}"
            inputs = processed(saved, made.images[row : row + 1], [text])
            logprobs = saved[1](**inputs).logits[0, -len(reply_ids) - 1 : -1].log_softmax(-1)
            assert inputs["input_ids"][0, -len(reply_ids) :].tolist() == reply_ids
            assert score == pytest.approx(logprobs.gather(1, torch.tensor(reply_ids)[:, None]).sum().item(), abs=1e-4)


@pytest.mark.slow
def test_a_run_trains_answers_and_is_loaded_again(saved, tmp_path):
    from safetensors.torch import load_file

    from medgraph.config import EvalConfig, RunConfig, TrainerConfig
    from medgraph.training.representations import load_run
    from medgraph.training.run import run

    stage = StageConfig(steps=1, batch_size=4, lr=1e-3, train=["vision", "projector", "llm"])
    config = ExperimentConfig(
        run=RunConfig(root=str(tmp_path)),
        data=PhantomConfig(num_train=8, num_task=4, num_val=4, num_test=4, num_ood=4),
        model=ModelConfig(vlm=str(saved[3]), max_length=1024),
        alignment=head_config("exgra"),
        stage1=replace(stage, train=["projector"]),
        stage2=replace(stage, steps=2, alpha=1.0),
        stage3=stage,
        trainer=TrainerConfig(progress=False),
        eval=EvalConfig(limit=4),
    )
    outcome = run(config)
    assert (outcome.folder / "report.html").exists()
    loaded = dict(load_run(outcome.folder)[2].named_parameters())
    weights = load_file(outcome.folder / "stage3" / "weights.safetensors")
    before = dict(load_whole(str(saved[3]), False, None).named_parameters())
    trainable = {name for name, parameter in before.items() if name.split(".")[0] != "vision"}
    assert trainable <= set(weights) <= set(loaded)
    assert all(loaded[name].equal(value) for name, value in weights.items())
    assert any(not before[name].equal(value) for name, value in weights.items())


def test_llava_becomes_a_model_of_our_own_with_the_same_logits(corpus, tmp_path):
    from transformers import CLIPImageProcessorPil, LlavaConfig, LlavaForConditionalGeneration

    tokenizer = tiny_tokenizer("llava")
    vision = {
        "model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "image_size": 32, "patch_size": 16,
    }  # fmt: skip
    config = LlavaConfig(
        text_config={"model_type": "llama", **TEXT, "vocab_size": len(tokenizer)},
        vision_config=vision, image_token_index=tokenizer.image_token_id, image_seq_length=4,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(config).eval()
    processor = CLIPImageProcessorPil(size={"height": 32, "width": 32}, do_center_crop=False)
    for part in (model, tokenizer, processor):
        part.save_pretrained(tmp_path)
    vlm = build_model(ModelConfig(vlm=str(tmp_path)), [])
    assert type(vlm) is MedVLM
    with torch.device("meta"):
        assert load_whole(str(tmp_path), True, None).num_image_tokens == vlm.num_image_tokens
    pictures, sizes = ImageCache(corpus, 32), Tokens(vlm.tokenizer, vlm.num_image_tokens, 512)
    dataset = ConversationDataset(corpus.splits["train"], pictures, seed=0)
    batch = collate_conversations([dataset[0, i] for i in range(3)], sizes, (), False)
    hidden = vlm.hidden_states({"lm": (batch.lm, vlm.encode_images(batch.images))})["lm"]
    found = vlm.llm.get_output_embeddings()(hidden)[batch.lm.mask]
    pixels = processor([picture.permute(1, 2, 0).numpy() for picture in batch.images], return_tensors="pt")
    expected = model(input_ids=batch.lm.ids, attention_mask=batch.lm.mask.long(), **pixels).logits[batch.lm.mask]
    error = (found - expected).abs().max() / expected.abs().max()
    print(f"llava: {error:.1e}")
    assert error <= 1e-5
    with pytest.raises(ConfigError, match=r"model.image_size=64: .* takes images of 32 pixels"):
        load_whole(str(tmp_path), False, 64)


# --------------------------------------------------------------------------------------------------------------------
# what cannot be loaded


def without(folder, name, target):
    """A copy of a saved model without one of its files."""
    shutil.copytree(folder, target)
    (target / name).unlink()
    return str(target)


def test_other_types_are_refused_by_name(tmp_path):
    from transformers import BlipConfig

    BlipConfig().save_pretrained(tmp_path)
    with pytest.raises(
        ConfigError, match=r"type blip are not supported, only llava, gemma3, mllama.*entry in FAMILIES"
    ):
        build_model(ModelConfig(vlm=str(tmp_path)), [])


def test_a_model_needs_its_image_processor_and_tokenizer(saved, tmp_path):
    with pytest.raises(ConfigError, match=r"model.vlm=.*no preprocessor_config.json"):
        load_whole(without(saved[3], "preprocessor_config.json", tmp_path / "a"), False, None)
    shutil.copytree(saved[3], tmp_path / "b")
    train_tokenizer(["a"]).save_pretrained(tmp_path / "b")
    with pytest.raises(ConfigError, match=r"its tokenizer has no token <"):
        load_whole(str(tmp_path / "b"), False, None)


def test_the_architecture_loads_without_weights(saved, whole):
    with torch.device("meta"):
        empty = load_whole(str(saved[3]), True, None)
    assert empty.num_image_tokens == whole.num_image_tokens
    shapes = {name: parameter.shape for name, parameter in whole.named_parameters()}
    assert {name: parameter.shape for name, parameter in empty.named_parameters()} == shapes
    side = whole.vision.image_size
    tokens = empty.encode_images(torch.empty(2, 3, side, side, dtype=torch.uint8, device="meta"))
    assert tokens.shape == whole.encode_images(torch.zeros(2, 3, side, side, dtype=torch.uint8)).shape


def test_image_sizes_are_those_that_the_model_takes(saved, tmp_path):
    if saved[0].startswith("qwen"):
        whole = load_whole(str(saved[3]), True, 64)
        assert (whole.vision.image_size, whole.vision.num_tokens) == (64, 4 * 4 + 2)
        with pytest.raises(ConfigError, match="takes multiples of 16, such as 48"):
            load_whole(str(saved[3]), False, 50)
        shutil.copytree(saved[3], tmp_path / "old")  # how Qwen2-VL was published
        settings = {"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 1024, "max_pixels": 4096}
        (tmp_path / "old" / "preprocessor_config.json").write_text(json.dumps(settings))
        assert load_whole(str(tmp_path / "old"), True, None).vision.image_size == 64
    else:
        with pytest.raises(ConfigError, match=r"model.image_size=64: .* takes images of 32 pixels"):
            load_whole(str(saved[3]), False, 64)


def test_adapters_train_in_place_of_their_parts_and_merge(whole, batch):
    names = whole.state_dict().keys()
    add_lora(whole, LoraOptions(rank=2, parts=["vision", "llm"]))
    whole.set_trainable(["vision", "projector", "llm"])
    hidden = whole.hidden_states({"lm": (batch.lm, whole.encode_images(batch.images))})["lm"]
    whole.lm_loss(hidden, batch.lm).backward()
    trained = {name: parameter for name, parameter in whole.named_parameters() if parameter.requires_grad}
    assert {name.split(".")[0] for name in trained} == {"vision", "projector", "llm"}
    assert all(name.startswith("projector") or ".lora_" in name for name in trained)
    assert all(parameter.grad is not None for parameter in trained.values())
    for name, parameter in trained.items():
        if ".lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    assert 0 < merge_lora(whole) < 1e-4
    assert whole.state_dict().keys() == names


def test_a_whole_model_is_asked_as_it_is(saved, whole, corpus, tmp_path):
    trained = load_whole_model(str(saved[3]))
    assert trained.vlm.num_image_tokens == whole.num_image_tokens
    picture = tmp_path / "x.png"
    Image.fromarray(corpus.load_image(corpus.splits["test"][0].image, 64)).save(picture)
    answer = answer_question(trained.vlm, trained.tokens, picture, "which organ?", ["lung", "brain"], 2)
    assert len(answer.logprobs) == 2
    assert max(answer.logprobs) < 0
