import pytest

from medgraph.data import read
from medgraph.data.errors import DataError


def turns(*texts):
    return [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(texts)]


def item(number, long=None, **more):
    short = turns("<image>\nWhat is it?", "A mass.", "Where?\n<image>", "On the left.")
    extra = {} if long is None else {"conversations_long": long}
    return {"id": f"case-{number}", "image": f"{number}.jpg", "conversations": short, **extra, **more}


def test_pairs_of_turns_with_long_answers(write, records_of):
    long = turns("What is it?", "A large mass is seen.", "Where?", "It lies on the left side.")
    file = write("a.json", [item(0, long, domain={"mri": True, "ct_scan": False}), item(1)])
    corpus = read("conversations", file)
    records = {record.id: record for record in records_of(corpus)}
    first = records["instruct/0-case-0/0"]
    assert (first.question, first.answer, first.extended) == ("What is it?", "A mass.", "A large mass is seen.")
    assert records["instruct/0-case-0/1"].question == "Where?"
    assert first.triplet.modality == "MRI"
    assert "A mass." in records["instruct/1-case-1/0"].extended
    assert corpus.notes["conversations with long answers"] == 1


def test_misspelt_keys_and_repeated_ids_are_accepted(write, records_of):
    raw = item(0)
    raw["conversatons"] = raw.pop("conversations")
    raw["conversatons_long"] = turns("What is it?", "Long a.", "Where?", "Long b.")
    records = records_of(read("conversations", write("a.json", [raw, item(0)])))
    assert len(records) == 4
    assert {record.extended for record in records} >= {"Long a.", "Long b."}


def test_conversations_are_ordered_and_a_test_split_is_drawn(write):
    corpus = read("conversations", write("a.json", [item(i) for i in range(200)]), questions_per_image=1)
    assert corpus.ordered == {"instruct"}
    assert {record.id.rpartition("/")[2] for record in corpus.splits["train"]} == {"0"}
    sizes = {name: len({record.image_id for record in records}) for name, records in corpus.splits.items()}
    assert sizes["train"] == sizes["task"] > 170
    assert 0 < sizes["test"] < 20
    images = [{record.image_id for record in corpus.splits[name]} for name in ("train", "val", "test")]
    assert len(set.union(*images)) == sum(map(len, images))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conversations": turns("Q")}, r"record case-0, field 'conversations': found \['human'\]"),
        ({"conversations": turns("Q", "A")[::-1]}, "expected turns that alternate"),
        ({"conversations": []}, "expected as many pairs of turns"),
        ({"conversations": "x"}, "expected a list of turns"),
        ({"conversations": ["x", "y"]}, "expected turns that alternate"),
        ({"conversations": turns("Q", "")}, "field 'value': found ''"),
        ({"conversations_long": turns("Q", "A")}, "found 1, expected as many pairs .* has \\(2\\)"),
        ({"image": None}, "field 'image'"),
    ],
)
def test_malformed_conversations(write, change, message):
    with pytest.raises(DataError, match=message):
        read("conversations", write("a.json", [{**item(0), **change}]))
