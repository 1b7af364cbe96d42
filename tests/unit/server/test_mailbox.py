"""Turns of a room: one at a time, and none that waits for itself."""

import asyncio

import pytest

from vibehq_nb.core.ids import RoomKey
from vibehq_server.mailbox import Mailbox, current_turn

A = RoomKey("main", "a")


async def nothing():
    """Nothing has to be stored."""


def mailbox():
    return Mailbox(A, nothing)


async def test_turns_run_one_after_another_in_the_order_they_came():
    box, seen = mailbox(), []

    async def hook(number):
        seen.append(("in", number))
        await asyncio.sleep(0)
        seen.append(("out", number))

    await asyncio.gather(*(box.run(hook, number) for number in range(3)))

    assert seen == [(way, n) for n in range(3) for way in ("in", "out")]
    assert not box.is_busy


async def test_a_turn_that_steps_aside_lets_others_in_and_comes_back_alone():
    box, seen = mailbox(), []
    aside, back = asyncio.Event(), asyncio.Event()

    async def first():
        turn = current_turn()
        async with turn.stepping_aside():
            aside.set()
            await back.wait()
        seen.append("first")

    async def second():
        seen.append("second")

    running = asyncio.create_task(box.run(first))
    await aside.wait()
    await box.run(second)
    back.set()
    await running

    assert seen == ["second", "first"]
    assert not box.is_busy


async def test_two_blocks_at_once_hold_the_room_again_when_the_last_has_ended():
    box = mailbox()

    async def aside(turn):
        async with turn.stepping_aside():
            await asyncio.sleep(0)

    async def hook():
        await asyncio.gather(*(aside(current_turn()) for _ in range(3)))
        return box.lock.locked()

    assert await box.run(hook) is True
    assert not box.is_busy


async def test_a_cancelled_turn_leaves_the_room_free():
    box = mailbox()
    for where in ("holding", "aside"):
        reached = asyncio.Event()

        async def hook(where=where, reached=reached):
            if where == "holding":
                reached.set()
                await asyncio.Event().wait()
            async with current_turn().stepping_aside():
                reached.set()
                await asyncio.Event().wait()

        running = asyncio.create_task(box.run(hook))
        await reached.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

        assert not box.is_busy


async def test_one_that_is_cancelled_while_it_waits_to_come_back_frees_nothing():
    box = mailbox()
    has_begun, let_go = asyncio.Event(), asyncio.Event()

    async def first():
        async with current_turn().stepping_aside():
            await has_begun.wait()

    async def second():
        has_begun.set()
        await let_go.wait()

    one = asyncio.create_task(box.run(first))
    two = asyncio.create_task(box.run(second))
    await has_begun.wait()
    await asyncio.sleep(0)  # now the first waits for the room
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one

    assert box.lock.locked()  # it is the second one's
    let_go.set()
    await two
    assert not box.is_busy


async def test_what_a_hook_leaves_behind_has_no_turn():
    box, seen = mailbox(), []
    go = asyncio.Event()

    async def later():
        await go.wait()
        seen.append(current_turn())

    async def hook():
        assert current_turn().chain == (A,)
        return asyncio.create_task(later())

    left = await box.run(hook)
    go.set()
    await left

    assert seen == [None]
