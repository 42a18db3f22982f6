import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from medgraph.config import ConfigError, ExperimentConfig, MedMATConfig, config_hash, parse
from medgraph.data.cache import STALE_SECONDS, cache_folder, cache_images
from medgraph.data.errors import DataError
from medgraph.data.loading import ImageCache
from medgraph.data.medmat import build_medmat
from medgraph.data.records import Corpus


@pytest.fixture
def release(make_release):
    labels = {"Benign": 12, "Normal": 12}
    root = make_release({4: labels, 5: labels})
    return root, build_medmat(MedMATConfig(root=str(root)))


def images(corpus):
    return sorted({record.image for records in corpus.splits.values() for record in records})


def test_cached_images_are_the_same_and_other_sizes_pass_through(release, tmp_path):
    _, corpus = release
    cached = cache_images(corpus, 16, tmp_path / "cache")
    for image in images(corpus):
        np.testing.assert_array_equal(cached.load_image(image, 16), corpus.load_image(image, 16))
    assert cached.load_image(images(corpus)[0], 8).shape == (8, 8, 3)
    cached.load_image(images(corpus)[0], 16)[:] = 0  # a copy: the cache does not change
    assert cached.load_image(images(corpus)[0], 16).any()
    assert cached.fingerprint() == corpus.fingerprint()


def test_batches_read_the_mapping_and_keep_no_copy(release, tmp_path):
    _, corpus = release
    cached = cache_images(corpus, 16, tmp_path / "cache")
    loader = ImageCache(cached, 16)
    image = images(corpus)[0]
    np.testing.assert_array_equal(loader(image), corpus.load_image(image, 16))
    assert loader(image) is not loader(image)
    assert ImageCache(corpus, 16).limit > 0


def test_generated_images_have_no_cache(tmp_path):
    corpus = Corpus({"train": []}, lambda image, side: None)
    with pytest.raises(ConfigError, match=r"leave data\.cache empty"):
        cache_images(corpus, 16, tmp_path)


def test_where_images_are_cached_does_not_make_another_run():
    config = ExperimentConfig()
    assert config_hash(config) == config_hash(parse(config, ["data.cache=/fast/disk"]))
    assert config_hash(config) != config_hash(parse(config, ["data.augment=[shift]"]))


def test_the_folder_of_auto(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("auto") == tmp_path / "medgraph" / "images"
    assert cache_folder("/fast/disk").as_posix() == "/fast/disk"


def test_a_second_use_decodes_nothing(release, tmp_path):
    root, corpus = release
    cache_images(corpus, 16, tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    (tmp_path / "plain").touch()
    assert file.stat().st_mode == (tmp_path / "plain").stat().st_mode  # other users may read it
    before = file.stat().st_mtime_ns
    again = cache_images(corpus, 16, tmp_path / "cache")
    assert file.stat().st_mtime_ns == before
    root.rename(root.parent / "moved")
    assert again.load_image(images(corpus)[0], 16).shape == (16, 16, 3)


def test_a_changed_image_or_size_is_another_file(release, tmp_path):
    root, corpus = release
    folder = tmp_path / "cache"
    cache_images(corpus, 16, folder)
    cache_images(corpus, 8, folder)
    image = root / images(corpus)[0]
    content = image.read_bytes()
    os.utime(image, ns=(0, 0))
    image.write_bytes(content)
    cache_images(corpus, 16, folder)
    assert len(list(folder.iterdir())) == 3


def test_a_truncated_cache_is_written_again(release, tmp_path):
    _, corpus = release
    cache_images(corpus, 16, tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    cached = cache_images(corpus, 16, tmp_path / "cache")
    np.testing.assert_array_equal(cached.load_image(images(corpus)[5], 16), corpus.load_image(images(corpus)[5], 16))


def test_an_unreadable_image_leaves_no_file(release, tmp_path):
    root, corpus = release
    (root / images(corpus)[3]).write_bytes(b"")
    with pytest.raises(DataError, match="0 bytes"):
        cache_images(corpus, 16, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_workers_open_their_own_mapping(release, tmp_path):
    _, corpus = release
    cached = cache_images(corpus, 16, tmp_path / "cache")
    first = images(corpus)[0]
    expected = cached.load_image(first, 16)
    content = pickle.dumps(cached.load_image)
    np.testing.assert_array_equal(pickle.loads(content)(first, 16), expected)
    assert len(content) < 200_000


def test_stale_parts_are_removed_and_fresh_ones_kept(release, tmp_path):
    _, corpus = release
    (tmp_path / "cache").mkdir()
    old, new = tmp_path / "cache" / "old.part", tmp_path / "cache" / "new.part"
    for part in (old, new):
        part.write_bytes(b"x")
    os.utime(old, (time.time() - STALE_SECONDS - 10,) * 2)
    cache_images(corpus, 16, tmp_path / "cache")
    assert not old.exists()
    assert new.exists()


WRITER = """
import sys, time
from pathlib import Path
from medgraph.config import MedMATConfig
from medgraph.data.cache import cache_images
from medgraph.data.medmat import build_medmat
import dataclasses
root, folder, delay = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
corpus = build_medmat(MedMATConfig(root=str(root)))
def slow(image, side, load=corpus.load_image):
    time.sleep(delay)
    return load(image, side)
slow.root = root
cache_images(dataclasses.replace(corpus, load_image=slow), 16, folder)
"""


def start(root, folder, delay):
    return subprocess.Popen([sys.executable, "-c", WRITER, str(root), str(folder), str(delay)])


@pytest.mark.skipif(multiprocessing.cpu_count() < 2, reason="needs two processes at a time")
def test_parallel_writers_and_a_killed_one(release, tmp_path):
    root, corpus = release
    folder = tmp_path / "cache"
    killed = start(root, folder, 0.5)
    deadline = time.monotonic() + 60
    while not list(folder.glob("*.part")) and time.monotonic() < deadline:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert list(folder.glob("*.u8")) == []
    writers = [start(root, folder, 0.01) for _ in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(list(folder.glob("*.u8"))) == 1
    cached = cache_images(corpus, 16, folder)
    for image in images(corpus):
        np.testing.assert_array_equal(cached.load_image(image, 16), corpus.load_image(image, 16))
