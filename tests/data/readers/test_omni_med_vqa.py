import pytest

from medgraph.data import read
from medgraph.data.errors import DataError


def row(number, dataset="ISIC", answer="Melanoma.", **more):
    return {"dataset": dataset, "question_id": f"{dataset}_{number}", "question_type": "Disease Diagnosis",
            "question": "What is it?", "gt_answer": answer, "image_path": f"Images/{dataset}/{number}.png",
            "option_A": "Naevus.", "option_B": "Melanoma.", "modality_type": "Dermoscopy", **more}  # fmt: skip


def test_test_only_with_two_to_four_options(write, tmp_path):
    write("QA_information/Open-access/ISIC.json", [row(1), row(2, option_C="Wart.", option_D="None of these.")])
    odd = row(1, "Chest", "No.", option_A="Yes.", option_B="No.")
    odd["modality"] = odd.pop("modality_type")  # one published record spells the key this way
    write("QA_information/Open-access/Chest.json", [odd])
    corpus = read("omni_med_vqa", tmp_path)
    assert {name: len(records) for name, records in corpus.splits.items() if records} == {"test": 3}
    by_id = {record.id.split("/")[-1]: record for record in corpus.splits["test"]}
    assert by_id["ISIC_1"].options == ("Naevus.", "Melanoma.")
    assert len(by_id["ISIC_2"].options) == 4
    assert by_id["ISIC_1"].triplet.modality == "Der"
    assert by_id["ISIC_1"].question_type == "disease diagnosis"
    only = read("omni_med_vqa", tmp_path, datasets=["Chest"])
    assert [record.subset for record in only.splits["test"]] == ["omni-med-vqa/Chest"]


def test_an_answer_that_is_no_option(write, tmp_path):
    write("QA_information/Open-access/ISIC.json", [row(1, answer="Wart")])
    with pytest.raises(DataError, match=r"record ISIC_1, field 'gt_answer': found 'Wart', expected one of"):
        read("omni_med_vqa", tmp_path)
    with pytest.raises(DataError, match="QA_information/ and Images/"):
        read("omni_med_vqa", tmp_path / "x")
