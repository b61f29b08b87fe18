"""Turns and rates, with an event loop and a clock of the test's own."""

import asyncio
import threading

import pytest

from oasis_tf.web.turns import Busy, RateLimit, Superseded, Turns


def test_one_at_a_time_in_order():
    running, most, order = 0, 0, []

    def work(number):
        nonlocal running, most
        running += 1
        most = max(most, running)
        order.append(number)
        running -= 1
        return number

    async def main():
        turns = Turns()
        return await asyncio.gather(*(turns.run(lambda k=k: work(k)) for k in range(8)))

    assert asyncio.run(main()) == list(range(8)) == order
    assert most == 1


def run_after_a_slow_one(*wishes, most_waiting=16):
    """Starts work that waits, then the wishes (arguments of `run`); lets all of it go."""
    done, gate = [], threading.Event()

    async def main():
        turns = Turns(most_waiting)
        slow = asyncio.create_task(turns.run(gate.wait))
        await asyncio.sleep(0)
        tasks = []
        for number, (client, abandoned) in enumerate(wishes):
            work = lambda number=number: done.append(number)  # noqa: E731
            tasks.append(asyncio.create_task(turns.run(work, client, abandoned)))
        await asyncio.sleep(0)
        gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await slow
        assert not turns._newest
        return results

    return done, asyncio.run(main())


def test_only_the_newest_of_a_client_is_done():
    wishes = [("a", None), ("b", None), ("a", None), (None, None), (None, None), ("a", None)]
    done, results = run_after_a_slow_one(*wishes)
    assert done == [1, 3, 4, 5]
    assert [isinstance(result, Superseded) for result in results] == [1, 0, 1, 0, 0, 0]


def test_nothing_is_done_for_who_has_left():
    async def gone():
        return True

    async def there():
        return False

    done, results = run_after_a_slow_one(("a", gone), ("b", there), (None, gone))
    assert done == [1]
    assert [isinstance(result, Superseded) for result in results] == [True, False, True]


def test_too_many_waiting():
    done, results = run_after_a_slow_one(*[(None, None)] * 5, most_waiting=3)
    assert done == [0, 1, 2]
    assert [type(result) for result in results[3:]] == [Busy, Busy]


def test_failures_free_the_turn():
    async def main():
        turns = Turns()
        with pytest.raises(ZeroDivisionError):
            await turns.run(lambda: 1 / 0, "a")
        return await turns.run(lambda: 5, "a")

    assert asyncio.run(main()) == 5


def test_rate_limit():
    now = 0.0
    limit = RateLimit(per_second=2, burst=3, clock=lambda: now)
    assert [limit.allows("a") for _ in range(5)] == [True] * 3 + [False] * 2
    assert limit.allows("b")
    now = 0.5
    assert [limit.allows("a") for _ in range(2)] == [True, False]
    now = 1000.0
    assert [limit.allows("a") for _ in range(4)] == [True] * 3 + [False]


def test_addresses_seen_long_ago_are_forgotten():
    limit = RateLimit(per_second=0, burst=1, clock=lambda: 0.0)
    for number in range(2 * RateLimit.MOST_ADDRESSES):
        assert limit.allows(number)
    assert len(limit._buckets) == RateLimit.MOST_ADDRESSES
    assert not limit.allows(number)
