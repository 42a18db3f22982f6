import json

import pytest

from medgraph.data.errors import DataError
from medgraph.data.medmat_files import find_subset_files, read_groups, read_subset, scan_subset


@pytest.fixture
def file(make_release):
    return make_release({4: {"Benign": 2, "Normal": 2}}) / "Aggregated_Subsets" / "Subset--04-train.json"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"caption": None}, r"record 3, field 'caption': found .*expected a value for 'caption'"),
        ({"caption": ""}, r"record 3, field 'caption': found '', expected a non-empty text"),
        ({"caption": ["Benign"]}, r"field 'caption': found \['Benign'\], expected a non-empty text"),
        ({"image": 7}, r"field 'image': found 7, expected a non-empty text"),
        ({"id": True}, r"record True, field 'id'"),
        ({"id": 1}, r"record 1, field 'id': found '1', expected an id that no other record"),
        ({"Answer_choice": "C"}, r"field 'Answer-choice': found 'C', expected one of A, B; correct the letter"),
        ({"Answer_choice": "AB"}, r"found 'AB', expected one of A, B"),
        ({"caption": "Malignant"}, r"record 3, field 'Answer-choice': found '[AB]: Normal', expected the letter of"),
        ({"Question_choice": "What?\nA: Benign"}, r"field 'Question-choice': found .*1 options.* expected two or more"),
    ],
)
def test_malformed_records_name_record_and_field(file, edit, change, message):
    edit(file, 2, **change)
    with pytest.raises(DataError, match=message) as error:
        read_subset(file)
    assert error.value.file == str(file)


def test_all_mistakes_of_a_file_are_found_in_one_pass(file, edit):
    edit(file, 0, image=None)
    edit(file, 2, caption="Malignant")
    found = list(scan_subset(file))
    assert [error.kind for error in found if isinstance(error, DataError)] == ["missing_field", "answer_mismatch"]
    assert [item.id for item in found if not isinstance(item, DataError)] == ["2", "4"]


def test_letters_and_captions_may_differ_in_spelling(file, edit):
    edit(file, 2, caption=" normal ")
    assert read_subset(file)[2].label == "Normal"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ('[{"id": 1, "capt', "json_unreadable"),
        ("", "json_unreadable"),
        ('{"id": 1}', "json_not_a_list"),
        ("[]", "empty_file"),
        ("[3]", "wrong_type"),
    ],
)
def test_broken_files(file, content, kind):
    file.write_text(content)
    with pytest.raises(DataError, match=r"Subset--04-train\.json") as error:
        read_subset(file)
    assert error.value.kind == kind


def test_not_utf8(file):
    file.write_bytes(b'["\xff"]')
    with pytest.raises(DataError, match="UTF-8"):
        read_subset(file)


def test_folders_without_or_with_doubled_subsets(tmp_path, file):
    (tmp_path / "other.txt").write_text("x")
    with pytest.raises(DataError, match=r"set data\.root to the folder that holds Aggregated_Subsets"):
        find_subset_files(tmp_path)
    root = file.parents[1]
    (root / "Subset-04-train.json").write_text("[]")
    with pytest.raises(DataError, match="expected one question file a subset"):
        find_subset_files(root)


def test_groups_csv(tmp_path):
    path = tmp_path / "groups.csv"
    assert read_groups(path) == {}
    path.write_text("image,subset,group\nmed-mat/a.png,3,p1\n")
    facts = read_groups(path)[3]["med-mat/a.png"]
    assert (facts.group, facts.modality) == ("p1", "")
    path.write_text("image,group\na,b\n")
    with pytest.raises(DataError, match="expected a column 'subset'"):
        read_groups(path)
    path.write_text("image,subset\na,three\n")
    with pytest.raises(DataError, match="line 2, field 'subset': found 'three'"):
        read_groups(path)


def test_large_ids_and_text_ids(file):
    records = json.loads(file.read_text())
    records[0]["id"] = "img-0001"
    file.write_text(json.dumps(records))
    assert read_subset(file)[0].id == "img-0001"
