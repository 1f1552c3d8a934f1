"""Work ahead of its use: in order, not too far, errors in their place, threads that end."""

from __future__ import annotations

import threading
import time

import pytest

from MISFMLib.data.ahead import ahead
from MISFMLib.errors import DataError


def test_results_come_in_order_from_one_other_thread():
    threads = set()

    def make(step):
        threads.add(threading.current_thread().name)
        return step * step

    assert list(ahead(make, range(6), count=3)) == [0, 1, 4, 9, 16, 25]
    assert len(threads) == 1
    assert threading.current_thread().name not in threads


def test_several_threads_keep_the_order():
    threads = set()

    def make(step):
        threads.add(threading.current_thread().name)
        time.sleep(0.02 * (step % 3))
        return step

    assert list(ahead(make, range(12), count=4, threads=3)) == list(range(12))
    assert len(threads) == 3


def test_work_is_done_ahead_but_not_far():
    done = []
    results = ahead(lambda step: done.append(step) or step, range(100), count=3)

    next(results)
    time.sleep(0.2)

    assert done == [0, 1, 2, 3]
    results.close()


def test_an_exception_arrives_where_its_result_was_due():
    def make(step):
        if step == 2:
            raise DataError("broken.", code="broken", remedy="")
        return step

    results = ahead(make, range(5), count=3)

    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(DataError, match="broken"):
        next(results)


def test_closing_ends_the_thread():
    results = ahead(lambda step: step, range(100), count=3)
    next(results)

    results.close()

    assert not [thread for thread in threading.enumerate() if "misfm-ahead" in thread.name]
