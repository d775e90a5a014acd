"""The bundled data: what is shipped is what the generators make; hdp: found, downloaded, or explained."""

import gzip
import http.server
import shutil
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import melogit as me
from melogit.datasets import dataset_facts, dataset_names, hdp, load_dataset
from melogit.datasets.generators import FILES, GENERATORS, csv_bytes, read_facts, write_all
from melogit.errors import DataError, DataWarning

BUNDLED = tuple(GENERATORS)
SHARED_HDP = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "hdp.csv"


@pytest.mark.parametrize("name", BUNDLED)
def test_shipped_file_is_what_the_generator_makes(name):
    shipped = (FILES / f"{name}.csv.gz").read_bytes()
    assert gzip.decompress(shipped) == csv_bytes(GENERATORS[name](read_facts(name)))
    assert len(shipped) < 150_000
    assert shipped[4:8] == b"\0\0\0\0"  # no time stamp, so that writing again gives the same bytes


def test_writing_twice_gives_the_same_bytes(tmp_path):
    first, second = write_all(tmp_path / "a"), write_all(tmp_path / "b")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


@pytest.mark.parametrize("name", BUNDLED)
def test_facts_fit_the_data(name):
    data, facts = load_dataset(name), dataset_facts(name)
    assert len(data) == facts["rows"]
    assert list(data.columns) == list(facts["columns"])
    outcome = facts["formula"].split(" ~ ")[0]
    assert set(data[outcome]) == {0, 1}
    assert not data.isna().any().any()


def test_hospital_has_the_shape_of_a_three_level_study():
    data = load_dataset("hospital")
    assert data["HID"].nunique() == 20
    assert data["DID"].nunique() == 150
    assert (data.groupby("DID")["HID"].nunique() == 1).all()


@pytest.mark.skipif(not SHARED_HDP.exists(), reason="../shared/data/hdp.csv is not there")
def test_hospital_has_the_columns_of_hdp():
    ours, public = load_dataset("hospital"), pd.read_csv(SHARED_HDP)
    assert list(ours.columns) == list(public.columns)
    kinds = [{c: pd.api.types.is_numeric_dtype(frame[c]) for c in frame} for frame in (ours, public)]
    assert kinds[0] == kinds[1]
    for column in ("FamilyHx", "SmokingHx", "Sex", "CancerStage", "School"):
        assert set(ours[column]) == set(public[column])


def test_the_tv_campaign_runs_in_two_cities_after_month_three():
    data = load_dataset("tv")
    on = data[data["campaign"] == 1]
    assert set(on["city"]) == {"Harbour", "Northgate"}
    assert set(on["month"]) == {4, 5, 6}


def test_purchases_rise_with_the_discount():
    data = load_dataset("retail")
    rate = data.groupby("discount")["purchase"].mean()
    assert np.all(np.diff(rate) > 0)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_fit_finds_the_truth(name):
    facts = dataset_facts(name)
    method = "simulated" if name == "exam" else None  # its groups cross: Laplace would warn, rightly
    fit = me.melogit(facts["formula"], load_dataset(name), method=method)
    truth = pd.Series({**facts["true_fixed"], **facts["true_variance"]})
    assert set(truth.index) == set(fit.params.index)
    interval = fit.conf_int(level=0.9995).loc[truth.index]
    assert ((interval["ci_low"] < truth) & (truth < interval["ci_high"])).all(), interval.assign(truth=truth)


def test_path_instead_of_data():
    path = load_dataset("hospital", path=True)
    assert path.name == "hospital.csv.gz"
    assert path.is_file()


@pytest.mark.parametrize("name", ["hospitl", "Hospital"])
def test_unknown_name_is_answered_with_a_suggestion(name):
    with pytest.raises(DataError) as caught:
        load_dataset(name)
    assert str(caught.value) == (
        f"There is no data set {name!r}. The data sets are {', '.join(dataset_names())}. Did you mean 'hospital'?"
    )


def test_unknown_name_without_a_neighbour():
    with pytest.raises(DataError, match=r"There is no data set 'qqq'\. The data sets are hospital, .*, hdp\.$"):
        dataset_facts("qqq")


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("MELOGIT_DATA", raising=False)
    monkeypatch.setattr(hdp, "cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serve a folder on this machine in place of the public site."""
    folder = tmp_path / "site"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, format, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(hdp, "URL", f"http://127.0.0.1:{server.server_address[1]}/hdp.csv")
        yield folder
        server.shutdown()
        thread.join()


def test_hdp_offline_says_what_to_do(empty_cache, monkeypatch):
    pytest.importorskip("pooch")
    monkeypatch.setattr(hdp, "URL", "http://127.0.0.1:9/hdp.csv")  # nothing listens there
    with pytest.raises(DataError) as caught:
        load_dataset("hdp")
    text = str(caught.value)
    assert text.startswith("hdp.csv could not be downloaded from http://127.0.0.1:9/hdp.csv (ConnectionError).")
    assert f"Without network: fetch http://127.0.0.1:9/hdp.csv on another computer and save it as {empty_cache}" in text
    assert "MELOGIT_DATA" in text
    assert "load_dataset('hospital') has the same columns" in text


def test_hdp_without_pooch(empty_cache, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(DataError, match=r"pip install 'melogit\[data\]'\. Without network"):
        load_dataset("hdp")


def test_hdp_that_is_not_the_published_file_is_not_kept(empty_cache, serve):
    pytest.importorskip("pooch")
    (serve / "hdp.csv").write_text("<html>moved</html>")
    with pytest.raises(DataError, match=r"is not the published hdp\.csv \(its SHA-256 checksum"):
        load_dataset("hdp")
    assert not (empty_cache / "hdp.csv").exists()


@pytest.mark.skipif(not SHARED_HDP.exists(), reason="../shared/data/hdp.csv is not there")
def test_hdp_is_downloaded_once_and_then_read_from_the_cache(empty_cache, serve, monkeypatch):
    pytest.importorskip("pooch")
    shutil.copyfile(SHARED_HDP, serve / "hdp.csv")
    assert len(load_dataset("hdp")) == 8525
    monkeypatch.setattr(hdp, "URL", "http://127.0.0.1:9/hdp.csv")
    assert load_dataset("hdp", path=True) == empty_cache / "hdp.csv"


@pytest.mark.skipif(not SHARED_HDP.exists(), reason="../shared/data/hdp.csv is not there")
def test_hdp_from_the_users_own_folder(monkeypatch):
    monkeypatch.setenv("MELOGIT_DATA", str(SHARED_HDP.parent))
    assert load_dataset("hdp").shape == (8525, 27)


def test_an_altered_copy_is_used_with_a_warning(tmp_path, monkeypatch):
    (tmp_path / "hdp.csv").write_text("remission,DID\n0,1\n")
    monkeypatch.setenv("MELOGIT_DATA", str(tmp_path))
    with pytest.warns(DataWarning, match="is not byte for byte the published"):
        assert len(load_dataset("hdp")) == 1


def test_a_data_folder_without_the_file(tmp_path, monkeypatch):
    monkeypatch.setenv("MELOGIT_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"MELOGIT_DATA is .* but there is no hdp\.csv in that folder"):
        load_dataset("hdp")


def test_cache_folder_follows_the_system(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert hdp.cache_folder() == Path("/somewhere/melogit")
