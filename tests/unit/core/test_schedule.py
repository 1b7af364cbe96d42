from datetime import UTC, datetime

import pytest

from vibehq_nb.core.errors import UsageError
from vibehq_nb.core.schedule import MAX_TRIES, ScheduledTask, after_run, next_run

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()


def at(text):
    return datetime.fromisoformat(text).timestamp()


def test_a_cron_is_due_at_its_next_time_and_never_in_the_past():
    assert next_run("0 2 * * *", "UTC", NOON) == at("2026-03-29T02:00:00+00:00")
    assert next_run("0 12 * * *", "UTC", NOON) == at("2026-03-29T12:00:00+00:00")


def test_a_cron_is_read_in_its_time_zone_over_a_change_of_clocks():
    first = next_run("0 9 * * *", "Europe/Berlin", NOON)

    assert first == at("2026-03-29T07:00:00+00:00")  # clocks went forward at 01:00 UTC
    assert next_run("0 9 * * *", "Europe/Berlin", NOON - 86_400) == at(
        "2026-03-28T08:00:00+00:00"
    )


@pytest.mark.parametrize(
    "cron", ["", "every day", "61 * * * *", "* * * *", "* * * * * *", "@daily"]
)
def test_what_is_no_cron_is_refused_with_an_example(cron):
    with pytest.raises(UsageError, match="0 2"):
        next_run(cron, "UTC", NOON)


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../etc/passwd", "/etc/passwd"])
def test_an_unknown_time_zone_is_refused(zone):
    with pytest.raises(UsageError, match="time zone"):
        next_run("0 2 * * *", zone, NOON)


def task(**more):
    return ScheduledTask(
        **{"id": "a", "kind": "at", "callback": "x", "due": NOON, **more}
    )


def test_a_task_that_ran_is_done_and_a_cron_goes_on():
    cron = task(kind="cron", cron="0 2 * * *", tries=3)

    assert after_run(task(), NOON, has_failed=False) is None
    rest = after_run(cron, NOON + 30 * 86_400, has_failed=False)
    assert rest is not None
    assert rest.tries == 0
    assert rest.when == datetime(2026, 4, 28, 2, tzinfo=UTC)


def test_a_failed_run_is_tried_again_later_and_later_five_times_in_all():
    left, waits = task(), []
    while (rest := after_run(left, NOON, has_failed=True)) is not None:
        waits.append(rest.due - NOON)
        left = rest

    assert waits == [1, 2, 4, 8]
    assert len(waits) == MAX_TRIES - 1
