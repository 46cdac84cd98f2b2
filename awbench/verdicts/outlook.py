"""What would decide a comparison, and with which probability, simulated by the rules that judge it."""

from __future__ import annotations

import functools

from awbench.verdicts.answers import Claimed
from awbench.verdicts.simulation import Design, Simulated, simulate
from awbench.verdicts.study import JudgedComparison, pairs_of_question

_STUDIES = 2000


def outlook(judged: JudgedComparison) -> str:
    """E.g. "5 runs each; a true claim is answered by then with 98 %, by the last look with 100 %"."""
    if judged.decided:
        return "decided"
    if judged.next_look is None:
        return "no look is left: a new study, with more runs"
    if judged.interval is None or judged.claimed is None or judged.claimed.value <= 0:
        return f"{judged.next_look} runs of each"
    study, claimed = judged.study, judged.claimed
    found = simulated(
        judged.looks,
        pairs_of_question(study, judged.comparison),
        len(study.labels),
        study.level,
        claimed.value,
        claimed.margin,
        judged.interval.deviation,
    )
    by_next, by_last = found.decided_by[judged.look], found.decided_by[-1]
    return (
        f"{judged.next_look} runs of each; a true claim is answered by then with {by_next:.0%}, "
        f"by the last look with {by_last:.0%} (deviation {judged.interval.deviation:.2f})"
    )


@functools.cache
def simulated(
    looks: tuple[int, ...], pairs: int, networks: int, level: float, claimed: float, margin: float, deviation: float
) -> Simulated:
    """Studies in which each pair's gain is the claimed one."""
    others = max(0, networks - 2 * pairs)
    design = Design(looks, pairs, others, level, Claimed(claimed, margin))
    return simulate(design, [claimed] * pairs, [deviation] * (2 * pairs + others), _STUDIES)
