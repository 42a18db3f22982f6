import pytest
import torch

from medgraph.config import ConfigError
from medgraph.data.records import Corpus, conversations_in
from medgraph.report.representations import render_probes
from medgraph.training.representations import image_features, load_run, probe_tower, retrieve


def test_features_are_means_over_patches(vlm, corpus, images):
    records = [group[0] for group in conversations_in(corpus.splits["test"])]
    assert len({record.image_id for record in records}) == len(records)
    features = image_features(vlm.vision, images, [record.image for record in records])
    one = torch.from_numpy(images(records[3].image)).permute(2, 0, 1)[None]
    assert features[3] == pytest.approx(vlm.vision(one)[0].mean(0).detach().numpy(), abs=1e-5)


def test_a_model_is_probed_and_retrieves(vlm, corpus, tokens, capsys):
    probes = probe_tower(vlm.vision, corpus, resamples=20)
    assert [probe.probe for probe in probes] == ["knn", "linear"]
    assert all(0 <= probe.figures["accuracy"].value <= 1 for probe in probes)
    retrieval = retrieve(vlm, corpus, tokens, resamples=20)
    for direction in ("image_to_text", "text_to_image"):
        figures = retrieval[direction]
        assert figures["recall@1"].value <= figures["recall@5"].value <= figures["recall@10"].value == 1, "8 images"
    assert len(render_probes(probes, retrieval).renderables) == 2


def test_what_cannot_be_probed_is_said(vlm, corpus, tmp_path):
    empty = Corpus({**corpus.splits, "val": []}, corpus.load_image)
    with pytest.raises(ConfigError, match="split val has no image with a label that training has"):
        probe_tower(vlm.vision, empty)
    (tmp_path / "config.yaml").write_text("data: {num_train: 20, num_val: 2, num_test: 2, num_ood: 2, num_task: 2}")
    with pytest.raises(ConfigError, match="no stage has finished"):
        load_run(tmp_path)
