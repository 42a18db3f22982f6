import csv
from pathlib import Path

import pytest

from medgraph.data.records import MATTriplet
from medgraph.data.registry import DatasetSpec, Registry, SubsetSpec, builtin, from_yaml
from medgraph.data.vocabulary import AREAS, MODALITIES, TASKS

SPECS = Path(__file__).parents[3] / "shared" / "specs"


def test_counts_of_the_release():
    registry = builtin()
    assert [spec.no for spec in registry] == list(range(1, 54))
    assert len(registry.filter(role="id")) == 25
    assert len(registry.filter(role="ood")) == 12
    assert len(registry.filter(kind="cls")) == 37
    assert len(registry.datasets) == 109
    used = {no for spec in registry for no in spec.datasets}
    assert set(registry.datasets) - used == {43, 64, 83}
    assert sum(spec.multilabel for spec in registry if spec.kind == "cls") == 5


def test_both_tables_agree_on_which_subset_uses_which_data_set():
    registry = builtin()
    for spec in registry:
        assert set(spec.datasets) == {d.no for d in registry.datasets.values() if spec.no in d.subsets}


def test_every_word_is_in_the_vocabularies():
    for spec in builtin():
        assert MODALITIES.canonical(spec.triplet.modality) == spec.triplet.modality
        assert AREAS.canonical(spec.triplet.area) == spec.triplet.area
        assert TASKS.canonical(spec.triplet.task) == spec.triplet.task
    assert (len(list(MODALITIES)), len(list(AREAS)), len(list(TASKS))) == (11, 16, 13)


def test_tags_follow_parents_and_alternates():
    registry = builtin()
    assert registry[4].tags == {"cancer", "state"}
    assert registry[17].tags == {"quality", "level"}
    assert registry[38].tags == {"lesion_det", "cancer_det"}


def test_look_up_by_number_key_and_triplet():
    registry = builtin()
    assert registry[3] is registry["03"] is registry["subset-03"] is registry["ct/lungs/COVID-19"]
    with pytest.raises(KeyError, match="unknown subset 54; known numbers: 1-53"):
        registry[54]
    with pytest.raises(KeyError, match="does not name one subset: none"):
        registry["MRI/Lung/covid"]


def test_the_six_ambiguous_triplets_refuse():
    registry = builtin()
    cls = {frozenset(nos) for t, nos in registry.ambiguous().items() if registry[nos[0]].kind == "cls"}
    assert cls == {frozenset(pair) for pair in ((14, 15), (16, 34), (18, 20), (25, 35), (27, 36), (29, 37))}
    for triplet in registry.ambiguous():
        with pytest.raises(KeyError, match="use the number"):
            registry[str(triplet)]


def test_shared_sources_name_the_classification_and_detection_pairs():
    pairs = builtin().shared_datasets()
    expected = [(30, 47), (36, 49), (31, 50), (19, 42), (24, 43), (18, 22)]
    assert all(frozenset(pair) in pairs for pair in expected)
    assert "BUSI" in pairs[frozenset((24, 43))]
    assert frozenset((3, 4)) not in pairs


def test_the_ultrasound_subset_43_keeps_its_published_area():
    assert str(builtin()[43].triplet) == "US/Chest/lesion_det"
    assert "says Chest" in builtin().datasets[97].note


def test_the_open_part_keeps_what_needs_no_account():
    registry = builtin()
    part = registry.open_part()
    assert part[18].datasets == (33, 37, 38, 40, 65, 70)
    assert 2 not in part
    for spec in part:
        assert {registry.datasets[no].access for no in spec.datasets} == {"open"}
    own = registry.with_subsets([SubsetSpec(101, MATTriplet("CT", "Lung", "state"))]).open_part()
    assert 101 in own


def test_licences_are_stated_where_they_are_known():
    datasets = builtin().datasets
    assert datasets[86].licence.startswith("PhysioNet Credentialed")
    assert datasets[40].licence == "CC BY 4.0"
    assert datasets[2].licence == ""


def test_access_of_data_sets():
    registry = builtin()
    assert {d.no for d in registry.datasets.values() if d.access == "credentialed"} == {86, 87, 100, 101}
    assert registry.datasets[40].access == "open"
    assert registry.datasets[2].access == "account"


SPEC = SubsetSpec(101, MATTriplet("X-ray", "Lung", "recognition"), "View")


@pytest.mark.parametrize(
    ("subsets", "message"),
    [
        ([SPEC, SPEC], "subset 101 exists twice"),
        ([SubsetSpec(1, SPEC.triplet, kind="x")], "kind 'x' is none of"),
        ([SubsetSpec(1, SPEC.triplet, datasets=(7,))], "unknown data set number 7"),
        ([SubsetSpec(1, SPEC.triplet, kind="det")], "contradicts the task"),
        ([SubsetSpec(1, MATTriplet("CT", "Lung", "organ_det"))], "contradicts the task"),
    ],
)
def test_contradictions_are_refused(subsets, message):
    with pytest.raises(ValueError, match=message):
        Registry(subsets, [DatasetSpec(1, "a", "CT", "Lung", "", (), "open", "")])


def test_a_registry_grows_without_changing_the_built_in_one():
    grown = builtin().with_subsets([SPEC])
    assert 101 in grown
    assert 101 not in builtin()
    assert len(grown) == 54


def test_subsets_from_yaml(tmp_path):
    file = tmp_path / "subsets.yaml"
    file.write_text("101: {triplet: x-ray/lungs/recognition, alternates: [level], multilabel: true}\n")
    spec = from_yaml(file)[101]
    assert str(spec.triplet) == "X-ray/Lung/recognition"
    assert spec.tags == {"recognition", "level"}
    assert spec.multilabel


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "expected a mapping"),
        ("101: 3", r"subset 101: expected \{triplet"),
        ("a: {triplet: CT/Lung/state}", "subset 'a': the key must be a whole number"),
        ("101: {triplet: CT/Lung}", "is not a triplet"),
        ("101: {triplet: CTT/Lung/state}", "unknown modality 'CTT'"),
        ("101: {triplet: CT/Lung/state, colour: 1}", "unknown entry 'colour'"),
        ("3: {triplet: CT/Lung/state}", "subset 3 exists twice"),
    ],
)
def test_mistakes_in_yaml_name_the_file(tmp_path, text, message):
    file = tmp_path / "subsets.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        from_yaml(file)
    assert "exists twice" in message or str(file) in str(error.value)


@pytest.mark.skipif(not SPECS.is_dir(), reason="the tables of facts are not on this machine")
def test_packaged_table_equals_the_facts():
    with (SPECS / "medmat_subsets.csv").open() as file:
        for row in csv.DictReader(file):
            spec = builtin()[int(row["no"])]
            assert (spec.triplet.modality, spec.triplet.area, spec.triplet.task) == (
                row["modality"], row["area"], row["task_category"])  # fmt: skip
            assert spec.role == {"ID": "id", "OOD": "ood"}.get(row["paper_split"])
