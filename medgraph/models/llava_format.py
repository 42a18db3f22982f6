"""Models in the llava-hf format: what `LlavaForConditionalGeneration` and `LlavaProcessor` of transformers read.

The format has one hidden state of a tower, two linear layers with an activation between them, and a causal language
model whose logits are one matrix times its final states.

Letters: T tokens, V vocabulary.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medgraph.config import ConfigError
from medgraph.data.collate import TokenBatch
from medgraph.data.conversation import IMAGE_MARK
from medgraph.models.connectors import ONE_LAYER
from medgraph.models.loss import LogitRule
from medgraph.models.medvlm import MedVLM
from medgraph.models.tokenizer import load_tokenizer
from medgraph.models.vision import VisionTower, image_settings

CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}USER: "
    "{% for part in message['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %} ASSISTANT:"
    "{% else %} {% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{{ eos_token }}{% endif %}{% endfor %}"
)
"""The conversations of `medgraph.data.conversation` as a chat template."""
TOLERANCE = 1e-4
"""Largest accepted difference of an exported model's logits, relative to the largest logit."""


def import_llava(path: str, random: bool = False) -> MedVLM:
    """Load a model in the llava-hf format and take it apart, so that the packed pass and the heads work on its parts.

    Args:
        path: local folder or hub name.
        random: keep the architecture only.

    Returns:
        The model in float32 on the CPU, in evaluation mode.

    Raises:
        ConfigError: if it uses several hidden states of its tower, another activation than GELU, or other tokens of the
            tower than its patches.
    """
    from transformers import AutoModelForImageTextToText, LlavaConfig, LlavaForConditionalGeneration

    config = LlavaConfig.from_pretrained(path)
    layer, strategy = config.vision_feature_layer, config.vision_feature_select_strategy
    if not isinstance(layer, int) or config.projector_hidden_act != "gelu":
        raise ConfigError(f"{path}: its config.json has vision_feature_layer={layer} and projector_hidden_act="
                          f"{config.projector_hidden_act}; only one layer and gelu can be imported")  # fmt: skip
    if layer >= 0:
        layer -= config.vision_config.num_hidden_layers + 1
    if random:
        whole = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    else:
        whole = LlavaForConditionalGeneration.from_pretrained(path, dtype=torch.float32)
    parts = whole.model
    mean, std, _ = image_settings(path)
    vision = VisionTower(parts.vision_tower, layer, mean, std, raw=True)
    if STRATEGIES.get(others := _other_tokens(vision)) != strategy:
        raise ConfigError(f"{path}: its config.json has vision_feature_select_strategy={strategy}, for a tower with "
                          f"{others} tokens besides its patches; only patches can be imported")  # fmt: skip
    projector = parts.multi_modal_projector
    vlm = MedVLM(
        vision,
        nn.Sequential(projector.linear_1, nn.GELU(), projector.linear_2),
        _language_model(whole.config.text_config, parts.language_model, whole.lm_head),
        load_tokenizer(path),
    )
    if vlm.image_token_id != config.image_token_id:
        raise ConfigError(f"{path}: image_token_index={config.image_token_id} in its config.json, but {IMAGE_MARK} is "
                          f"token {vlm.image_token_id} of its tokenizer")  # fmt: skip
    return vlm.eval()


STRATEGIES = {0: "full", 1: "default"}
"""What the format calls the choice of all patches, by the number of other tokens in front of them."""


def _other_tokens(vision: VisionTower) -> int:
    """Class and register tokens of a tower."""
    pixels = torch.zeros(1, 3, vision.image_size, vision.image_size)
    with torch.no_grad():
        return int(vision.model(pixel_values=pixels).last_hidden_state.shape[1]) - vision.patches


def _language_model(config: Any, decoder: nn.Module, head: nn.Module) -> Any:
    """Join the halves of a language model, without a copy of its weights."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        llm = AutoModelForCausalLM.from_config(config)
    setattr(llm, llm.base_model_prefix, decoder)
    llm.set_output_embeddings(head)
    return llm


def export_llava(vlm: MedVLM, folder: Path) -> float:
    """Save a model in the llava-hf format, with processor, tokenizer and chat template.

    The model that will be saved answers as this one on an image and a prompt, or nothing is written.

    Args:
        vlm: the model, in float32 on the CPU; not changed.
        folder: new or empty.

    Returns:
        Largest difference of the logits, relative to the largest logit.

    Raises:
        ConfigError: if the model cannot be expressed in the format; says why.
    """
    from transformers import CLIPImageProcessorPil, GenerationConfig, LlavaProcessor

    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; choose a new folder")
    whole, vision, tokenizer = _assemble(vlm), vlm.vision, vlm.tokenizer
    difference = _difference(vlm, whole)
    if not difference <= TOLERANCE:
        raise ConfigError(f"the model cannot be exported: its logits would change by {difference:.1e} of the largest; "
                          "the format has one hidden state of the tower, without a final norm")  # fmt: skip
    side = vision.image_size
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            image_mean=vision.mean.flatten().tolist(),
            image_std=vision.std.flatten().tolist(),
        ),
        tokenizer=tokenizer,
        patch_size=whole.config.vision_config.patch_size,
        vision_feature_select_strategy=whole.config.vision_feature_select_strategy,
        num_additional_image_tokens=_other_tokens(vision),
        chat_template=CHAT_TEMPLATE,
    )
    whole.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    whole.save_pretrained(folder)
    processor.save_pretrained(folder)
    return difference


def _assemble(vlm: MedVLM) -> Any:
    """A `LlavaForConditionalGeneration` of the model's own weights."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration, PreTrainedModel

    vision, projector = vlm.vision, vlm.projector
    head: Any = vlm.llm.get_output_embeddings()  # type: ignore[operator]
    layers = list(projector) if isinstance(projector, nn.Sequential) else []
    if type(vlm) is not MedVLM:
        raise _refusal("it has a tower, a projector and a language model, model.vlm has its own")
    if any(".lora_" in name for name, _ in vlm.named_parameters()):
        raise _refusal("it has no adapters; merge them first (medgraph.models.lora.merge_lora)")
    if hasattr(vision, "prompts"):
        raise _refusal("its tower adds nothing before a block, model.dvpt does")
    if list(map(type, layers)) != [nn.Linear, nn.GELU, nn.Linear]:
        raise _refusal("it has two linear layers with GELU between them, model.projector=mlp2x_gelu")
    if vision.connector != ONE_LAYER or not isinstance(vision.model, PreTrainedModel):
        raise _refusal(
            "it has one hidden state of a Hugging Face vision transformer, model.connector=none model.pool=1"
        )
    if (others := _other_tokens(vision)) not in STRATEGIES:
        raise _refusal(f"it leaves out one token in front of the patches, this tower has {others}")
    if getattr(head, "bias", None) is not None or LogitRule.of(vlm.llm.config) != LogitRule():
        raise _refusal("logits are the final states times one matrix, without bias, cap or factor")
    # other modules with the same weights but for the words: they grow by the image token where it has no row
    words = (vlm._embedding.weight, head.weight)
    tensors = [*vlm.parameters(), *vlm.buffers()]
    shared = {id(tensor): tensor for tensor in tensors if all(tensor is not word for word in words)}
    copies: Any = copy.deepcopy((vision.model, vlm.llm), shared)
    tower, llm = copies
    _grow(llm, vlm.image_token_id + 1)
    config = LlavaConfig(
        vision_config=tower.config,
        text_config=llm.config,
        image_token_index=vlm.image_token_id,
        image_seq_length=vision.num_tokens,
        vision_feature_select_strategy=STRATEGIES[others],
        vision_feature_layer=-1,
        multimodal_projector_bias=layers[0].bias is not None,
    )
    with torch.device("meta"):
        whole = LlavaForConditionalGeneration(config)
    before = _shapes(whole)
    whole.model.vision_tower, whole.model.language_model = tower, llm.base_model
    whole.model.multi_modal_projector.linear_1, whole.model.multi_modal_projector.linear_2 = layers[0], layers[2]
    whole.lm_head = llm.get_output_embeddings()
    if other := before ^ _shapes(whole):
        raise _refusal(f"tower and language model are as AutoModel makes them, these differ in {min(other)[0]}")
    return whole.eval()


def _shapes(model: nn.Module) -> set[tuple[str, torch.Size]]:
    return {(name, tensor.shape) for name, tensor in model.state_dict().items()}


def _refusal(reason: str) -> ConfigError:
    return ConfigError(f"the model cannot be expressed in the llava-hf format: {reason}")


def _grow(llm: Any, size: int) -> None:
    """Give a language model rows for tokens below ``size``: means of the others, which never have the largest logit."""
    rows = len(llm.get_input_embeddings().weight)
    if size <= rows:
        return
    llm.resize_token_embeddings(size, mean_resizing=False)
    with torch.no_grad():
        for part in (llm.get_input_embeddings(), llm.get_output_embeddings()):
            part.weight[rows:] = part.weight[:rows].mean(0)


@torch.no_grad()
def _difference(vlm: MedVLM, whole: Any) -> float:
    """Largest difference of the logits of two models for an image and a text, relative to the largest logit."""
    side = vlm.vision.image_size
    images = torch.randint(256, (1, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    text = vlm.tokenizer("USER: What is shown? ASSISTANT: A lung.", return_tensors="pt")["input_ids"]
    ids = torch.cat([torch.full((1, vlm.num_image_tokens), vlm.image_token_id), text], 1)
    batch = TokenBatch(ids, torch.ones_like(ids, dtype=torch.bool))
    hidden = vlm.hidden_states({"lm": (batch, vlm.encode_images(images))})["lm"]
    expected = vlm.llm.get_output_embeddings()(hidden)  # type: ignore[operator]
    pixels = (images / 255 - vlm.vision.mean) / vlm.vision.std
    found = whole(input_ids=ids, pixel_values=pixels).logits[..., : expected.shape[-1]]
    return float((found - expected).abs().max() / expected.abs().max())
