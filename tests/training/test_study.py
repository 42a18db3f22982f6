import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from rich.console import Console

from medgraph.config import ConfigError
from medgraph.evaluation.results import Results
from medgraph.training.jobs import Job, JobsFailedError, run_jobs
from medgraph.training.study import Arm, StudyPlan, read_run, read_runs, run_study


@pytest.fixture
def plan(tmp_path, tiny_arm):
    arms = [Arm("plain", tiny_arm), Arm("slower", tiny_arm, ("stage2.lr=1e-5",))]
    return StudyPlan("study", "A study", arms, reference="plain", full_data="plain", save=tmp_path / "saved.json")


def quiet():
    return Console(file=io.StringIO(), width=200)


@pytest.mark.slow
def test_a_study_runs_every_arm_and_seed_and_compares_them(plan, tmp_path):
    arguments = [f"run.root={tmp_path}", "run.name=s", "seeds=2", "save_reference=true"]
    study = run_study(plan, arguments, quiet())
    assert {row.arm: row.seeds for row in study.rows["test"]} == {"plain": (0, 1), "slower": (0, 1)}
    folder = tmp_path / "study" / "s"
    assert (folder / "report.html").stat().st_size > 0
    assert {entry["arm"] for entry in json.loads(plan.save.read_text())} == {"plain", "slower"}
    run = read_run(folder / "slower" / "seed-1", "slower", 1)
    found = read_runs(folder)
    assert [(one.arm, one.seed) for one in found] == [(arm, seed) for arm in sorted(study.compute) for seed in (0, 1)]
    assert found[-1] == run
    assert (run.steps, run.seed) == (2, 1)
    assert isinstance(run.results, Results)
    before = (folder / "plain" / "seed-0" / "predictions.jsonl").stat().st_mtime
    console = quiet()
    run_study(plan, arguments, console)
    assert "4 finished before" in console.file.getvalue()
    assert (folder / "plain" / "seed-0" / "predictions.jsonl").stat().st_mtime == before


@pytest.mark.parametrize(
    ("argument", "message"),
    [("seed=3", "use seeds=N"), ("seeds=0", "at least 1"), ("workers=two", "at least 1"),
     ("aligment.k=3", "unknown key"), ("save_reference=maybe", "true or false"),
     ("arms=plain,fast", "arms=fast: no such arm; known: plain, slower")],
)  # fmt: skip
def test_mistakes_are_found_before_anything_starts(plan, tmp_path, argument, message):
    with pytest.raises(ConfigError, match=message):
        run_study(plan, [f"run.root={tmp_path / 'runs'}", argument], quiet())
    assert not (tmp_path / "runs").exists()


def test_named_arms_run_beside_the_reference_and_in_the_same_folder(plan, tmp_path, monkeypatch):
    started = []

    class EnoughError(Exception):
        pass

    def note(jobs, workers, console):
        started.append([str(job.done[0].relative_to(tmp_path)) for job in jobs])
        raise EnoughError

    monkeypatch.setattr("medgraph.training.study.run_jobs", note)
    for wanted in (["arms=slower"], []):
        with pytest.raises(EnoughError):
            run_study(plan, [f"run.root={tmp_path}", "seeds=1", *wanted], quiet())
    assert started[0] == started[1]
    with pytest.raises(EnoughError):
        run_study(plan, [f"run.root={tmp_path}", "seeds=1", "arms=plain"], quiet())
    assert started[2] == started[0][:1]


def job(tmp_path, name, code):
    return Job(name, [sys.executable, "-c", code], tmp_path / f"{name}.log", [tmp_path / f"{name}.done"])


def test_jobs_run_side_by_side_and_finished_ones_are_skipped(tmp_path):
    # each of the two waits for the other: one after the other they would never end
    meet = "import pathlib, time; pathlib.Path(r'{}').touch()\nwhile not pathlib.Path(r'{}').exists(): time.sleep(.01)"
    a, b = tmp_path / "a", tmp_path / "b"
    jobs = [job(tmp_path, "first", meet.format(a, b)), job(tmp_path, "second", meet.format(b, a))]
    (tmp_path / "third.done").touch()
    console = quiet()
    run_jobs([*jobs, job(tmp_path, "third", "raise SystemExit(1)")], 2, console)
    assert "3 runs, 1 finished before" in console.file.getvalue()


def test_a_failing_job_does_not_stop_the_others(tmp_path):
    jobs = [
        job(tmp_path, "bad", "raise SystemExit('broken')"),
        job(tmp_path, "good", "open(r'%s','w')" % (tmp_path / "x")),
    ]
    with pytest.raises(JobsFailedError, match=r"1 of 2 runs failed: bad .*bad\.log"):
        run_jobs(jobs, 1, quiet())
    assert (tmp_path / "x").exists()
    assert "broken" in (tmp_path / "bad.log").read_text()


def test_an_interrupt_ends_the_running_jobs_and_starts_no_others(tmp_path):
    started, ended = tmp_path / "started", tmp_path / "ended"
    code = (
        "import pathlib, signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(ended)!r}).touch(), sys.exit(143)))\n"
        f"pathlib.Path({str(started)!r}).touch()\n"
        "while True: time.sleep(.01)"
    )
    other = tmp_path / "other"
    jobs = [job(tmp_path, "endless", code), job(tmp_path, "next", f"open({str(other)!r}, 'w')")]

    def interrupt():
        while not started.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=interrupt).start()
    with pytest.raises(SystemExit) as exit_:
        run_jobs(jobs, 1, quiet())
    assert exit_.value.code == 143
    assert ended.exists()
    assert not other.exists()


def test_without_workers_nothing_can_run(tmp_path):
    with pytest.raises(ValueError, match="workers=0"):
        run_jobs([], 0, quiet())


def test_a_job_that_another_process_holds_waits_and_is_taken_up_when_that_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("medgraph.training.jobs.POLL", 0.02)
    done = tmp_path / "shared.done"
    shared = job(tmp_path, "shared", f"open({str(done)!r}, 'w')")
    hold = f"import fcntl, time; f = open({str(tmp_path / 'shared.lock')!r}, 'w'); fcntl.flock(f, fcntl.LOCK_EX)"
    holder = subprocess.Popen([sys.executable, "-c", f"{hold}; print(flush=True); time.sleep(60)"], stdout=-1)
    holder.stdout.readline()
    console = quiet()
    worker = threading.Thread(target=run_jobs, args=([shared], 2, console))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signal, "signal", lambda *_: None)  # the main thread's business
        worker.start()
        time.sleep(0.2)
        assert worker.is_alive()
        assert not done.exists()
        holder.kill()
        worker.join(30)
    assert done.exists()
    assert "waiting for 1 runs of other workers" in console.file.getvalue()
    assert "[1/1] shared: done" in console.file.getvalue()
    holder.communicate()


def test_a_job_stays_held_while_a_killed_workers_process_runs(tmp_path):
    started, end = tmp_path / "started", tmp_path / "end"
    wait = f"import os, time; open({str(started)!r}, 'w')\nwhile not os.path.exists({str(end)!r}): time.sleep(.01)"
    script = (
        "import sys, pathlib\nfrom rich.console import Console\nfrom medgraph.training.jobs import Job, run_jobs\n"
        f"root = pathlib.Path({str(tmp_path)!r})\n"
        f"run_jobs([Job('a', [sys.executable, '-c', {wait!r}], root / 'a.log', [root / 'a.done'])], 1, Console())"
    )
    worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)
    while not started.exists():
        time.sleep(0.01)
    worker.kill()
    worker.wait()
    with (tmp_path / "a.lock").open("w") as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        end.touch()
        fcntl.flock(lock, fcntl.LOCK_EX)  # free once that process has ended
