import pytest
import torch

from medgraph.training.checkpoint import AtomicCheckpointIO, newest_checkpoint


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
    with pytest.warns(UserWarning, match=r"step=20\.ckpt cannot be read"):
        assert newest_checkpoint(tmp_path).name == "step=10.ckpt"


def test_a_checkpoint_that_runs_code_is_not_loaded(tmp_path):
    class Evil:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'pwned')!r}, 'w')",)

    torch.save({"x": Evil()}, tmp_path / "step=1.ckpt")
    with pytest.warns(UserWarning, match="cannot be read"):
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
