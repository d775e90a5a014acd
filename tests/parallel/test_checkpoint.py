"""Finished answers on disk: whole or not believed, of this work or refused, one writer at a time."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import pytest

from melogit.errors import DataError
from melogit.parallel import open_checkpoint

WORK = {"model": "y ~ x", "seed": "3"}
RECORDS = [{"replicate": r, "values": [r / 3, float("nan"), float("inf"), -1e-310]} for r in range(1, 6)]


def written(path, records=RECORDS):
    with open_checkpoint(path, WORK) as file:
        file.append(records)
    return path


def test_what_is_written_is_read_bit_for_bit(tmp_path):
    path = written(tmp_path / "a.ckpt")
    with open_checkpoint(path, WORK) as file:
        assert [repr(record) for record in file.records] == [repr(record) for record in RECORDS]
        file.append([{"replicate": 6}])
    with open_checkpoint(path, WORK) as file:
        assert [record["replicate"] for record in file.records] == [1, 2, 3, 4, 5, 6]
    assert sorted(os.listdir(tmp_path)) == ["a.ckpt"]


def test_a_file_that_ends_anywhere_gives_whole_records_only(tmp_path):
    whole = written(tmp_path / "a.ckpt").read_bytes()
    head = whole.index(b"\n") + 1
    ends = [position + 1 for position, byte in enumerate(whole) if byte == 10]
    for cut in sorted({*range(head, len(whole), 7), *ends[1:-1], *(end - 1 for end in ends[1:])}):
        path = tmp_path / "cut.ckpt"
        path.write_bytes(whole[:cut])
        with open_checkpoint(path, WORK) as file:
            assert len(file.records) == sum(end <= cut for end in ends) - 1
            file.append([{"replicate": 9}])
        with open_checkpoint(path, WORK) as file:
            assert file.records[-1] == {"replicate": 9}


def test_a_damaged_record_is_not_believed(tmp_path):
    path = written(tmp_path / "a.ckpt")
    content = path.read_bytes().replace(b'"replicate":3', b'"replicate":4')
    path.write_bytes(content)
    with open_checkpoint(path, WORK) as file:
        assert [record["replicate"] for record in file.records] == [1, 2, 4, 5]


def test_other_work_is_refused_with_what_differs(tmp_path):
    path = written(tmp_path / "a.ckpt")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"belongs to other work, .*\(seed: 3 there, 4 here\)"):
        open_checkpoint(path, {**WORK, "seed": "4"})
    with pytest.raises(DataError, match=r"\(group: none there, DID here\)"):
        open_checkpoint(path, {**WORK, "group": "DID"})
    assert path.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["a.ckpt"]  # no lock is left behind


def test_other_files_are_left_alone(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="is not a checkpoint of melogit"):
        open_checkpoint(path, WORK)
    assert path.read_text() == "a,b\n1,2\n"
    with pytest.raises(DataError, match="is not a file"):
        open_checkpoint(tmp_path, WORK)
    with pytest.raises(DataError, match=r"cannot be written: No such file or directory\. Nothing was computed"):
        open_checkpoint(tmp_path / "missing" / "a.ckpt", WORK)


def test_a_read_only_place_is_named():
    if not os.path.isdir("/proc/self"):
        pytest.skip("needs a folder that nobody can write, such as /proc")
    with pytest.raises(DataError, match=r"'/proc/self/a\.ckpt' cannot be written: .*Nothing was computed"):
        open_checkpoint("/proc/self/a.ckpt", WORK)


def test_a_later_version_is_said_to_be_one(tmp_path):
    import zlib

    text = json.dumps({"format": "melogit-checkpoint", "version": 2, "work": WORK}).encode()
    (tmp_path / "a").write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
    with pytest.raises(DataError, match="is of version 2 of the format, and this melogit reads version 1"):
        open_checkpoint(tmp_path / "a", WORK)


def test_a_second_writer_is_refused(tmp_path):
    path = tmp_path / "a.ckpt"
    with (
        open_checkpoint(path, WORK),
        pytest.raises(DataError, match=f"is being written by process {os.getpid()} on this computer"),
    ):
        open_checkpoint(path, WORK)
    with open_checkpoint(path, WORK):
        pass


def test_a_lock_of_a_dead_process_is_taken_over_and_others_are_not(tmp_path):
    path, lock = tmp_path / "a.ckpt", tmp_path / "a.ckpt.lock"
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    host = os.uname().nodename
    lock.write_text(json.dumps({"pid": int(dead.stdout), "host": host, "began": None}))
    with open_checkpoint(path, WORK):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    lock.write_text(json.dumps({"pid": os.getpid(), "host": host, "began": "another"}))  # a later process, same number
    with open_checkpoint(path, WORK):
        pass
    lock.write_text(json.dumps({"pid": 1, "host": "elsewhere", "began": None}))
    with pytest.raises(DataError, match=r"process 1 on the computer elsewhere.*if that process has ended, delete"):
        open_checkpoint(path, WORK)
    lock.write_text("?")
    os.utime(lock, (0, 0))
    with pytest.raises(DataError, match="does not say by whom"):
        open_checkpoint(path, WORK)


def test_a_full_disk_is_said_and_costs_nothing(tmp_path):
    """The system refuses to let the file grow; what was in it is still whole."""
    path = written(tmp_path / "a.ckpt")
    size = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    file = open_checkpoint(path, WORK)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30, hard))
        with pytest.raises(DataError, match=r"could not be written: File too large.*Make room, and make the same call"):
            file.append(RECORDS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        file.close()
    assert path.stat().st_size == size
    with open_checkpoint(path, WORK) as again:
        assert len(again.records) == 5
