import pytest

from vibehq_nb.core.findings import Finding, is_covered
from vibehq_nb.core.severity import Severity
from vibehq_nb.ops.process_table import Process, ProcessFacts, name_of
from vibehq_nb.ops.rules.processes import coverage_of, detect


def make_process(
    pid: int = 10, name: str = "nginx", descriptors: int = 0, limit: int = 1000
) -> Process:
    return Process(
        pid=pid,
        name=name,
        user="www",
        descriptors=descriptors,
        descriptor_limit=limit,
    )


def make_zombies(count: int, parent: Process) -> tuple[Process, ...]:
    return tuple(
        Process(pid=100 + n, name="sh", user="www", parent=parent) for n in range(count)
    )


@pytest.mark.parametrize(
    ("count", "severity"),
    [(1, Severity.LOW), (10, Severity.MEDIUM), (100, Severity.HIGH)],
)
def test_zombies_are_one_finding_about_their_parent(
    count: int, severity: Severity
) -> None:
    facts = ProcessFacts(zombies=make_zombies(count, make_process()))

    [finding] = detect(facts, "web-1")

    assert (finding.rule, finding.severity) == ("PRC-001", severity)
    assert finding.resource.uid == "process:web-1:www/nginx"
    assert finding.measured == count
    assert len(finding.evidence) <= 5
    assert finding.evidence[0].sample == "pid 100 (sh), child of pid 10"


def test_a_process_is_the_same_finding_after_a_restart() -> None:
    [before] = detect(ProcessFacts(stuck=(make_process(pid=10),)), "web-1")
    [after] = detect(ProcessFacts(stuck=(make_process(pid=99),)), "web-1")

    assert before.rule == "PRC-003"
    assert before.fingerprint == after.fingerprint


@pytest.mark.parametrize(
    ("descriptors", "expected"),
    [
        (699, None),
        (700, (Severity.MEDIUM, True)),
        (800, (Severity.MEDIUM, False)),
        (950, (Severity.HIGH, False)),
        (1200, (Severity.HIGH, False)),
    ],
)
def test_descriptors_are_judged_against_the_soft_limit(
    descriptors: int, expected: tuple[Severity, bool] | None
) -> None:
    facts = ProcessFacts(counted=(make_process(descriptors=descriptors),))

    found = detect(facts, "web-1")

    assert [(it.severity, it.hold) for it in found] == ([expected] if expected else [])


def test_of_many_processes_of_a_kind_the_worst_is_reported_once() -> None:
    workers = tuple(make_process(pid, descriptors=pid * 90) for pid in (9, 10, 1))

    [finding] = detect(ProcessFacts(counted=workers), "web-1")

    assert finding.measured == 90.0
    assert [it.sample for it in finding.evidence] == [
        "pid 10: 900 of 1000",
        "pid 9: 810 of 1000",
    ]


def test_a_process_without_a_limit_is_never_near_it() -> None:
    facts = ProcessFacts(counted=(make_process(descriptors=10**6, limit=0),))

    assert detect(facts, "web-1") == []


def near_limit(user: str) -> Finding:
    process = Process(pid=1, name="x", user=user, descriptors=99, descriptor_limit=100)
    return detect(ProcessFacts(counted=(process,)), "web-1")[0]


def test_what_may_not_be_counted_is_uncovered_for_that_user_only() -> None:
    coverage = coverage_of(ProcessFacts(unreadable={"root": 3}), "web-1")

    assert is_covered(near_limit("ana"), coverage)
    assert not is_covered(near_limit("root"), coverage)
    assert is_covered(near_limit("root2"), coverage)


def test_a_probe_out_of_time_covers_nothing() -> None:
    coverage = coverage_of(ProcessFacts(was_complete=False), "web-1")

    assert {entry.status for entry in coverage} == {"truncated"}


def test_a_system_without_limits_skips_the_descriptor_rule() -> None:
    coverage = coverage_of(ProcessFacts(has_limits=False), "mac-1")

    assert {entry.detector: entry.status for entry in coverage} == {
        "PRC-001": "scanned",
        "PRC-002": "skipped",
        "PRC-003": "scanned",
    }


@pytest.mark.parametrize(
    ("name", "command", "expected"),
    [
        ("nginx", ["nginx: master process /usr/sbin/nginx"], "nginx"),
        ("python3.11", ["python3.11", "/srv/a/app.py", "--token=x"], "python app.py"),
        ("python3", ["python3", "-m", "gunicorn", "a:b"], "python gunicorn"),
        ("python3", ["python3", "-X", "dev", "-c", "secret = 1"], "python"),
        ("java", ["java", "-Xmx1g", "-jar", "/opt/x.jar"], "java x.jar"),
        ("node", [], "node"),
        ("pythonic", ["pythonic", "x"], "pythonic"),
    ],
)
def test_a_name_says_what_runs_and_no_argument(
    name: str, command: list[str], expected: str
) -> None:
    assert name_of(name, command) == expected
