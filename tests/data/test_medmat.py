import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from medgraph.config import ConfigError, MedMATConfig
from medgraph.data.errors import DataError
from medgraph.data.medmat import build_medmat, load

REAL = Path(__file__).parents[3] / "shared" / "data" / "med-mat"

LUNG = {"Benign": 30, "Malignant": 30, "Normal": 30}
SUBSETS = {
    3: {"COVID-19": 40, "Non-COVID": 40},
    4: LUNG,
    5: {"Hemorrhage": 30, "Normal": 30},
    28: LUNG,
    25: LUNG,
    6: LUNG,
}


def build(root, **options):
    return build_medmat(MedMATConfig(root=str(root), **options))


def image(subset, label, i):
    return f"med-mat/set {subset}/{label}/{label}- ({i + 1}).png"


def groups_of(corpus):
    return {name: {record.group for record in records} for name, records in corpus.splits.items()}


def test_two_records_an_image_with_the_released_options(make_release):
    corpus = build(make_release(SUBSETS), ood_subsets=["4"])
    records = [record for split in corpus.splits.values() for record in split]
    assert len({record.id for record in records}) == len(records)
    choice = next(record for record in records if record.id == "subset-04/7/choice")
    assert choice.answer_type == "choice"
    assert choice.answer == "Benign"
    assert sorted(choice.options) == ["Benign", "Malignant", "Normal"]
    assert str(choice.triplet) == "CT/Lung/cancer"
    assert (choice.subset, choice.label, choice.group) == ("subset-04", "Benign", choice.image)
    opened = next(record for record in records if record.id == "subset-04/7/open")
    assert (opened.answer, opened.answer_type, opened.options) == ("Benign", "open", ())
    assert "\n" not in choice.question
    assert choice.answer in choice.extended


def test_splits_are_disjoint_and_ood_is_a_whole_subset(make_release):
    corpus = build(make_release(SUBSETS), ood_subsets=["04"])
    assert {record.subset for record in corpus.splits["ood"]} == {"subset-04"}
    assert len(corpus.splits["ood"]) == 2 * 90
    names = list(groups_of(corpus).values())
    assert all(not a & b for i, a in enumerate(names) for b in names[:i])
    assert {len(records) > 0 for records in corpus.splits.values()} == {True}


def test_the_papers_split_is_nine_to_one_and_its_task_set_is_training(make_release):
    corpus = build(make_release({25: {"A": 1000, "B": 1000}, 28: LUNG}), split="paper", ood_subsets=["28"])
    counts = Counter({name: len({r.image for r in rs}) for name, rs in corpus.splits.items()})
    assert counts["test"] / (counts["train"] + counts["val"] + counts["test"]) == pytest.approx(0.1, abs=0.02)
    assert counts["val"] / (counts["train"] + counts["val"]) == pytest.approx(0.05, abs=0.02)
    assert corpus.splits["task"] == corpus.splits["train"]


def test_test_sets_have_equally_many_images_of_every_label(make_release):
    corpus = build(make_release(SUBSETS), ood_subsets=["04"])
    for subset in ("subset-03", "subset-28"):
        counts = Counter(record.label for record in corpus.splits["test"] if record.subset == subset)
        assert len(set(counts.values())) == 1


def test_test_images_with_a_label_that_training_lacks_are_left_out(make_release):
    rare = {"COVID-19": 40, "Non-COVID": 40, "Rare": 1}
    for seed in range(40):  # until the only image of the label is drawn for the test split
        corpus = build(make_release({3: rare, 5: SUBSETS[5], 28: LUNG}), ood_subsets=["28"], seed=seed)
        if corpus.notes.get("test images left out because no training image has their label"):
            break
    else:
        pytest.fail("no seed draws the image for the test split")
    assert not any(record.label == "Rare" for records in corpus.splits.values() for record in records)


def test_adding_a_subset_moves_nothing(make_release):
    root = make_release({3: SUBSETS[3], 5: SUBSETS[5], 28: LUNG})
    few = build(root, ood_subsets=["3"])
    many = build(make_release({6: LUNG}), ood_subsets=["3"])
    for name, records in few.splits.items():
        assert {r.id for r in records} == {r.id for r in many.splits[name] if r.subset != "subset-06"}


def test_fractions_are_nested_and_keep_every_subset(make_release):
    root = make_release(SUBSETS)
    ids = [{r.image_id for r in build(root, ood_subsets=["4"], fraction=f).splits["train"]} for f in (0.1, 0.4, 1.0)]
    assert ids[0] < ids[1] < ids[2]
    assert len(ids[0]) == pytest.approx(0.1 * len(ids[2]), abs=4)
    tests = [build(root, ood_subsets=["4"], fraction=f).splits["test"] for f in (0.1, 1.0)]
    assert tests[0] == tests[1]


def test_cap_is_balanced_and_counted(make_release):
    corpus = build(make_release(SUBSETS), ood_subsets=["4"], max_per_subset=20)
    counts = Counter(record.label for record in corpus.splits["train"] if record.subset == "subset-03")
    assert counts == {"COVID-19": 20, "Non-COVID": 20}  # two records an image
    assert corpus.notes["train images over the cap of data.max_per_subset"] > 0


def test_seed_moves_the_splits_and_fingerprint_tells(make_release):
    root = make_release(SUBSETS)
    one, same, other = (build(root, ood_subsets=["4"], seed=seed).fingerprint() for seed in (0, 0, 1))
    assert one == same != other


def test_groups_stay_together_and_leave_training_if_held_out(make_release):
    rows = [
        {"image": image(subset, label, i), "subset": str(subset), "group": f"patient-{i % 10}"}
        for subset, counts in ((3, SUBSETS[3]), (5, SUBSETS[5]), (28, LUNG))
        for label, count in counts.items()
        for i in range(count)
    ]
    root = make_release({3: SUBSETS[3], 5: SUBSETS[5], 28: LUNG, 4: LUNG}, rows)
    corpus = build(root, ood_subsets=["4"])
    names = list(groups_of(corpus).values())
    assert all(not a & b for i, a in enumerate(names) for b in names[:i])
    leaking = build(root, ood_subsets=["28"])
    assert leaking.notes["images left out because their group occurs in ood"] == 80 + 60
    assert {record.subset for record in leaking.splits["train"]} == {"subset-04"}


def test_unknown_subsets_are_described_by_groups_csv(make_release):
    facts = {"subset": "101", "modality": "x-ray", "area": "lungs", "task": "View Position Recognition"}
    rows = [{"image": image(101, label, i), **facts} for label in ("AP", "Lateral") for i in range(10)]
    root = make_release({101: {"AP": 10, "Lateral": 10}, 25: LUNG}, rows)
    assert "X-ray/Lung/recognition" in {str(r.triplet) for r in build(root).splits["train"]}


def test_an_unknown_subset_without_description_says_what_to_write(make_release):
    with pytest.raises(DataError, match=r"subset 101.*groups\.csv.*subsets\.yaml"):
        build(make_release({101: {"AP": 10, "Lateral": 10}, 25: LUNG}))


def test_subsets_yaml_describes_unknown_subsets(make_release):
    root = make_release({101: {"AP": 10, "Lateral": 10}, 25: LUNG})
    (root / "subsets.yaml").write_text("101: {triplet: X-ray/Lung/recognition, name: View}\n")
    assert "X-ray/Lung/recognition" in {str(r.triplet) for r in build(root).splits["train"]}


@pytest.mark.parametrize(
    ("folder", "name"),
    [("Aggrregated_Subsets", "Subset--{:02d}-train.json"), (".", "Subset-{:02d}-train.json")],
)
def test_other_published_spellings(make_release, folder, name):
    assert len(build(make_release(SUBSETS, folder=folder, name=name)).splits["train"]) > 0


def test_wrong_numbers_and_held_out_siblings_are_configuration_errors(make_release):
    root = make_release({15: LUNG, 14: LUNG, 3: SUBSETS[3], 16: LUNG})
    with pytest.raises(ConfigError, match=r"data\.subsets: there is no file of subset 9; there are 3, 14, 15, 16"):
        build(root, subsets=["9"])
    with pytest.raises(ConfigError, match=r"'x' is not a subset number"):
        build(root, subsets=["x"])
    with pytest.raises(ConfigError, match=r"subset-15 has the held-out triplet FP/Fundus/diseases too"):
        build(root, ood_subsets=["14"])
    with pytest.raises(ConfigError, match="subset 5 is not among those read"):
        build(root, ood_subsets=["5"])
    with pytest.raises(ConfigError, match="every subset is held out"):
        build(root, subsets=["3"], ood_subsets=["3"])


def test_paths_are_corrected_and_counted(make_release, edit):
    root = make_release(SUBSETS)
    file = root / "Aggregated_Subsets" / "Subset--04-train.json"
    edit(file, 0, image="med-mat/SET_4/set 4/benign/Benign- (1).PNG")
    edit(file, 1, image="/elsewhere/med-mat/set 4/Benign/Benign- (2).png")
    corpus = build(root)
    assert corpus.notes["image paths corrected"] == 2
    images = {record.id: record.image for split in corpus.splits.values() for record in split}
    assert images["subset-04/1/open"] == "med-mat/set 4/Benign/Benign- (1).png"
    assert images["subset-04/2/open"] == "med-mat/set 4/Benign/Benign- (2).png"


def test_a_missing_image_is_an_error_with_the_count(make_release):
    root = make_release(SUBSETS)
    for i in (2, 3):
        (root / f"med-mat/set 4/Benign/Benign- ({i}).png").unlink()
    with pytest.raises(DataError, match=r"Subset--04-train\.json, record 2, field 'image'.*2 missing images"):
        build(root)


def test_paths_out_of_the_root_are_refused(make_release, edit):
    root = make_release(SUBSETS)
    edit(root / "Aggregated_Subsets" / "Subset--04-train.json", 0, image="med-mat/../../secret.png")
    with pytest.raises(DataError, match=r"record 1, field 'image': found 'med-mat/\.\./\.\./secret\.png'"):
        build(root)


def test_one_image_with_two_labels_is_an_error(make_release, edit):
    root = make_release(SUBSETS)
    edit(root / "Aggregated_Subsets" / "Subset--04-train.json", 45, image="med-mat/set 4/Benign/Benign- (1).png")
    with pytest.raises(DataError, match=r"record 46, field 'caption': found 'Malignant'.*record 1"):
        build(root)


def test_an_unreadable_image_names_subset_and_record(make_release):
    corpus = build(make_release(SUBSETS))
    record = corpus.splits["train"][0]
    path = corpus.load_image.root / record.image
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=rf"{record.subset}, record {record.id}: .*complete image"):
        corpus.load_image(record.image, 8)


def test_quarantine_leaves_out_and_counts(make_release, edit):
    root = make_release(SUBSETS)
    file = root / "Aggregated_Subsets" / "Subset--04-train.json"
    edit(file, 0, Answer_choice="Z")
    edit(file, 1, image="../outside.png")
    edit(file, 2, image="med-mat/gone.png")
    edit(file, 45, image="med-mat/set 4/Benign/Benign- (10).png")
    (root / "quarantine.txt").write_text("med-mat/set 4/Benign/Benign- (20).png\n")
    with pytest.raises(DataError, match="record 1, field 'Answer-choice'"):
        build(root, ood_subsets=["4"])
    corpus = build(root, ood_subsets=["4"], on_error="quarantine")
    assert {note: count for note, count in corpus.notes.items() if "quarantined" in note} == {
        "quarantined: bad letter": 1,
        "quarantined: path refused": 1,
        "quarantined: image missing": 1,
        "quarantined: label conflict": 1,
        "quarantined: image listed as unreadable": 1,
    }
    left = {record.id for records in corpus.splits.values() for record in records}
    assert not left & {f"subset-04/{i}/open" for i in (1, 2, 3, 46, 20)}
    counts = Counter(record.label for record in corpus.splits["ood"])
    assert len(set(counts.values())) == 1  # balance is computed after leaving out


def test_too_much_quarantine_is_an_error(make_release):
    root = make_release(SUBSETS)
    for i in range(1, 11):
        (root / f"med-mat/set 4/Benign/Benign- ({i}).png").unlink()
    with pytest.raises(DataError, match=r"found '10 of 90 records unusable', expected at most 10%"):
        build(root, on_error="quarantine")


@pytest.mark.parametrize("questions", ["rebuilt", "neutral"])
def test_questions_can_be_rebuilt(make_release, questions):
    root = make_release(SUBSETS)
    corpus = build(root, ood_subsets=["4"], questions=questions)
    choices = [record for record in corpus.splits["ood"] if record.answer_type == "choice"]
    letters = Counter(record.options.index(record.answer) for record in choices)
    assert max(letters.values()) - min(letters.values()) <= 3
    assert {"lung" in record.question for record in choices} == {questions == "rebuilt"}
    released = build(root, ood_subsets=["4"])
    assert {name: [r.id for r in split] for name, split in corpus.splits.items()} == {
        name: [r.id for r in split] for name, split in released.splits.items()
    }


@pytest.mark.skipif(not REAL.is_dir(), reason="the real images are not on this machine")
def test_real_images():
    corpus = build(REAL)
    names = list(groups_of(corpus).values())
    assert all(not a & b for i, a in enumerate(names) for b in names[:i])
    assert sum(map(len, corpus.splits.values())) > 9000
    held = {record.triplet for record in corpus.splits["ood"]}
    trained = {record.triplet for record in corpus.splits["train"]}
    assert held
    assert not held & trained
    assert corpus.load_image(corpus.splits["train"][0].image, 64).shape == (64, 64, 3)


def test_only_open_leaves_out_images_of_data_sets_that_need_an_account(make_release, edit):
    root = make_release({2: {"a": 20, "b": 20}, 18: {"a": 40, "b": 40}, 101: {"a": 40, "b": 40}})
    (root / "subsets.yaml").write_text("101: {triplet: CT/Lung/state}")
    path = root / "Aggregated_Subsets" / "Subset--18-train.json"
    for i in range(80):  # 40 is open, 36 is not, 18 is no number of this subset
        edit(path, i, data_no={0: "40", 1: "36", 2: "18"}[i % 3])
    corpus = build_medmat(MedMATConfig(root=str(root), only_open=True))
    assert {record.subset for records in corpus.splits.values() for record in records} == {"subset-18", "subset-101"}
    assert corpus.notes["images left out because their data set needs an account"] == 53
    with pytest.raises(ConfigError, match=r"data\.only_open: every data set"):
        build_medmat(MedMATConfig(root=str(root), only_open=True, subsets=["2"]))


def test_question_files_are_read_one_at_a_time(make_release, monkeypatch):
    root = make_release({number: {"a": 12, "b": 12} for number in (2, 3, 4, 18)})

    class Items(list):
        """A list that can be referred to weakly."""

    read, alive = [], []

    def watched(*arguments):
        alive.append(sum(reference() is not None for reference in read))
        subset = load(*arguments)
        items = Items(subset.items)
        read.append(weakref.ref(items))
        return replace(subset, items=items)

    monkeypatch.setattr("medgraph.data.medmat.load", watched)
    build_medmat(MedMATConfig(root=str(root)))
    assert len(alive) == 4
    assert max(alive) <= 1
