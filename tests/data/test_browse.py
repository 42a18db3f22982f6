import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from medgraph.config import MedMATConfig
from medgraph.data.browse import contact_sheet, list_subsets, matrix, show_corpus, show_subset
from medgraph.data.medmat import build_medmat
from medgraph.data.records import Corpus
from medgraph.data.registry import builtin


def text(renderable):
    console = Console(record=True, width=250, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


@pytest.fixture
def corpus(make_release):
    labels = {"Benign": 20, "Normal": 20}
    return build_medmat(MedMATConfig(root=str(make_release({4: labels, 5: labels, 28: labels})), ood_subsets=["28"]))


def test_the_list_has_every_subset():
    shown = text(list_subsets(builtin()))
    assert all(spec.key in shown for spec in builtin())
    assert "Lung Cancer Classification" in shown


def test_one_subset_shows_sources_and_relatives():
    shown = text(show_subset(builtin()[24], builtin()))
    assert all(word in shown for word in ("US/Breast/cancer", "BUSI", "subset-43 (BUSI)", "account", "kaggle.com"))
    assert "subset-15" in text(show_subset(builtin()[14], builtin()))


def test_the_matrix_has_a_row_an_area_and_a_column_a_modality():
    shown = text(matrix(builtin()))
    assert "32 cancer" in shown
    assert all(modality in shown for modality in ("Co", "OCT", "X-ray"))


def test_statistics_of_a_corpus(corpus):
    shown = text(show_corpus(corpus, builtin(), cap=10))
    assert "CT/Lung/cancer" in shown
    assert "held out for ood" in shown


def test_a_contact_sheet_has_a_row_a_subset(corpus, tmp_path):
    path = contact_sheet(corpus, tmp_path / "sheet.png", columns=5, side=16)
    with Image.open(path) as sheet:
        assert sheet.size == (80, 48)
        assert np.asarray(sheet).std() > 0
    with pytest.raises(ValueError, match="no images in train"):
        contact_sheet(Corpus({"train": []}, corpus.load_image), tmp_path / "x.png")
