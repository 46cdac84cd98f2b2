"""How often `awbench regress` finds a slowdown of 5 %, and how often one that is not there."""

from __future__ import annotations

import statistics

import pytest

from awbench.regress.comparison import Comparison, ComparisonGoal, Decision, compare
from awbench.regress.trees import side_by_side

RUNS = 20
_WORK = """\
import hashlib

def work():
    for _ in range({rounds}):
        hashlib.sha256(bytes(2000)).digest()
"""


@pytest.mark.slow
def test_five_percent_is_found_and_nothing_is_not(repository):
    """Twenty decisions each with and without the slowdown, in turns, on the same machine at the same time."""
    module = repository.path / "work.py"
    module.write_text(_WORK.format(rounds=1000))
    repository.commit()
    same = repository.commit()
    module.write_text(_WORK.format(rounds=1050))
    planted = repository.commit()
    found: dict[str, list[Comparison]] = {same: [], planted: []}
    for run in range(RUNS):
        for commit, comparisons in found.items():
            with side_by_side("HEAD~1", commit) as trees:
                comparisons.append(compare(*trees, repository.suite_run, ComparisonGoal(budget=120)))
            (change,) = comparisons[-1].changes
            print(
                f"{'planted' if commit == planted else 'same'} {run}: {change.decision.value}, "
                f"{change.ratio.value:.4f} ({change.ratio.low:.4f} to {change.ratio.high:.4f}), {change.pairs} pairs, "
                f"{comparisons[-1].seconds:.1f} s",
                flush=True,
            )
    slower = sum(bool(comparison.of(Decision.SLOWER)) for comparison in found[planted])
    wolf = sum(bool(c.of(Decision.SLOWER) or c.of(Decision.FASTER)) for c in found[same])
    unclear = sum(bool(comparison.of(Decision.UNCLEAR)) for comparison in found[same])
    seconds = statistics.median(comparison.seconds for every in found.values() for comparison in every)
    print(
        f"a slowdown of 5 % found in {slower} of {RUNS}; something found where there is nothing in {wolf} of {RUNS}, "
        f"not measured finely enough there in {unclear}; a decision takes {seconds:.1f} s"
    )
    assert slower >= 0.95 * RUNS
    assert wolf <= 0.05 * RUNS
