"""The paper's claims as comparisons that a table of figures answers: its printed one, or ours.

A claim is a set of comparisons.  It is true where all of them hold and false where one of them fails.  With
several seeds, a comparison that holds for some of them only is undecided; a claim that has an undecided
comparison and none that fails cannot be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from mmmos.heads.grids import PAPER_AGGREGATORS, PAPER_LOSSES, TRI_ENC, Cell
from mmmos.heads.metrics import srcc
from mmmos.heads.results.printed import PRINTED_LEVELS, Place, Row

MUQ = "muq"
NEAR = 0.02
"""Aggregators whose SRCC differ by less are called equal by the paper."""

MSE_GAIN, KTAU_GAIN = 0.20, 0.04
"""Shares of the baseline's value by which the paper's ensemble is said to be better, at the least."""

TRUE, FALSE, OPEN = "true", "false", "cannot tell"


@dataclass(frozen=True)
class Figures:
    """What claims are answered from, of one seed.

    Parameters
    ----------
    heads
        The sixteen configurations of Table III.
    ensembles
        The strategies of Table IV.
    baseline
        The published predictor's row.
    subsets
        The sets of encoders of Table II.
    """

    heads: Mapping[Cell, Row]
    ensembles: Mapping[str, Row] = field(default_factory=dict)
    baseline: Row = field(default_factory=dict)
    subsets: Mapping[Cell, Row] = field(default_factory=dict)


Comparison = tuple[str, bool]
"""What is compared, and whether it comes out as claimed."""


def muq_helps(found: Figures) -> Iterator[Comparison]:
    """A set of encoders predicts better with MuQ than without, all else equal."""
    heads = {**found.heads, **found.subsets}
    for (names, aggregator, loss), without in heads.items():
        wider = tuple(name for name in TRI_ENC if name in names or name == MUQ)
        better = heads.get((wider, aggregator, loss))
        if MUQ in names or better is None:
            continue
        for split in PRINTED_LEVELS:
            place = Place(split, "srcc")
            if place in without and place in better:
                yield f"{'+'.join(wider)} {aggregator} {loss} {split}", better[place] > without[place]


def top_two_stay(found: Figures) -> Iterator[Comparison]:
    """Of the configurations of one loss, the best two on PAM are the best two on the test."""
    for loss in PAPER_LOSSES:
        rows = {cell: row for cell, row in found.heads.items() if cell[2] == loss}
        pam, test = _best_two(rows, "pam"), _best_two(rows, "test")
        if pam and test:
            yield loss, pam == test


def pam_predicts(found: Figures) -> Iterator[Comparison]:
    """Over all configurations, SRCC on PAM goes with SRCC on the test, more than SRCC on dev does."""
    places = [Place(split, "srcc") for split in ("dev", "pam", "test")]
    rows = [row for row in found.heads.values() if all(place in row for place in places)]
    if len(rows) > 2:
        dev, pam, test = ([row[place] for row in rows] for place in places)
        of_pam, of_dev = srcc(pam, test), srcc(dev, test)
        if of_pam is not None and of_dev is not None:
            yield "PAM against dev", of_pam > max(of_dev, 0.0)


def aggregators_alike(found: Figures) -> Iterator[Comparison]:
    """With all three encoders and one loss, the SRCC of the three aggregators lie within 0.02."""
    for loss, split in product(PAPER_LOSSES, PRINTED_LEVELS):
        cells = [(TRI_ENC, aggregator, loss) for aggregator in PAPER_AGGREGATORS]
        values = [found.heads[cell].get(Place(split, "srcc")) for cell in cells if cell in found.heads]
        known = [value for value in values if value is not None]
        if len(known) == len(PAPER_AGGREGATORS):
            yield f"{loss} {split}", max(known) - min(known) < NEAR


def ut_best_on_dev(found: Figures) -> Iterator[Comparison]:
    """Of the four losses of one architecture, ut has the highest SRCC on dev."""
    for name, row in _by_loss(found, "dev").items():
        yield name, max(row, key=row.__getitem__) == "ut"


def dcq_and_con_better_on_test(found: Figures) -> Iterator[Comparison]:
    """dcq and con have a higher SRCC on the test than ut."""
    for name, row in _by_loss(found, "test").items():
        yield from ((f"{name} {loss}", row[loss] > row["ut"]) for loss in ("dcq", "con"))


def pam_aware_selection(found: Figures) -> Iterator[Comparison]:
    """What is chosen by PAM, a single configuration or an ensemble, does better on the test than by dev."""
    place = Place("test", "srcc")
    of_pam, of_dev = (best_by(found.heads, split) for split in ("pam", "dev"))
    if of_pam and of_dev and place in of_pam and place in of_dev:
        yield "best single", of_pam[place] > of_dev[place]
    by_dev = found.ensembles.get("dev top 8", {}).get(place)
    for name in ("PAM top 8", "PAM top 4", "submitted"):
        value = found.ensembles.get(name, {}).get(place)
        if value is not None and by_dev is not None:
            yield name, value > by_dev


def gain_over_baseline(found: Figures) -> Iterator[Comparison]:
    """On the test, the submitted ensemble's MSE is at least 20 % below the baseline's, its KTAU 4 % above."""
    ours, baseline = found.ensembles.get("submitted", {}), found.baseline
    for metric, sign, least in (("mse", -1, MSE_GAIN), ("ktau", 1, KTAU_GAIN)):
        place = Place("test", metric)
        if place in ours and baseline.get(place):
            gain = sign * (ours[place] - baseline[place]) / baseline[place]
            yield metric, gain >= least


CLAIMS: dict[str, Callable[[Figures], Iterator[Comparison]]] = {
    "MuQ always helps": muq_helps,
    "the top two on PAM stay the top two on the test": top_two_stay,
    "PAM's order predicts the test's": pam_predicts,
    "aggregators differ by less than 0.02": aggregators_alike,
    "ut is best on dev": ut_best_on_dev,
    "dcq and con are better on the test": dcq_and_con_better_on_test,
    "choosing by PAM beats choosing by dev": pam_aware_selection,
    "MSE 20-30 % below the baseline, KTAU 4-5 % above": gain_over_baseline,
}
"""The claim in words -> its comparisons."""


@dataclass(frozen=True)
class Answer:
    """A claim's answer: "true", "false" or "cannot tell"; how many of `n` comparisons hold for every seed."""

    claim: str
    answer: str
    held: int
    n: int
    failed: tuple[str, ...]


def answer(claim: str, seeds: Sequence[Figures]) -> Answer:
    """Answer a claim from the figures of one or more seeds."""
    outcomes: dict[str, list[bool]] = {}
    for found in seeds:
        for name, holds in CLAIMS[claim](found):
            outcomes.setdefault(name, []).append(holds)
    held = [name for name, holds in outcomes.items() if all(holds)]
    failed = [name for name, holds in outcomes.items() if not any(holds)]
    if failed:
        verdict = FALSE
    elif outcomes and len(held) == len(outcomes):
        verdict = TRUE
    else:
        verdict = OPEN
    return Answer(claim, verdict, len(held), len(outcomes), tuple(failed))


def best_by(rows: Mapping[Cell, Row], split: str) -> Row:
    """The figures of the configuration of highest SRCC on a split; none where a figure is missing."""
    place = Place(split, "srcc")
    if not rows or not all(place in row for row in rows.values()):
        return {}
    return max(rows.values(), key=lambda row: row[place])


def _best_two(rows: Mapping[Cell, Row], split: str) -> set[Cell]:
    """The two cells of highest SRCC on a split; none where a figure is missing or two share second place."""
    place = Place(split, "srcc")
    if len(rows) < 3 or not all(place in row for row in rows.values()):
        return set()
    order = sorted(rows, key=lambda cell: -rows[cell][place])
    tied = rows[order[1]][place] == rows[order[2]][place]
    return set() if tied else set(order[:2])


def _by_loss(found: Figures, split: str) -> dict[str, dict[str, float]]:
    """Architecture -> loss -> SRCC on a split, for those that have all four losses."""
    place = Place(split, "srcc")
    table: dict[str, dict[str, float]] = {}
    for (names, aggregator, loss), row in found.heads.items():
        if place in row:
            table.setdefault(f"{'+'.join(names)} {aggregator}", {})[loss] = row[place]
    return {name: row for name, row in table.items() if set(row) >= set(PAPER_LOSSES)}
