"""Which runs form an ensemble, decided from stored predictions alone (paper V-D, Table IV).

A rule is a name and its arguments, "name:argument:argument"; the SELECTORS at the foot of this file
are the names.  A selector looks at dev, PAM or out-of-fold predictions and never at the test split.
How runs are ranked, and what happens to ties and undefined scores, is said in `pool`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy.optimize import nnls

from mmmos.heads.pool import Growing, Pool, checked_split, of_split
from mmmos.store.names import choose

Weights = dict[str, float]
Selector = Callable[..., Weights]


def select(rule: str, pool: Pool) -> Weights:
    """Run id -> weight, summing to 1, the heaviest first; ValueError for a rule that cannot be followed."""
    name, *arguments = rule.split(":")
    selector = SELECTORS[choose("selection rule", name, SELECTORS)]
    try:
        inspect.signature(selector).bind(pool, *arguments)
    except TypeError as error:
        raise ValueError(f"rule {rule!r} has too many or too few parts; {usage(name)}") from error
    weights = selector(pool, *arguments)
    if not weights:
        raise ValueError(f"rule {rule!r} chooses no run at all; widen it")
    total = sum(weights.values())
    return {run: w / total for run, w in sorted(weights.items(), key=lambda pair: (-pair[1], pair[0]))}


def usage(name: str) -> str:
    """How a rule is written: the first line of its docstring."""
    return next(iter((SELECTORS[name].__doc__ or "").strip().splitlines()), "")


def everything(pool: Pool) -> Weights:
    """`all`: every run that has a defined score on some selection split."""
    tables = [of_split(pool.scores, split) for split in pool.scores]
    return {run: 1.0 for table in tables for run, score in table.items() if score is not None}


def top(pool: Pool, split: str, count: str) -> Weights:
    """`top:SPLIT:K`: the K best runs on that split, e.g. top:pam:4 or top:dev:8."""
    return dict.fromkeys(pool.ranked(split)[: whole(count)], 1.0)


def best(pool: Pool, split: str) -> Weights:
    """`best:SPLIT`: the single best run on that split, e.g. best:pam."""
    return top(pool, split, "1")


def intersect(pool: Pool, counts: str = "12,12") -> Weights:
    """`intersect:D,P`: the runs among both the D best on dev and the P best on PAM (the submitted system)."""
    parts = counts.split(",")
    if len(parts) != 2:
        raise ValueError(f"intersect takes two counts, dev and PAM, as in intersect:12,12, not {counts!r}")
    dev, pam = (whole(part) for part in parts)
    both = set(pool.ranked("dev")[:dev]) & set(pool.ranked("pam")[:pam])
    return dict.fromkeys(both, 1.0)


def greedy(pool: Pool, splits: str = "oof", rounds: str = "20") -> Weights:
    """`greedy:SPLITS:ROUNDS`: forward selection with replacement, e.g. greedy:oof:20 or greedy:dev+pam.

    Each round adds the run that makes the average best, an already chosen one included; the best of all
    rounds is kept (Caruana et al., ICML 2004).  On dev or PAM the chosen score is optimistic.
    """
    names = split_names(splits)
    runs = usable_runs(pool, names)
    chosen: list[str] = []
    history: list[float] = []
    average = Growing(pool, names)
    for _ in range(whole(rounds)):
        scored = [(average.score_with(run), run) for run in runs]
        score, run = min(scored, key=lambda pair: (-pair[0], pair[1]))
        average.add(run)
        chosen.append(run)
        history.append(score)
    kept = chosen[: int(np.argmax(history)) + 1]
    return {run: float(kept.count(run)) for run in set(kept)}


def stack(pool: Pool, splits: str = "oof", ridge: str = "0.1") -> Weights:
    """`stack:SPLITS:RIDGE`: non-negative ridge stacking, e.g. stack:oof:0.1.

    Least squares of the ratings of all axes, each over its own deviation, on the runs' predictions with
    weights >= 0 that sum to 1, shrunk towards the plain average by RIDGE times the mean prediction power
    (Breiman 1996).  One weight a run, the same for every axis, so that the result stays on the scale.
    """
    names, strength = split_names(splits), number(ridge)
    runs = usable_runs(pool, names)
    truth = np.concatenate([pool.truth[name] for name in names])
    stored = [np.concatenate([pool.predictions[name][run] for name in names]) for run in runs]
    pred = np.stack(stored, axis=-1)
    rated = np.isfinite(truth)
    level, spread = np.nanmean(truth, axis=0), np.maximum(np.nanstd(truth, axis=0), 1e-9)
    target = ((truth - level) / spread)[rated]
    design = ((pred - level[:, None]) / spread[:, None])[rated]
    pull = np.sqrt(strength * float(np.mean(design**2)) * len(target))
    # Ridge penalty on the weights: with the sum held to 1 it shrinks them towards equal ones.  The sum is
    # held to 1 by a row with a very large weight, and `select` divides the weights by their sum afterwards.
    hold = 1e3 * np.sqrt(len(target))
    rows = np.concatenate([design, pull * np.eye(len(runs)), np.full((1, len(runs)), hold)])
    right = np.concatenate([target, np.zeros(len(runs)), [hold]])
    weights, _ = nnls(rows, right)
    return {run: float(weight) for run, weight in zip(runs, weights, strict=True) if weight > 1e-4}


def even(pool: Pool, split: str = "oof") -> Weights:
    """`even:SPLIT`: every run, weighted so that all predictions spread alike, e.g. even:oof.

    In a plain mean the run that varies most is heard most, and with few clips that is the one that errs most.
    No rating is looked at.  A run that spreads less than half as much as the middle one counts as if it did,
    so that nobody's noise is amplified.
    """
    stored = of_split(pool.predictions, split)
    spread = {run: values.std(axis=0) for run, values in sorted(stored.items())}
    middle = np.maximum(np.median(list(spread.values()), axis=0), 1e-9)
    weights = {run: float(1 / max(0.5, np.mean(of / middle))) for run, of in spread.items() if of.any()}
    return weights or dict.fromkeys(spread, 1.0)


def cost(pool: Pool, splits: str = "pam", tolerance: str = "0.005", count: str = "8") -> Weights:
    """`cost:SPLITS:TOLERANCE:K`: the cheapest encoders within TOLERANCE of the best, e.g. cost:pam:0.005:8.

    For every set of encoders the average of the K best runs that need no other encoder is scored; of those
    within TOLERANCE of the best set, the one whose encoders cost least (`encoder_cost`) is taken.
    """
    names, slack, most = split_names(splits), number(tolerance), whole(count)
    runs = usable_runs(pool, names)
    missing = [run for run in runs if run not in pool.encoders]
    if missing:
        raise ValueError(f"the encoders of {missing[0]} are unknown, so its cost is")
    order = sorted(runs, key=lambda run: (-pool.score([run], names), run))
    encoders = sorted({name for run in runs for name in pool.encoders[run]})
    options = []
    for size in range(1, len(encoders) + 1):
        for allowed in combinations(encoders, size):
            members = [run for run in order if set(pool.encoders[run]) <= set(allowed)][:most]
            # A set of which no member uses some encoder is one of the smaller sets over again.
            if members and set().union(*(pool.encoders[run] for run in members)) == set(allowed):
                options.append((pool.score(members, names), encoder_cost(allowed, pool.gflop), members))
    limit = max(score for score, _, _ in options) - slack
    _, _, members = min((o for o in options if o[0] >= limit), key=lambda o: (o[1], -o[0], o[2]))
    return dict.fromkeys(members, 1.0)


def encoder_cost(names: Sequence[str], gflop: Mapping[str, float]) -> float:
    """GFLOP a crop of running each named encoder once; one that `gflop` lacks counts as the dearest known."""
    dearest = max(gflop.values(), default=0.0)
    return sum(gflop.get(name, dearest) for name in set(names))


def split_names(text: str) -> list[str]:
    """ "dev+pam" -> ["dev", "pam"]; a split that may not be used to choose is refused."""
    return [checked_split(name) for name in text.split("+")]


def usable_runs(pool: Pool, splits: Sequence[str]) -> list[str]:
    """Pool.usable, with an error that says what is missing."""
    runs = pool.usable(splits)
    if not runs:
        raise ValueError(f"no run has stored predictions on {' and '.join(splits)} together")
    return runs


def whole(text: str) -> int:
    """A count of at least one."""
    if not text.strip().isdigit() or int(text) < 1:
        raise ValueError(f"expected a whole number of at least 1, not {text!r}")
    return int(text)


def number(text: str) -> float:
    """A number of at least zero."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < float("inf"):
        raise ValueError(f"expected a number of at least 0, not {text!r}")
    return value


SELECTORS: dict[str, Selector] = {
    "all": everything,
    "top": top,
    "best": best,
    "intersect": intersect,
    "greedy": greedy,
    "stack": stack,
    "even": even,
    "cost": cost,
}
