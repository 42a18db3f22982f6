import dataclasses

import numpy as np
import pytest

from medgraph.data import loading
from medgraph.data.loading import ConversationDataset, EpochSampler, ImageCache, ShareSampler


def test_every_epoch_has_its_own_order_and_no_repeats():
    sampler = EpochSampler(10, 3, seed=0)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert len(first) == len(second) == 9  # the tail that does not fill a batch waits for another epoch
    assert len({index for _, index in first}) == 9
    assert [index for _, index in first] != [index for _, index in second]


@pytest.mark.parametrize("trained", [0, 1, 3, 4])
def test_a_resumed_epoch_has_the_batches_that_are_left(trained):
    def order(sampler):
        sampler.set_epoch(5)
        return list(sampler)

    whole, resumed = EpochSampler(14, 3, seed=1), EpochSampler(14, 3, seed=1, skip_batches=trained)
    # 4 batches an epoch: a checkpoint of a finished epoch starts the next one from its beginning
    assert order(resumed) == order(whole)[3 * (trained % 4) :]
    assert order(resumed) == order(whole)  # only the first epoch is cut


def test_too_few_images_for_a_batch_say_so():
    with pytest.raises(ValueError, match="7 training images do not fill one batch of 8"):
        EpochSampler(7, 8, seed=0)


def test_turns_change_their_order_with_the_epoch(corpus, images):
    dataset = ConversationDataset(corpus.splits["train"], images, seed=0)
    orders = {tuple(record.id for record in dataset[epoch, 0][1]) for epoch in range(20)}
    assert len(orders) > 1
    assert len({frozenset(order) for order in orders}) == 1
    assert np.array_equal(dataset[0, 0][0], dataset[7, 0][0])


def test_the_cache_loads_once_and_respects_its_limit(corpus):
    calls = []

    class Counting:
        def load_image(self, image, side):
            calls.append(image)
            return np.zeros((side, side, 3), np.uint8)

    cache = ImageCache(Counting(), 8, limit=8 * 8 * 3)
    for image in ("a", "a", "b", "b"):
        cache(image)
    assert calls == ["a", "b", "b"]


@pytest.fixture
def on_ranks(monkeypatch):
    """Call something on each of several pretended ranks."""

    def call(ranks, function):
        results = []
        for rank in range(ranks):
            monkeypatch.setattr(loading, "rank_and_ranks", lambda rank=rank: (rank, ranks))
            results.append(function())
        return results

    return call


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_train_on_different_samples_and_on_equally_many(on_ranks, ranks):
    shares = on_ranks(ranks, lambda: [index for _, index in EpochSampler(25, 2, seed=0)])
    together = [index for share in shares for index in share]
    assert {len(share) for share in shares} == {25 // (2 * ranks) * 2}
    assert len(set(together)) == len(together)
    epochs = set()
    for epoch in range(8):  # what an epoch leaves out comes in another one

        def share(epoch=epoch):
            sampler = EpochSampler(25, 2, seed=0)
            sampler.set_epoch(epoch)
            return [index for _, index in sampler]

        epochs.update(*on_ranks(ranks, share))
    assert epochs == set(range(25))


def test_the_batches_of_a_step_are_the_batch_of_one_process(on_ranks):
    whole = on_ranks(1, lambda: list(EpochSampler(25, 6, seed=0)))[0]
    shares = on_ranks(3, lambda: list(EpochSampler(25, 2, seed=0)))
    steps = range(0, len(shares[0]), 2)
    assert [key for start in steps for share in shares for key in share[start : start + 2]] == whole


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_resume_behind_what_all_of_them_have_trained_on(on_ranks, ranks):
    whole = on_ranks(ranks, lambda: list(EpochSampler(50, 2, seed=0)))
    resumed = on_ranks(ranks, lambda: list(EpochSampler(50, 2, seed=0, skip_batches=3)))
    assert resumed == [share[6:] for share in whole]


@pytest.mark.parametrize(("size", "ranks"), [(7, 1), (7, 2), (7, 3), (2, 4)])
def test_ranks_evaluate_everything_once(on_ranks, size, ranks):
    shares = on_ranks(ranks, lambda: list(ShareSampler(size)))
    assert sorted(index for share in shares for index in share) == list(range(size))
    assert on_ranks(ranks, lambda: len(ShareSampler(size))) == [len(share) for share in shares]
    even = on_ranks(ranks, lambda: list(ShareSampler(size, even=True)))
    assert {len(share) for share in even} == {-(-size // ranks)}
    assert {index for share in even for index in share} == set(range(size))


@pytest.fixture
def many(corpus):
    """11 questions about one image and 3 about another."""
    record = corpus.splits["train"][0]
    return [
        dataclasses.replace(record, id=f"talk-{image}/{turn}", image_id=image, question=f"{turn}?", subset="talks")
        for image, count in (("a", 11), ("b", 3))
        for turn in range(count)
    ]


def test_many_questions_share_several_samples_anew_each_epoch(many, images):
    dataset = ConversationDataset(many, images, seed=0, turns=4)
    sizes = [len(dataset[0, i][1]) for i in range(len(dataset))]
    assert sizes == [3, 4, 4, 3]
    epochs = [[frozenset(record.id for record in dataset[epoch, i][1]) for i in range(3)] for epoch in range(4)]
    assert all(frozenset().union(*parts) == {record.id for record in many[:11]} for parts in epochs)
    assert len({tuple(parts) for parts in epochs}) == 4


def test_conversations_keep_their_order_and_stay_whole(many, images):
    again = [dataclasses.replace(record, id=f"second {record.id}") for record in many[:3]]
    dataset = ConversationDataset(many + again, images, seed=0, ordered={"talks"}, turns=4)
    for epoch in range(3):
        talks = [[record.id for record in dataset[epoch, i][1]] for i in range(len(dataset))]
        assert talks == [[f"talk-a/{i}" for i in range(11)], [f"talk-b/{i}" for i in range(3)],
                         [f"second talk-a/{i}" for i in range(3)]]  # fmt: skip


def test_a_sample_costs_the_same_however_many_there_are(many, images):
    """Nothing is searched: one sample and one group are looked up."""

    class Counting(list):
        touched = 0

        def __getitem__(self, index):
            Counting.touched += 1
            return super().__getitem__(index)

        def __iter__(self):
            raise AssertionError("a sample must not go through the data set")

    records = [dataclasses.replace(many[0], image_id=f"{i}") for i in range(500)]
    dataset = ConversationDataset(records, images, seed=0)
    dataset.samples, dataset.groups = Counting(dataset.samples), Counting(dataset.groups)
    dataset[0, 400]
    assert Counting.touched == 2
