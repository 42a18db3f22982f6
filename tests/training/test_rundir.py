import dataclasses
import json

import pytest

from medgraph.config import ConfigError, ExperimentConfig, RunConfig
from medgraph.files import ERROR_NOTE
from medgraph.report.run import write_report
from medgraph.training import environment
from medgraph.training.rundir import claim, write_data_identity, write_identity

CONFIG = ExperimentConfig(seed=1)
FORCED = dataclasses.replace(CONFIG, run=RunConfig(force=True))
DATA = {"fingerprint": "a", "weights": None, "records": {}}


@pytest.fixture
def started(tmp_path):
    write_identity(CONFIG, tmp_path)
    write_data_identity(tmp_path, DATA)
    return tmp_path


def forced(folder):
    return json.loads((folder / "environment.json").read_text()).get("forced")


@pytest.fixture
def other_code(monkeypatch):
    monkeypatch.setattr(environment, "code_hash", lambda: "other")


def test_another_configuration_is_refused_with_the_difference(started):
    write_identity(CONFIG, started)
    with pytest.raises(ConfigError, match=r"was started differently: seed: 1 -> 2\. Restore that.*run\.force=true"):
        write_identity(dataclasses.replace(CONFIG, seed=2), started)


def test_other_data_and_other_weights_are_refused_with_the_difference(started):
    write_data_identity(started, DATA | {"records": {"train": 1}})
    with pytest.raises(ConfigError, match=r"data: a -> b; packaged weights: None -> c"):
        write_data_identity(started, DATA | {"fingerprint": "b", "weights": "c"})


@pytest.mark.usefixtures("other_code")
def test_other_code_is_refused_until_the_run_is_finished(started):
    environment_file = started / "environment.json"
    before = json.loads(environment_file.read_text())
    environment_file.write_text(
        json.dumps({**before, "code": "first", "packages": {**before["packages"], "torch": "1.0"}})
    )
    with pytest.raises(ConfigError, match=r"code: first -> other; packages\.torch: 1\.0 -> "):
        write_identity(CONFIG, started)
    (started / "results.json").write_text("{}")
    write_identity(CONFIG, started)


def test_what_is_forced_is_kept_and_reported(started):
    write_identity(dataclasses.replace(FORCED, seed=2), started)
    write_data_identity(started, DATA | {"fingerprint": "b"}, force=True)
    assert forced(started) == ["seed: 1 -> 2", "data: a -> b"]
    write_identity(dataclasses.replace(CONFIG, seed=2), started)  # what has been forced once is the run's
    write_data_identity(started, DATA | {"fingerprint": "b"})
    assert "continued by force after changes: seed: 1 -&gt; 2; data: a -&gt; b" in write_report(started).read_text()


def test_nothing_is_forced_where_nothing_has_changed(started):
    write_identity(FORCED, started)
    write_data_identity(started, DATA, force=True)
    assert forced(started) is None


def test_a_claim_ends_with_its_block(tmp_path):
    with claim(tmp_path):
        pass
    with claim(tmp_path):
        pass


def test_a_claim_notes_the_error_that_ended_the_last_attempt(tmp_path):
    note = tmp_path / ERROR_NOTE
    with pytest.raises(FloatingPointError), claim(tmp_path):
        raise FloatingPointError("train/loss is not finite")
    assert note.read_text() == "FloatingPointError: train/loss is not finite\n"
    with pytest.raises(KeyboardInterrupt), claim(tmp_path):
        raise KeyboardInterrupt
    assert not note.exists()
