from datetime import UTC, datetime

from vibehq_nb.ops.log_lines import LineDecoder
from vibehq_nb.ops.log_records import MAX_GROUPS, LogFacts, LogFolder
from vibehq_nb.ops.rule import TimeRange

LATEST = datetime(2026, 11, 22, 12, tzinfo=UTC)
AT = "2026-11-22 10:00:00"
MINUTE = int(datetime(2026, 11, 22, 10, tzinfo=UTC).timestamp()) // 60
TRACE = (
    f'{AT} ERROR it failed\nTraceback (most recent call last):\n  File "a.py", line 1, '
    "in f\n    x()\nValueError: 2026-11-22 is bad\n"
)


def fold(text: str, time_range: TimeRange | None = None) -> LogFacts:
    folder = LogFolder(LineDecoder(UTC, LATEST), LogFacts(), "/app.log", time_range)
    offset = 0
    for number, raw in enumerate(text.encode().splitlines(keepends=True), start=1):
        folder.feed(raw, offset, number)
        offset += len(raw)
    return folder.finish()


def test_records_are_counted_by_minute_with_their_errors() -> None:
    facts = fold(f"{AT} INFO a\n{AT} ERROR b\n2026-11-22 10:01:00 INFO c\n")

    assert facts.minutes == {MINUTE: (2, 1), MINUTE + 1: (1, 0)}


def test_a_stack_trace_is_one_error_and_not_many_lines() -> None:
    facts = fold(f"{AT} INFO a\n{TRACE}{AT} INFO b\n")

    assert facts.minutes == {MINUTE: (3, 1)}
    assert list(facts.groups) == ["ValueError|a.py:f"]


def test_a_sample_names_its_line_and_holds_the_trace() -> None:
    [group] = fold(f"{AT} INFO a\n{TRACE}").groups.values()

    assert (group.path, group.line) == ("/app.log", 2)
    assert group.sample.endswith("ValueError: 2026-11-22 is bad")


def test_crashes_in_a_row_are_counted_apart() -> None:
    trace = TRACE.partition("\n")[2]

    [group] = fold(trace * 3).groups.values()

    assert group.undated == 3


def test_chained_traces_are_one_record() -> None:
    python = TRACE.partition("\n")[2]
    chain = "\nDuring handling of the above exception, another exception occurred:\n\n"

    facts = fold(f"{AT} ERROR x\n{python}{chain}{python.replace('Value', 'Key')}")

    assert facts.minutes == {MINUTE: (1, 1)}
    assert list(facts.groups) == ["KeyError|a.py:f"]


def test_a_java_trace_below_its_log_line_is_one_record() -> None:
    facts = fold(
        f"{AT} ERROR failed\ncom.acme.BadException: x\n\tat com.acme.A.b(A.java:1)\n"
        "Caused by: com.acme.WorseException: y\n\tat com.acme.C.d(C.java:2)\n"
        f"\t... 3 more\n{AT} INFO on\n"
    )

    assert facts.minutes == {MINUTE: (2, 1)}
    assert list(facts.groups) == ["com.acme.WorseException|com.acme.C.d"]


def test_a_torn_trace_does_not_swallow_what_follows() -> None:
    torn = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n'

    facts = fold(f"{torn}{AT} INFO a\n{AT} INFO b\n")

    assert facts.minutes == {MINUTE: (2, 0)}


def test_lines_without_a_time_take_the_one_before() -> None:
    facts = fold(f"{AT} INFO a\nERROR b\n")

    assert facts.minutes == {MINUTE: (2, 1)}
    assert facts.undated == ""


def test_a_log_without_times_keeps_its_order() -> None:
    assert fold("INFO a\nERROR b\nINFO c\n").undated == ".E."


def test_records_outside_the_time_range_do_not_count() -> None:
    after = TimeRange(datetime(2026, 11, 22, 10, 1, tzinfo=UTC))

    facts = fold(f"INFO undated\n{TRACE}2026-11-22 10:01:00 INFO c\n", after)

    assert facts.minutes == {MINUTE + 1: (1, 0)}
    assert facts.groups == {}
    assert facts.undated == ""


def test_kinds_of_traces_are_bounded_and_the_rest_is_counted() -> None:
    traces = "".join(
        TRACE.replace("in f", f"in f_{'x' * n}") for n in range(MAX_GROUPS + 3)
    )

    facts = fold(traces)

    assert len(facts.groups) == MAX_GROUPS
    assert facts.ungrouped == 3


def test_of_a_huge_record_the_begin_and_the_end_are_kept() -> None:
    facts = fold(TRACE.replace("    x()\n", "    x()\n" * 50_000))

    assert list(facts.groups) == ["ValueError|a.py:f"]
    assert len(facts.groups["ValueError|a.py:f"].sample) <= 400
