"""The catalogue of bad input is complete: each case once, with its answer."""

import re
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
CASE = re.compile(r'(?:id="B|def test_b)(\d+)[-_]')
NO_CASES = {27, 28}  # a socket before its credentials are judged: there is none


def test_every_case_up_to_58_is_tested_in_one_place() -> None:
    found = Counter(
        int(number)
        for path in HERE.glob("test_bad_*.py")
        for number in CASE.findall(path.read_text())
    )

    expected = set(range(1, 59)) - NO_CASES
    assert {n: count for n, count in found.items() if n <= 58 and count != 1} == {}
    assert {n for n in found if n <= 58} == expected
