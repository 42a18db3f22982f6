import numpy as np
import pytest
from PIL import Image

from medgraph.config import ConfigError
from medgraph.data.errors import DataError
from medgraph.pretraining.data import BalancedSampler, ViewDataModule, balanced_order, read_images
from medgraph.pretraining.options import ViewOptions

GROUPS = ["ct"] * 30 + ["mr"] * 8 + ["us"] * 2


@pytest.mark.parametrize(("balance", "counts"), [(0.0, [30, 8, 2]), (1.0, [14, 13, 13]), (0.5, [22, 12, 6])])
def test_an_epoch_has_the_shares_that_were_asked_for(balance, counts):
    order = balanced_order(GROUPS, balance, np.random.default_rng(0))
    assert len(order) == len(GROUPS)
    assert np.bincount(np.unique(GROUPS, return_inverse=True)[1][order]).tolist() == counts
    for members in (order[order < 30], order[(order >= 30) & (order < 38)], order[order >= 38]):
        times = np.unique(members, return_counts=True)[1]
        assert times.max() - times.min() <= 1


def test_a_sampler_goes_on_where_a_checkpoint_left_off():
    whole = BalancedSampler(GROUPS, 8, seed=3)
    draws = []
    for epoch in range(2):
        whole.set_epoch(epoch)
        draws += list(whole)
    assert len(draws) == 2 * len(whole) == 2 * 40
    assert list(BalancedSampler(GROUPS, 8, seed=3, skip_batches=7)) == draws[7 * 8 :]


def test_a_batch_that_cannot_be_filled_is_refused():
    with pytest.raises(ConfigError, match="batch_size=64: 40 images"):
        BalancedSampler(GROUPS, 64, seed=0)


def test_views_of_a_corpus_are_batches_without_labels(corpus):
    module = ViewDataModule(corpus, 32, ViewOptions(local_crops=1), batch_size=8, seed=0)
    batch = next(iter(module.train_dataloader()))
    assert batch.pixels.shape == (3, 8, 3, 32, 32)
    assert batch.boxes.shape == (3, 8, 4)
    assert batch.flips.shape == (3, 8)
    held_out = {record.image for name in ("val", "test", "ood") for record in corpus.splits[name]}
    assert not held_out & set(module.dataset.images)
    assert {name for (name,) in batch.ids} <= set(module.dataset.images)
    assert len(set(batch.image_ids.tolist())) == len({name for (name,) in batch.ids})


def test_an_image_that_comes_twice_in_an_epoch_has_other_views(corpus):
    dataset = ViewDataModule(corpus, 32, ViewOptions(), batch_size=8, seed=0).dataset
    first, again, second = (dataset[0, position, 5][1][0] for position in (2, 2, 9))
    assert first.box == again.box != second.box


def test_any_folder_of_images_will_do(tmp_path):
    for number, name in enumerate(["ct/a.png", "ct/deep/b.png", "mr/c.png", "d.png"]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 16), (number, 0, 0)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    corpus = read_images(tmp_path)
    found = {record.image: record.triplet.modality for record in corpus.splits["train"]}
    assert found == {"ct/a.png": "ct", "ct/deep/b.png": "ct", "mr/c.png": "mr", "d.png": ""}
    batch = next(iter(ViewDataModule(corpus, 8, ViewOptions(), batch_size=4, seed=0).train_dataloader()))
    assert batch.pixels.shape == (2, 4, 3, 8, 8)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images"):
        read_images(tmp_path / "empty")
