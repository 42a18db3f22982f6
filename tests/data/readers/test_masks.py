import numpy as np
import pytest
from PIL import Image

from medgraph.data import read
from medgraph.data.errors import DataError


@pytest.fixture
def root(write, tmp_path):
    for i in range(12):
        write(f"polyps/images/{i}.png")
        mask = np.zeros((12, 12), np.uint8)
        if i:
            mask[3:6, 6:9] = 255
        (tmp_path / "polyps" / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "polyps" / "masks" / f"{i}.bmp")
    return tmp_path / "polyps"


def test_masks_become_questions_about_boxes(root, records_of):
    corpus = read("masks", root, triplet="End/Intestine/polyp_det", classes=["255:polyp"])
    records = records_of(corpus)
    assert len(records) == 11
    assert corpus.notes["images with an empty mask, left out"] == 1
    assert {(record.answer, record.label) for record in records} == {("{<50><25><75><50>}", "polyp")}
    assert records[0].question == "Where is the polyp? Give its box."
    assert (str(records[0].triplet), records[0].question_type) == ("End/Intestine/polyp_det", "polyp_det")


def test_mistakes(root):
    with pytest.raises(DataError, match=r"found 255, expected one of \[1\]; name the value"):
        read("masks", root, triplet="End/Intestine/polyp_det", classes=["1:polyp"])
    Image.new("L", (5, 5), 255).save(root / "masks" / "3.bmp")
    with pytest.raises(DataError, match=r"3.bmp: found .5 x 5 pixels., expected \d+ x \d+ as in"):
        read("masks", root, triplet="End/Intestine/polyp_det", classes=["255:polyp"])
    (root / "masks" / "2.bmp").unlink()
    with pytest.raises(DataError, match="expected one mask"):
        read("masks", root, triplet="End/Intestine/polyp_det", classes=["255:polyp"])
