import pytest
import torch
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from medgraph.config import ExperimentConfig, ModelConfig, StageConfig
from medgraph.config import to_yaml as config_text
from medgraph.models.build import build_model
from medgraph.models.llava_format import import_llava
from medgraph.models.tokenizer import train_tokenizer
from medgraph.training.weights import trained_state

TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32,
         "patch_size": 16}  # fmt: skip
LLM = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture
def make_run(tmp_path):
    """Make the folder of a finished run with saved parts; return it and its model."""

    def make_run(projector="mlp2x_gelu"):
        CLIPVisionModel(CLIPVisionConfig(**TOWER)).save_pretrained(tmp_path / "tower")
        tokenizer = train_tokenizer(["a lung"])
        LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **LLM)).save_pretrained(tmp_path / "llm")
        tokenizer.save_pretrained(tmp_path / "llm")
        model = ModelConfig("mine", str(tmp_path / "tower"), str(tmp_path / "llm"), projector=projector)
        none, stage = StageConfig(steps=0), StageConfig(steps=1, train=["projector", "llm"])
        vlm = build_model(model, [])
        with torch.no_grad():
            for parameter in [*vlm.projector.parameters(), *vlm.llm.parameters()]:
                parameter.add_(0.01)  # what training did
        config = ExperimentConfig(model=model, stage1=none, stage2=stage, stage3=none)
        (tmp_path / "run" / "stage2").mkdir(parents=True)
        (tmp_path / "run" / "config.yaml").write_text(config_text(config))
        vlm.tokenizer.save_pretrained(tmp_path / "run" / "tokenizer")
        save_file(trained_state(vlm, stage.train), tmp_path / "run" / "stage2" / "weights.safetensors")
        return tmp_path / "run", vlm

    return make_run


def test_export_saves_the_trained_model(medgraph, make_run, tmp_path):
    run, vlm = make_run()
    code, out, _ = medgraph("export", run, tmp_path / "out")
    assert code == 0
    assert float(out.split(" by ")[1].split()[0]) <= 1e-5
    exported = import_llava(str(tmp_path / "out")).state_dict()
    assert all(torch.equal(exported[name], tensor) for name, tensor in vlm.state_dict().items())


def test_a_model_that_the_format_cannot_express_is_refused(medgraph, make_run, tmp_path):
    run, _ = make_run("linear")
    code, out, err = medgraph("export", run, tmp_path / "out")
    assert (code, out) == (2, "")
    assert "cannot be expressed in the llava-hf format: it has two linear layers" in err
