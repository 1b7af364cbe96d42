"""The judge of `make test`: what counts as passed, failed and allowed to skip."""

from pathlib import Path

import pytest

from scripts import run_tests
from scripts.run_tests import PACKAGES, TIERS, Outcome, read_results


def results(folder: Path, *cases: str) -> Path:
    path = folder / "results.xml"
    inner = "".join(f"<testcase>{case}</testcase>" for case in cases)
    path.write_text(f"<testsuites><testsuite>{inner}</testsuite></testsuites>")
    return path


def test_cases_are_counted_by_what_they_hold(tmp_path: Path) -> None:
    skip = '<skipped message="needs root: a cgroup of its own"/>'
    path = results(tmp_path, "", "", "<failure/>", "<error/>", skip)

    outcome = read_results(path, code=1)

    assert (outcome.passed, outcome.failed, len(outcome.skips)) == (2, 2, 1)
    assert outcome.bad_skips == []


@pytest.mark.parametrize("skip", ["<skipped/>", '<skipped message="flaky"/>'])
def test_a_skip_for_another_reason_is_not_good(tmp_path: Path, skip: str) -> None:
    outcome = read_results(results(tmp_path, "", skip), code=0)

    assert not outcome.is_good


def test_a_run_without_results_has_failed(tmp_path: Path) -> None:
    assert not read_results(tmp_path / "none.xml", code=4).is_good


def test_an_exit_code_without_a_failed_case_has_failed(tmp_path: Path) -> None:
    assert not read_results(results(tmp_path, ""), code=3).is_good


def test_a_folder_without_tests_is_good_and_says_so(tmp_path: Path) -> None:
    outcome = read_results(results(tmp_path), code=5)

    assert outcome.is_good
    assert "no tests yet" in outcome.row()


def test_an_outcome_starts_good() -> None:
    assert Outcome().is_good


def test_every_program_a_tier_needs_has_a_package() -> None:
    assert {name for tier in TIERS for name in tier.programs} == set(PACKAGES)


def test_what_is_there_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called = tmp_path / "called"
    for name, text in (("apt-get", f'echo "$@" >> {called}'), ("there", "")):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(run_tests, "sudo_prefix", list)

    run_tests.ensure_programs({"there": "there"})
    assert not called.exists()
    run_tests.ensure_programs({"there": "there", "missing": "its-package"})

    assert "install -y -q --no-install-recommends its-package" in called.read_text()
    assert "missing is not here" in capsys.readouterr().out


def test_a_user_who_may_not_install_is_told_what_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(run_tests, "sudo_prefix", lambda: None)

    run_tests.ensure_programs({"missing": "its-package"})

    assert "its tests skip" in capsys.readouterr().out
