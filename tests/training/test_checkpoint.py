import errno
import os
import subprocess

import pytest
import torch
from safetensors.torch import save_file

from medgraph.files import replacing
from medgraph.training.checkpoint import AtomicCheckpointIO, newest_checkpoint, remove_checkpoints


def save(folder, step, content="x"):
    AtomicCheckpointIO().save_checkpoint({"content": content}, folder / f"step={step}.ckpt")


def test_the_checkpoint_with_the_most_steps_is_found(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    for step in (9, 100, 20):
        save(tmp_path, step)
    assert newest_checkpoint(tmp_path).name == "step=100.ckpt"
    assert not list(tmp_path.glob("*.part"))


def test_a_corrupt_checkpoint_falls_back_to_the_one_before(tmp_path):
    save(tmp_path, 10)
    save(tmp_path, 20)
    newest = tmp_path / "step=20.ckpt"
    newest.write_bytes(newest.read_bytes()[:50])
    with pytest.warns(UserWarning, match=r"step=20\.ckpt cannot be read \(BadZipFile.*trying the one before"):
        assert newest_checkpoint(tmp_path).name == "step=10.ckpt"


def test_a_byte_that_has_changed_is_noticed(tmp_path):
    save(tmp_path, 10)
    save(tmp_path, 20, torch.ones(1000))
    newest = tmp_path / "step=20.ckpt"
    content = bytearray(newest.read_bytes())
    content[content.index(torch.ones(10).numpy().tobytes()) + 999] ^= 1
    newest.write_bytes(content)
    with pytest.warns(UserWarning, match=r"step=20\.ckpt cannot be read \(BadZipFile: .* is damaged\)"):
        assert newest_checkpoint(tmp_path).name == "step=10.ckpt"


def test_all_checkpoints_of_a_stage_are_removed_with_what_a_kill_has_left(tmp_path):
    save(tmp_path, 10)
    (tmp_path / "step=20.ckpt.part").write_bytes(b"torn")
    (tmp_path / "step=30.ckpt").mkdir()  # of shards
    (tmp_path / "weights.safetensors").touch()
    remove_checkpoints(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]


def test_a_checkpoint_that_runs_code_is_not_loaded(tmp_path):
    class Evil:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'pwned')!r}, 'w')",)

    torch.save({"x": Evil()}, tmp_path / "step=1.ckpt")
    with pytest.warns(UserWarning, match=r"cannot be read \(UnpicklingError: Weights only load failed"):
        assert newest_checkpoint(tmp_path) is None
    assert not (tmp_path / "pwned").exists()


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    save(tmp_path, 1, "old")

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medgraph.training.checkpoint.torch.save", full)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path, 1, "new")
    assert torch.load(tmp_path / "step=1.ckpt", weights_only=True) == {"content": "old"}
    assert not list(tmp_path.glob("*.part"))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mounting, check=False, capture_output=True).returncode != 0:
        pytest.skip("only root can make a file system that is full")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_called_that_and_the_old_checkpoint_stays(small_disk):
    save(small_disk, 1)
    with pytest.raises(OSError, match="No space left on device") as full:
        save(small_disk, 2, torch.zeros(400_000))  # torch says: unexpected pos
    assert (full.value.errno, full.value.filename) == (errno.ENOSPC, str(small_disk / "step=2.ckpt"))
    with pytest.raises(OSError, match="No space left on device"), replacing(small_disk / "weights") as part:
        save_file({"weight": torch.zeros(400_000)}, part)
    assert [file.name for file in small_disk.iterdir()] == ["step=1.ckpt"]
    assert newest_checkpoint(small_disk).name == "step=1.ckpt"
