"""Whether a confirmed candidate beats the base: the rule, and its words.

A candidate wins if it is ahead of the base by more than t standard errors, where t is the 97.5 % quantile of Student's
distribution. The standard error of a mean paired difference is estimated over all candidates that are ahead together,
since a few seeds alone tell a spread badly; one that is behind cannot win, and may spread as it likes. Of candidates
that win, the one that is furthest ahead is taken. With three candidates, three seeds and no true difference, the rule
lets one through in 7 % of all sweeps, and a plain bound of two standard errors in 22 %. A true difference of twice the
standard deviation of a pair's is found in 68 % (simulated: tests/benchmarks/test_confirmation_rule.py).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from scipy.stats import t as student

from tune.study.confirmation import BASE, Candidate, Confirmation
from tune.text import table

_LEVEL = 0.975
_FEWEST_PAIRS = 2
NOTHING = "nothing found beats the base"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A candidate against the base.

    Attributes:
        candidate: the point.
        by_seed: {seed: how far it is ahead}; more is better, whatever the mode of the metric.
    """

    candidate: Candidate
    by_seed: Mapping[int, float]

    @property
    def mean(self) -> float:
        """Mean over the pairs."""
        return mean(self.by_seed.values())

    @property
    def error(self) -> float:
        """Standard error of the mean, from these pairs alone."""
        return stdev(self.by_seed.values()) / math.sqrt(len(self.by_seed))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a confirmation says.

    Attributes:
        differences: of the candidates whose runs are complete with every seed.
        needed: by how much a candidate must be ahead; nan where none is ahead at all.
        quantile: of Student's distribution; nan likewise.
        winner: the candidate that is taken; None for the base.
    """

    differences: Sequence[Difference]
    needed: float
    quantile: float
    winner: Difference | None


def verdict_of(confirmation: Confirmation) -> Verdict:
    """Returns the verdict of a confirmation whose runs have ended. A candidate with a failed run cannot win."""
    base = confirmation.scores.get(BASE, {})
    sign = 1 if confirmation.mode == "max" else -1
    differences = [
        Difference(
            candidate=candidate,
            by_seed={seed: sign * (own[seed] - base[seed]) for seed in confirmation.seeds},
        )
        for candidate in confirmation.candidates
        if len(base) == len(own := confirmation.scores[candidate.name]) == len(confirmation.seeds) >= _FEWEST_PAIRS
    ]
    ahead = [item for item in differences if item.mean > 0]
    if not ahead:
        return Verdict(differences=differences, needed=math.nan, quantile=math.nan, winner=None)
    quantile = float(student.ppf(_LEVEL, len(ahead) * (len(confirmation.seeds) - 1)))
    needed = quantile * math.sqrt(mean(item.error**2 for item in ahead))
    best = max(ahead, key=lambda item: item.mean)
    winner = best if best.mean > needed else None
    return Verdict(differences=differences, needed=needed, quantile=quantile, winner=winner)


@dataclass(frozen=True)
class Headline:
    """The first line of a report.

    Attributes:
        short: the verdict.
        numbers: what it rests on.
        winner: the candidate that beats the base; None for the base.
    """

    short: str
    numbers: str
    winner: Candidate | None = None


def headline(confirmation: Confirmation | None, *, outdated: bool) -> Headline:
    """Returns the first line of the report of a sweep that is, or is to be, confirmed.

    Args:
        confirmation: None for one that was not begun.
        outdated: whether other candidates are the best now.
    """
    waiting = "not confirmed yet, so best.yaml is the base"
    if confirmation is None:
        return Headline(waiting, "the search comes first")
    if outdated:
        return Headline(waiting, "the search has found other candidates since the confirmation")
    if confirmation.num_open:
        return Headline(waiting, f"{confirmation.num_complete} of {confirmation.num_runs} trainings are complete")
    if not confirmation.candidates:
        return Headline(NOTHING, "no other point was tried to the end")
    return _ended(confirmation, verdict_of(confirmation))


def _ended(confirmation: Confirmation, verdict: Verdict) -> Headline:
    metric, base = confirmation.metric, confirmation.scores[BASE]
    seeds = f"seeds {', '.join(map(str, confirmation.seeds))}"
    if not verdict.differences:
        failed = f"{len(confirmation.failed)} trainings failed" if confirmation.failed else "too few trainings"
        return Headline(NOTHING, f"no candidate is complete with all {seeds}: {failed}")
    best = max(verdict.differences, key=lambda item: item.mean)
    name, level = f"trial {best.candidate.trial}", f"base {mean(base.values()):.4f}, {seeds}"
    if verdict.winner is not None:
        numbers = f"{metric} {best.mean:+.4f}, needs {verdict.needed:.4f}; {level}"
        return Headline(f"{name} beats the base", numbers, best.candidate)
    if math.isnan(verdict.needed):
        return Headline(NOTHING, f"the best candidate, {name}: {metric} {best.mean:+.4f}; {level}")
    return Headline(
        NOTHING, f"the best candidate, {name}: {metric} {best.mean:+.4f}, needs {verdict.needed:.4f}; {level}"
    )


@dataclass(frozen=True)
class Confirmed:
    """What a report shows of a confirmation.

    Attributes:
        confirmation: None where it was not begun.
        headline: the first line.
    """

    confirmation: Confirmation | None
    headline: Headline


def score_rows(confirmation: Confirmation) -> tuple[list[str], list[list[str]]]:
    """Returns the columns and a row for the base and for each candidate: scores, and how far it is ahead."""
    differences = {item.candidate.name: item for item in verdict_of(confirmation).differences}
    columns = ["", *(f"seed {seed}" for seed in confirmation.seeds), "mean ± std", "ahead by", "standard error"]
    rows: list[list[str]] = []
    for name, scores in confirmation.scores.items():
        cells = [_cell(confirmation, name, seed) for seed in confirmation.seeds]
        known = [*scores.values()]
        spread = f" ± {stdev(known):.4f}" if len(known) > 1 else ""
        difference = differences.get(name)
        ahead = ["", ""] if difference is None else [f"{difference.mean:+.4f}", f"{difference.error:.4f}"]
        rows.append([name, *cells, f"{mean(known):.4f}{spread}" if known else "-", *ahead])
    return columns, rows


def rule_text(confirmation: Confirmation) -> str:
    """Returns the rule, with the numbers of this confirmation."""
    verdict = verdict_of(confirmation)
    text = f"{confirmation.metric} after full trainings on the held-out people, in pairs of equal seed and data order. "
    if math.isnan(verdict.needed):
        return f"{text}A candidate must be ahead of the base."
    return (
        f"{text}A candidate must be ahead of the base by more than {verdict.needed:.4f}: {verdict.quantile:.2f} "
        "(97.5 % quantile of Student's t) times the standard error of the mean paired difference, over all candidates "
        "that are ahead."
    )


def confirmation_text(confirmation: Confirmation) -> str:
    """Returns the section of the report as Markdown."""
    parts = ["## Confirmation with other seeds", table(*score_rows(confirmation)), rule_text(confirmation)]
    failed = failures(confirmation)
    return "\n\n".join([*parts, *(["\n".join(f"- {line}" for line in failed)] if failed else [])])


def failures(confirmation: Confirmation) -> list[str]:
    """Returns a line for each failed run of this confirmation."""
    own = {key for runs in confirmation.keys.values() for key in runs.values()}
    return [f"{key} failed: {error}" for key, error in confirmation.failed.items() if key in own]


def _cell(confirmation: Confirmation, name: str, seed: int) -> str:
    if seed in confirmation.scores[name]:
        return f"{confirmation.scores[name][seed]:.4f}"
    return "failed" if confirmation.keys[name][seed] in confirmation.failed else "-"
