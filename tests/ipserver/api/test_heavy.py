"""Long computations: ended at their deadline or with their caller, bounded in the size of their answer."""

import asyncio
import os
import time

import pytest
from google.protobuf import struct_pb2, wrappers_pb2

from ipserver.api.heavy import Heavy
from ipserver.errors import FieldViolation, InvalidRequest, TooExpensive
from ipserver.store import open_store
from tests.ipserver.support import migrated


def process_id():
    return wrappers_pb2.Int64Value(value=os.getpid())


def experiments(store, limit):
    return wrappers_pb2.Int64Value(value=len(store.list_experiments(limit=limit)))


def endless():
    while True:
        time.sleep(1)


def refuse():
    raise InvalidRequest([FieldViolation("a", "is wrong"), FieldViolation("b", "is too")])


def large():
    return struct_pb2.Value(string_value="x" * 4_000_001)


@pytest.fixture(scope="module")
def heavy(tmp_path_factory):
    """One for all, since the start of its process takes most of the time."""
    with open_store(migrated(f"sqlite:///{tmp_path_factory.mktemp('heavy')}/iplab.db")) as store:
        pool = Heavy(store, workers=1, seconds=2.0)
        yield pool
        pool.close()


async def test_functions_run_in_another_process_which_survives_wrong_requests(heavy):
    first = await heavy.run(process_id)
    assert first.value != os.getpid()
    with pytest.raises(InvalidRequest) as caught:
        await heavy.run(refuse)
    assert [violation.field for violation in caught.value.violations] == ["a", "b"]
    with pytest.raises(TooExpensive, match=r"4\.0 MB"):
        await heavy.run(large)
    assert (await heavy.read(experiments, 10)).value == 0
    assert await heavy.run(process_id) == first


async def test_what_takes_too_long_is_ended_and_the_next_call_is_answered(heavy):
    await heavy.run(process_id)
    with pytest.raises(TooExpensive, match="more than 2 s"):
        await heavy.run(endless)
    assert (await heavy.run(process_id)).value


async def test_a_cancelled_call_frees_its_process(heavy):
    await heavy.run(process_id)
    call = asyncio.create_task(heavy.run(endless))
    await asyncio.sleep(0.2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    started = time.monotonic()
    await heavy.run(process_id)
    assert time.monotonic() - started < 60  # not for ever: the process of the cancelled call was ended


async def test_without_processes_a_thread_does_the_work(store):
    pool = Heavy(store, workers=0)
    assert (await pool.run(process_id)).value == os.getpid()
    assert (await pool.read(experiments, 10)).value == 0
    pool.close()


async def test_processes_that_could_not_import_are_started_anew(heavy, tmp_path, monkeypatch):
    """As while a package is replaced below a running service."""
    file = tmp_path / "replaced_below.py"
    file.write_text(
        "import multiprocessing\n"
        "assert multiprocessing.parent_process() is None\n"
        "def answer():\n"
        "    raise AssertionError\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import replaced_below

    with pytest.raises(Exception):  # noqa: B017 - a defect, as the log has it
        await asyncio.wait_for(heavy.run(replaced_below.answer), 30)
    assert (await asyncio.wait_for(heavy.run(process_id), 60)).value != os.getpid()
