"""
Run the test tiers, two at a time, time each, and judge the skips.

    python scripts/run_tests.py [--benchmarks] [TIER ...]

Two at a time, because tests wait more than they compute; each line of output begins
with its tier's name. Benchmarks run alone, after everything else.

Exit code 0 means: nothing failed, and nothing was skipped for a reason that is not
in `ALLOWED_SKIPS`. The last line is "N passed, N failed, N skipped".
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
JS = ROOT / "vibehq_nb" / "js"
ALLOWED_SKIPS = ("needs root", "needs a user other than root", "needs a package")
NO_TESTS_COLLECTED = 5  # pytest's exit code
FULL = os.environ.get("VIBEHQ_ROUNDS") == "full"
AT_A_TIME = 2
NO_BROWSER = ("-p", "no:playwright")
CONTAINERS = ("busybox", "conmon", "podman", "runc")
RECORDED = ("htop", "less", "tmux", "vim")
SHELLS = ("fish", "zsh")
SSH = ("ssh-keygen", "sshd")
NAMED_OTHERWISE = {
    "busybox": "busybox-static",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
}
PACKAGES = {
    name: NAMED_OTHERWISE.get(name, name)
    for name in (*CONTAINERS, *RECORDED, *SHELLS, *SSH, "chromium", "strace")
}
"""Debian's package of each program that some tests need."""


@dataclass(frozen=True)
class Tier:
    """One level of tests: what it runs and needs, and how long one test may take."""

    name: str
    paths: tuple[str, ...]
    options: tuple[str, ...] = NO_BROWSER
    timeout_seconds: int = 30
    programs: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What a tier did."""

    passed: int = 0
    failed: int = 0
    skips: list[str] = field(default_factory=list)
    seconds: float = 0.0
    note: str = ""

    @property
    def bad_skips(self) -> list[str]:
        """The reasons that are not allowed."""
        return [why for why in self.skips if not why.startswith(ALLOWED_SKIPS)]

    @property
    def is_good(self) -> bool:
        """Whether nothing failed and every skip has an allowed reason."""
        return not self.failed and not self.bad_skips

    def row(self) -> str:
        """The counts and the time, for the closing table."""
        return (
            f"{self.seconds:7.1f} s  {self.passed} passed, {self.failed} failed, "
            f"{len(self.skips)} skipped{self.note}"
        )


RUNBOOK_OPTIONS = (
    *NO_BROWSER,
    *("-p", "tests.runbooks"),
    "--nbval",
    "--nbval-sanitize-with=notebooks/sanitize.cfg",
    "--vibehq",
    "--vibehq-approve=bob:restart *",
)

TIERS = (
    Tier(  # first, as it takes as long as all others together
        "integration",
        ("tests/integration",),
        programs=(*CONTAINERS, *RECORDED, *SHELLS, *SSH, "strace"),
    ),
    Tier("unit", ("tests/unit",)),
    Tier("acceptance", ("tests/acceptance",), timeout_seconds=60),
    Tier(
        "trust",
        ("tests/trust",),
        timeout_seconds=1200 if FULL else 60,
        programs=("strace",),
    ),
    Tier(
        "browser",
        ("tests/browser",),
        options=(),
        timeout_seconds=180,
        programs=("chromium",),
    ),
    Tier("js", ("vibehq_nb/js",)),
    Tier(
        "runbooks",
        ("notebooks",),
        RUNBOOK_OPTIONS,
        timeout_seconds=120,
        programs=CONTAINERS,
    ),
)
BENCHMARKS = Tier("benchmarks", ("tests/benchmarks",), timeout_seconds=600)


def main() -> int:
    """Run the tiers that were asked for; return the exit code."""
    tiers = chosen_tiers()
    needed = {name for tier in tiers for name in tier.programs}
    ensure_programs({name: PACKAGES[name] for name in sorted(needed)})
    started = time.monotonic()
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        found = list(threads.map(run, [tier for tier in tiers if tier != BENCHMARKS]))
    found += [run(tier) for tier in tiers if tier == BENCHMARKS]
    outcomes = {tier.name: outcome for tier, outcome in zip(tiers, found, strict=True)}
    report(outcomes, time.monotonic() - started)
    return 0 if all(outcome.is_good for outcome in outcomes.values()) else 1


def chosen_tiers() -> list[Tier]:
    """The tiers named on the command line; without names, all."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [tier.name for tier in TIERS]
    parser.add_argument("tiers", nargs="*", metavar="TIER", help=", ".join(names))
    parser.add_argument("--benchmarks", action="store_true", help="run them as well")
    arguments = parser.parse_args()
    unknown = set(arguments.tiers) - set(names)
    if unknown:
        parser.error(f"no tier {sorted(unknown)[0]!r}; there are {', '.join(names)}")
    wanted = [t for t in TIERS if not arguments.tiers or t.name in arguments.tiers]
    return [*wanted, BENCHMARKS] if arguments.benchmarks else wanted


def ensure_programs(packages: dict[str, str]) -> None:
    """Install Debian's *packages*, by program, where this user may; else say so."""
    missing = {name: text for name, text in packages.items() if not shutil.which(name)}
    apt = shutil.which("apt-get")
    if missing and apt and (sudo := sudo_prefix()) is not None:
        names = list(missing.values())
        print(f"Installing {', '.join(names)} for the tests.", flush=True)
        install = [apt, "install", "-y", "-q", "--no-install-recommends", *names]
        subprocess.run([*sudo, apt, "update", "-q"], check=False)
        subprocess.run([*sudo, *install], check=False)
    for name in missing:
        if not shutil.which(name):
            print(f"{name} is not here and may not be installed: its tests skip.")


def sudo_prefix() -> list[str] | None:
    """What goes before a command that only root may run; None where nothing helps."""
    if os.geteuid() == 0:
        return []
    sudo = ["sudo", "-n"]
    has_sudo = shutil.which("sudo")
    return sudo if has_sudo and not subprocess.run([*sudo, "true"]).returncode else None


def run(tier: Tier) -> Outcome:
    """Run one tier and count what it did."""
    paths = [path for path in tier.paths if (ROOT / path).exists()]
    if not paths:
        return Outcome(note=f" (no tests yet: {tier.paths[0]} is not there)")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        if tier.name == "js":
            code = run_vitest(results)
        else:
            code = run_pytest(tier, paths, results)
        outcome = read_results(results, code)
    outcome.seconds = time.monotonic() - started
    return outcome


def run_pytest(tier: Tier, paths: list[str], results: Path) -> int:
    """Run pytest on a tier's folders; return its exit code."""
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={results}"]
    command += [f"--timeout={tier.timeout_seconds}", *tier.options, *paths]
    return run_told(tier.name, command, ROOT)


def run_vitest(results: Path) -> int:
    """Run the front end's tests; return the exit code."""
    installed = JS / "node_modules" / ".package-lock.json"
    locked = JS / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < locked.stat().st_mtime:
        code = npm("ci", "--no-audit", "--no-fund")
        if code:
            return code
    return npm(
        *("test", "--", "--reporter=default", "--reporter=junit"),
        f"--outputFile.junit={results}",
    )


def npm(*arguments: str) -> int:
    """Run npm in the front end's folder; return its exit code."""
    return run_told("js", ["npm", *arguments], JS)


def run_told(name: str, command: Sequence[str], folder: Path) -> int:
    """Run *command*, print each line it prints after *name*; return its exit code."""
    with subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(f"{name:11} | {line}", end="", flush=True)
    return process.returncode


def read_results(results: Path, code: int) -> Outcome:
    """Count the cases of a JUnit file; a run that died without one has failed."""
    if not results.exists():
        return Outcome(failed=1, note=f" (exit code {code}, no results)")
    outcome = Outcome()
    for case in ET.parse(results).iter("testcase"):
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
        elif skipped is not None:
            outcome.skips.append(skipped.get("message") or "no reason given")
        else:
            outcome.passed += 1
    if code == NO_TESTS_COLLECTED:
        outcome.note = " (no tests yet)"
    elif code and not outcome.failed:
        outcome.failed, outcome.note = 1, f" (exit code {code})"
    return outcome


def report(outcomes: Mapping[str, Outcome], seconds: float) -> None:
    """Print each tier's time, the skips that are not allowed, and the sums."""
    print("\n=== tiers ===")
    for name, outcome in outcomes.items():
        print(f"{name:12}{outcome.row()}")
    for name, outcome in outcomes.items():
        for why in sorted(set(outcome.bad_skips)):
            print(f"{name}: a skip for this reason is not allowed: {why}")
    done = outcomes.values()
    print(f"{'total':12}{seconds:7.1f} s")
    print(
        f"{sum(outcome.passed for outcome in done)} passed, "
        f"{sum(outcome.failed for outcome in done)} failed, "
        f"{sum(len(outcome.skips) for outcome in done)} skipped"
    )


if __name__ == "__main__":
    sys.exit(main())
