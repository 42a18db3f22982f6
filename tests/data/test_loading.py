import numpy as np
import pytest

from medgraph.data.loading import ConversationDataset, EpochSampler, ImageCache, ResumableLoader


def epochs(loader, first, count):
    """Batches of some epochs, as Lightning iterates them."""
    for epoch in range(first, first + count):
        loader.sampler.set_epoch(epoch)
        yield from loader


def make_loader(corpus, images, batch_size=5):
    dataset = ConversationDataset(corpus.splits["train"], images, seed=1)
    sampler = EpochSampler(len(dataset), batch_size, seed=1)
    return ResumableLoader(dataset, sampler, collate_fn=lambda samples: [r.id for _, rs in samples for r in rs])


def test_every_epoch_has_its_own_order_and_no_repeats():
    sampler = EpochSampler(10, 3, seed=0)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert len(first) == len(second) == 9  # the tail that does not fill a batch waits for another epoch
    assert len({index for _, index in first}) == 9
    assert [index for _, index in first] != [index for _, index in second]


@pytest.mark.parametrize("stop", [0, 1, 3, 4, 6])
def test_a_resumed_loader_continues_with_the_next_batch(corpus, images, stop):
    whole = list(epochs(make_loader(corpus, images), 0, 3))
    loader = make_loader(corpus, images)
    per_epoch = len(loader)
    seen = []
    for number, batch in enumerate(epochs(loader, 0, 3)):
        if number == stop:
            break
        seen.append(batch)
    # Lightning asks for the state after the last trained batch; the batch that broke the loop was prefetched
    state = {"epoch": stop // per_epoch, "batches": stop % per_epoch}
    fresh = make_loader(corpus, images)
    fresh.load_state_dict(state)
    rest = list(fresh) + list(epochs(fresh, state["epoch"] + 1, 2 - state["epoch"]))
    assert seen + rest == whole


def test_the_state_counts_batches_handed_out(corpus, images):
    loader = make_loader(corpus, images)
    iterator = iter(loader)
    next(iterator)
    next(iterator)
    assert loader.state_dict() == {"epoch": 0, "batches": 2}


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
