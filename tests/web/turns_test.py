"""Turns, shares and rates, with an event loop and a clock of the test's own."""

import asyncio
import threading

import pytest

from oasis_tf.web.turns import Busy, RateLimit, Shares, Superseded, Turns


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
        return await asyncio.gather(*(turns.run([lambda k=k: work(k)]) for k in range(8)))

    assert asyncio.run(main()) == [[k] for k in range(8)]
    assert order == list(range(8))
    assert most == 1


def run_after_a_slow_one(*wishes, turns=None, leaves=()):
    """Starts work that waits, then the wishes; lets all of it go.

    Args:
        wishes: (address, client) or (address, client, how many pieces).
        turns: `Turns`.
        leaves: numbers of wishes whose clients leave while they wait.

    Returns:
        numbers of the wishes in the order in which their pieces ran, and the results.
    """
    done, gate = [], threading.Event()

    async def main():
        line = turns or Turns()
        slow = asyncio.create_task(line.run([gate.wait], "elsewhere"))
        await asyncio.sleep(0)
        tasks = []
        for number, (address, client, *pieces) in enumerate(wishes):
            works = [lambda number=number: done.append(number)] * (pieces[0] if pieces else 1)
            tasks.append(asyncio.create_task(line.run(works, address, client)))
        await asyncio.sleep(0)
        for number in leaves:
            tasks[number].cancel()
        gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await slow
        assert not line._lines and not line._running
        return results

    return done, asyncio.run(main())


def kinds(results):
    return [type(result) for result in results]


def test_the_newest_of_a_client_has_the_place_of_its_first():
    wishes = [("x", name) for name in ("a", "b", "a", None, None, "a")]
    done, results = run_after_a_slow_one(*wishes)
    assert done == [5, 1, 3, 4]
    assert kinds(results) == [Superseded, list, Superseded, list, list, list]


def test_clients_of_other_addresses_are_others():
    done, results = run_after_a_slow_one(("x", "a"), ("y", "a"))
    assert done == [0, 1] and kinds(results) == [list, list]


def test_addresses_take_turns():
    wishes = [("x", k) for k in range(4)] + [("y", k) for k in range(2)] + [("z", 0)]
    done, _ = run_after_a_slow_one(*wishes)
    assert done == [0, 4, 6, 1, 5, 2, 3]


def test_pieces_of_a_request_take_turns_with_others():
    done, results = run_after_a_slow_one(("x", "a", 3), ("x", "b"), ("y", "c", 2))
    assert done == [0, 2, 1, 2, 0, 0]
    assert results == [[None] * 3, [None], [None] * 2]


def test_a_request_ends_between_its_pieces_when_a_newer_one_waits():
    order = []

    async def main():
        turns, begun, gate = Turns(), threading.Event(), threading.Event()

        def first():
            order.append("first")
            begun.set()
            gate.wait()

        older = asyncio.create_task(turns.run([first, lambda: order.append("second")], "x", "a"))
        await asyncio.to_thread(begun.wait)
        newer = asyncio.create_task(turns.run([lambda: order.append("newer")], "x", "a"))
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(older, newer, return_exceptions=True)

    assert kinds(asyncio.run(main())) == [Superseded, list]
    assert order == ["first", "newer"]


def test_nothing_is_done_for_who_has_left():
    done, results = run_after_a_slow_one(("x", "a"), ("x", "b"), ("y", None), leaves=[0, 2])
    assert done == [1]
    assert kinds(results) == [asyncio.CancelledError, list, asyncio.CancelledError]


def test_work_of_who_has_left_frees_the_turn():
    async def main():
        turns, begun, gate = Turns(), threading.Event(), threading.Event()
        left = asyncio.create_task(turns.run([lambda: (begun.set(), gate.wait())]))
        await asyncio.to_thread(begun.wait)
        left.cancel()
        other = asyncio.create_task(turns.run([lambda: 5]))
        await asyncio.sleep(0)
        gate.set()
        return await other

    assert asyncio.run(main()) == [5]


def test_one_address_fills_half_of_the_places():
    wishes = [("x", None)] * 3 + [("y", None)] * 3 + [("z", None)]
    done, results = run_after_a_slow_one(*wishes, turns=Turns(most_waiting=4))
    assert kinds(results) == [list, list, Busy, list, list, Busy, Busy]
    assert done == [0, 3, 1, 4]


def test_who_would_wait_too_long_is_told_when_to_come_back():
    turns = Turns(most_seconds=45)
    turns._seconds = 10.0  # of a piece so far
    wishes = [("x", k) for k in range(6)] + [("x", 0), ("y", 0)]
    _, results = run_after_a_slow_one(*wishes, turns=turns)
    # One runs and four wait. A newer request of a client that waits has its place; another address
    # is next but one.
    assert kinds(results) == [Superseded, list, list, list, Busy, Busy, list, list]
    assert results[4].retry_after == 25


def test_failures_free_the_turn():
    async def main():
        turns = Turns()
        with pytest.raises(ZeroDivisionError):
            await turns.run([lambda: 1 / 0], "x", "a")
        return await turns.run([lambda: 5], "x", "a")

    assert asyncio.run(main()) == [5]


def test_shares():
    shares = Shares(100)
    with shares.part("x") as take:
        take(30)
        take(20)
        with pytest.raises(Busy):  # half is taken
            take(1)
        with shares.part("y") as other, shares.part("z") as third:
            other(40)
            third(10)
            with pytest.raises(Busy):  # all is taken
                third(1)
        with shares.part("x") as again, pytest.raises(Busy):
            again(1)
        with shares.part("y") as other:
            other(50)
    assert not shares._taken


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
