"""The catalogue of bad input is complete: each case once, with its answer."""

import re
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
CASE = re.compile(r'(?:id="B|def test_b)(\d+)[-_]')
ELSEWHERE = {60: "tests/integration/test_terminal_keyboard.py"}
NO_CASES = {27, 28}  # a socket before its credentials are judged: there is none


def test_every_case_up_to_79_is_tested_in_one_place() -> None:
    found = Counter(
        int(number)
        for path in HERE.glob("test_bad_*.py")
        for number in CASE.findall(path.read_text())
    )
    for number, place in ELSEWHERE.items():
        cases = CASE.findall((HERE.parents[1] / place).read_text())
        found[number] += cases.count(str(number))

    assert {n: count for n, count in found.items() if count != 1} == {}
    assert set(found) == set(range(1, 80)) - NO_CASES
