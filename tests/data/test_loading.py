import numpy as np
import pytest

from medgraph.data.loading import ConversationDataset, EpochSampler, ImageCache


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
