"""A bootstrap that is shared out, killed, resumed, interrupted: the numbers are those of one that was left alone."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import melogit as me
from melogit.errors import DataError, MelogitWarning, ModelError
from melogit.inference import bootstrap as machinery
from quiet import quietly

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs fork")


def clustered(seed=3, groups=30, rows=240):
    rng = np.random.default_rng(seed)
    g = np.sort(rng.integers(0, groups, rows))
    x = rng.normal(size=rows)
    eta = 0.5 * x + rng.normal(size=groups)[g]
    return pd.DataFrame({"y": (rng.random(rows) < 1 / (1 + np.exp(-eta))).astype(int), "x": x, "g": g})


@pytest.fixture(scope="module")
def fit():
    return quietly(me.melogit, "y ~ x + (1 | g)", clustered(), intpoints=7).result


@pytest.fixture(scope="module")
def alone(fit):
    return fit.bootstrap(40, seed=5, workers=1)


def same(boot, other):
    pd.testing.assert_frame_equal(boot.replicates, other.replicates, check_exact=True)
    pd.testing.assert_frame_equal(boot.replicate_std_err, other.replicate_std_err, check_exact=True)
    pd.testing.assert_frame_equal(boot.failed, other.failed)
    assert boot.summary("all") == other.summary("all")


@pytest.mark.parametrize("workers", [2, 5, pytest.param("processes:2", marks=linux)])
def test_workers_change_no_bit(fit, alone, workers):
    same(fit.bootstrap(40, seed=5, workers=workers), alone)


@linux
@pytest.mark.parametrize("workers", [1, "processes:2"])
def test_any_statistic_in_any_worker(fit, workers):
    """A function made on the spot goes to processes too."""
    boot = fit.bootstrap(6, seed=5, workers=workers, statistic=lambda refit: refit.icc()["icc"])
    variance = fit.bootstrap(6, seed=5).replicates["g:var(Intercept)"]
    np.testing.assert_allclose(boot.replicates["g"], variance / (variance + np.pi**2 / 3), rtol=1e-6)


def mean_probability(refit):
    return float(refit.predict(kind="marginal").mean())


@pytest.mark.parametrize("options", [{}, {"resample": "weights"}, {"statistic": mean_probability}])
def test_the_work_can_be_sent_anywhere(fit, monkeypatch, options):
    """To processes that are not forked, and to other computers."""
    sent = []

    def elsewhere(task, numbers, workers, done, **_):
        sent.append(pickle.dumps(task))
        there = pickle.loads(sent[-1])
        for number in numbers:
            done(number, pickle.loads(pickle.dumps(there(number))))

    here = fit.bootstrap(3, seed=5, **options)
    monkeypatch.setattr(machinery, "run", elsewhere)
    same(fit.bootstrap(3, seed=5, **options), here)
    assert len(sent) == 1 and len(sent[0]) < 200_000


def test_a_dask_cluster_changes_no_bit(fit, alone):
    distributed = pytest.importorskip("distributed", reason="Dask is an extra")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        same(fit.bootstrap(40, seed=5, workers=client), alone)


# ------------------------------------------------------------------------------------------------- checkpoints


SCRIPT = """
    import sys
    import pandas as pd
    import melogit as me

    fit = me.melogit("y ~ x + (1 | g)", pd.read_csv("data.csv"), intpoints=7)
    boot = fit.bootstrap(int(sys.argv[1]), seed=5, checkpoint="boot.ckpt", workers=eval(sys.argv[2]))
    boot.replicates.to_pickle("done.pkl")
"""


@linux
@pytest.mark.parametrize("workers", ["2", pytest.param("'processes:2'", marks=pytest.mark.slow)])
def test_killed_half_way_and_resumed_is_bit_identical(tmp_path, workers):
    """SIGKILL, as by the system when memory runs out; then the same call again."""
    data = clustered()
    data.to_csv(tmp_path / "data.csv", index=False)
    (tmp_path / "run.py").write_text(textwrap.dedent(SCRIPT))
    call = [sys.executable, "-W", "ignore", "run.py", "400", workers]
    checkpoint = tmp_path / "boot.ckpt"
    victim = subprocess.Popen(call, cwd=tmp_path)
    deadline = time.monotonic() + 50
    while not (checkpoint.exists() and checkpoint.read_bytes().count(b"\n") > 80):
        assert victim.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    children = Path(f"/proc/{victim.pid}/task/{victim.pid}/children").read_text().split()
    assert len(children) == (2 if "processes" in workers else 0)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    while any(Path(f"/proc/{pid}/exe").exists() for pid in children):  # workers do not outlive their parent
        assert time.monotonic() < deadline
        time.sleep(0.01)
    saved = checkpoint.read_bytes().count(b"\n") - 1
    assert 80 <= saved < 400
    assert not (tmp_path / "done.pkl").exists()
    with open(checkpoint, "ab") as file:  # the kill may also come in the middle of a write
        file.write(b'1a2b3c4d {"replicate": 399, "val')
    subprocess.run(call, cwd=tmp_path, check=True)
    resumed = pd.read_pickle(tmp_path / "done.pkl")
    fit = quietly(me.melogit, "y ~ x + (1 | g)", pd.read_csv(tmp_path / "data.csv"), intpoints=7).result
    pd.testing.assert_frame_equal(resumed, quietly(fit.bootstrap, 400, seed=5).result.replicates, check_exact=True)
    assert sorted(os.listdir(tmp_path)) == ["boot.ckpt", "data.csv", "done.pkl", "run.py"]


def test_only_what_is_missing_is_done_again(fit, alone, tmp_path):
    calls = []

    def counted(refit):
        calls.append(1)
        return refit.params

    path = tmp_path / "boot.ckpt"
    fit.bootstrap(10, seed=5, checkpoint=path, statistic=counted)
    assert len(calls) == 11  # one for the data themselves
    more = fit.bootstrap(40, seed=5, checkpoint=path, statistic=counted)
    assert len(calls) == 11 + 1 + 30
    np.testing.assert_allclose(more.replicates, alone.replicates, rtol=1e-5, atol=1e-7)
    fewer = fit.bootstrap(5, seed=5, checkpoint=path, statistic=counted)
    assert len(calls) == 43 and len(fewer.replicates) == 5
    pd.testing.assert_frame_equal(fewer.replicates, more.replicates.iloc[:5], check_exact=True)


def test_failures_are_kept_with_their_seeds(tmp_path):
    data = clustered()
    rare = data.assign(kind=np.where(data["g"].isin([3, 17]), "rare", "usual"))
    fit = quietly(me.melogit, "y ~ x + kind + (1 | g)", rare, intpoints=5).result
    path = tmp_path / "a.ckpt"
    first = quietly(fit.bootstrap, 30, seed=1, checkpoint=path).result
    again = quietly(fit.bootstrap, 30, seed=1, checkpoint=path).result
    assert len(first.failed) > 1 and "does not vary in this sample" in first.failed["reason"].iloc[0]
    assert list(first.failed["seed"]) == [(1, r) for r in first.failed["replicate"]]
    same(first, again)


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"seed": 6}, "seed: 5 there, 6 here"),
        ({"resample": "parametric"}, "resample: cluster of g there, parametric here"),
        ({"statistic": lambda refit: refit.params["x"]}, "statistic: parameters there, statistic = "),
    ],
)
def test_a_checkpoint_of_another_bootstrap_is_refused(fit, tmp_path, options, difference):
    path = tmp_path / "a.ckpt"
    fit.bootstrap(3, seed=5, checkpoint=path)
    with pytest.raises(DataError) as caught:
        fit.bootstrap(3, checkpoint=path, **{"seed": 5, **options})
    assert difference in str(caught.value) and "Mixing the two would give wrong results" in str(caught.value)


def test_a_checkpoint_of_other_data_or_another_model_is_refused(fit, tmp_path):
    path = tmp_path / "a.ckpt"
    fit.bootstrap(3, seed=5, checkpoint=path)
    changed = clustered()
    changed.loc[7, "y"] = 1 - changed.loc[7, "y"]
    for formula, data, difference in (
        ("y ~ x + (1 | g)", changed, "data: 240 rows "),
        ("y ~ 1 + (1 | g)", clustered(), "model: y ~ x + (1 | g) there, y ~ 1 + (1 | g) here"),
    ):
        other = quietly(me.melogit, formula, data, intpoints=7).result
        with pytest.raises(DataError) as caught:
            other.bootstrap(3, seed=5, checkpoint=path)
        assert difference in str(caught.value)


def test_a_checkpoint_needs_a_seed(fit, tmp_path):
    with pytest.raises(ModelError, match="checkpoint= needs seed= too"):
        fit.bootstrap(3, checkpoint=tmp_path / "a.ckpt")


def test_a_place_that_cannot_be_written_is_named_before_the_work(fit, tmp_path):
    with pytest.raises(DataError, match="cannot be written: No such file or directory"):
        fit.bootstrap(3, seed=1, checkpoint=tmp_path / "no" / "a.ckpt")


# ------------------------------------------------------------------------------------------------- interrupted


@linux
@pytest.mark.parametrize("workers", [1, 2, "processes:2"])
def test_ctrl_c_saves_says_so_and_goes_on(fit, tmp_path, workers):
    path = tmp_path / "a.ckpt"
    reps = 100_000
    pid = os.getpid()

    def press():
        while not (path.exists() and path.read_bytes().count(b"\n") > 12):
            time.sleep(0.005)
        os.kill(pid, signal.SIGINT)

    timer = threading.Thread(target=press)
    timer.start()
    with pytest.warns(MelogitWarning, match=r"Interrupted after .* of 100,000 replicates") as caught:
        boot = fit.bootstrap(reps, seed=5, checkpoint=path, workers=workers)
    timer.join()
    done = len(boot.replicates)
    assert 12 <= done < 5000
    assert f"Saved {done}/100000 in '{path}'; resume with the same call." in str(caught[0].message)
    assert path.read_bytes().count(b"\n") - 1 == done
    assert f"Interrupted: {done:,} of 100,000 replicates were made." in boot.summary()
    longer = fit.bootstrap(int(boot.replicates.index.max()), seed=5, workers=1)
    pd.testing.assert_frame_equal(longer.replicates.loc[boot.replicates.index], boot.replicates, check_exact=True)


# ------------------------------------------------------------------------------------------------------ memory


def test_what_memory_cannot_hold_is_said_before_the_start(fit, monkeypatch):
    size = 240 * 8 * (4 + 2) + 240 * 16  # y, trials, weights, offset, X; Z and the groups' numbers
    monkeypatch.setattr(machinery, "available_bytes", lambda: int(2.5 * machinery.COPIES * size))
    with pytest.raises(ModelError, match=r"needs about .* GiB of memory \(8 replicates at once.* Use workers=2\."):
        fit.bootstrap(3, seed=1, workers=8)
    assert len(fit.bootstrap(3, seed=1).used) == 3  # left to itself it takes as many threads as there is room for
    monkeypatch.setattr(machinery, "available_bytes", lambda: 10)
    assert len(fit.bootstrap(3, seed=1, workers=1).used) == 3


def test_a_replicate_without_memory_fails_alone_and_is_tried_again(fit, tmp_path):
    calls = []

    def hungry(refit):
        calls.append(1)
        if len(calls) == 3:
            raise MemoryError
        return refit.llf

    path = tmp_path / "a.ckpt"
    with pytest.warns(MelogitWarning, match="1 of 4 replicates failed"):
        boot = fit.bootstrap(4, seed=1, statistic=hungry, checkpoint=path)
    assert list(boot.failed["replicate"]) == [2]
    assert "memory" in boot.failed["reason"].iloc[0]
    assert len(fit.bootstrap(4, seed=1, statistic=hungry, checkpoint=path).used) == 4


@linux
def test_a_lost_worker_is_a_failed_replicate_with_its_reason(fit):
    here = os.getpid()

    def deadly(refit):
        if os.getpid() != here and refit.params["x"] == deadly.value:
            os.kill(os.getpid(), signal.SIGKILL)
        return refit.params["x"]

    deadly.value = np.nan
    values = fit.bootstrap(8, seed=1, statistic=deadly).replicates["statistic"]
    deadly.value = values[5]
    with pytest.warns(MelogitWarning, match="1 of 8 replicates failed"):
        boot = fit.bootstrap(8, seed=1, statistic=deadly, workers="processes:2")
    assert list(boot.failed["replicate"]) == [5]
    assert boot.failed["reason"].iloc[0] == "its worker was ended by signal SIGKILL, 3 times"
    assert np.array_equal(boot.used["statistic"], values.drop(5))
