from pathlib import Path

from vibehq_nb.ops.scan import ALL_RULES

NOTEBOOKS = Path(__file__).parents[3] / "notebooks"


def test_every_runbook_a_rule_names_is_there() -> None:
    named = {rule.runbook for rule in ALL_RULES if rule.runbook is not None}

    assert {name for name in named if not list(NOTEBOOKS.rglob(name))} == set()
