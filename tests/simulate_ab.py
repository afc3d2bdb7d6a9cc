"""How often two sides of equal mean scores are called different by `compare` without pairs.

Scores are normal, skewed to the left (Beta(5, 1)) or to the right (log-normal, 0.5), or those of a system
that fails in one file of ten.  The smaller side spreads half as far, as far, twice or four times as far as
the other.  What is refused as too few files for so skewed scores is not called different; its share stands
beside.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmmos.heads.scoring.ab import HIGHER, LOWER, TOO_FEW, compare_scores

SIZES = ((3, 30), (5, 50), (10, 100), (20, 200), (10, 10))
RATIOS = (0.5, 1.0, 2.0, 4.0)
"""Standard deviation of the smaller side, in that of the other."""

Draw = Callable[[np.random.Generator, int], np.ndarray]


def _fails(rng: np.random.Generator, count: int) -> np.ndarray:
    scores = np.where(rng.random(count) < 0.1, rng.normal(2, 1, count), rng.normal(8, 0.5, count))
    return (scores - 7.4) / np.sqrt(0.9 * 0.25 + 0.1 + 0.09 * 36)


SCORES: dict[str, Draw] = {
    "normal": lambda rng, count: rng.normal(0, 1, count),
    "left": lambda rng, count: (rng.beta(5, 1, count) - 5 / 6) / np.sqrt(5 / 252),
    "right": lambda rng, count: (
        (rng.lognormal(0, 0.5, count) - np.exp(0.125)) / np.sqrt((np.exp(0.25) - 1) * np.exp(0.25))
    ),
    "fails": _fails,
}
"""Scores of mean 0 and deviation 1."""


def of_sides(studies: int, seed: int) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """("different" | "refused") -> scores -> "3/30" -> spread of the smaller side -> share of the studies."""
    result: dict[str, dict[str, dict[str, dict[str, float]]]] = {"different": {}, "refused": {}}
    for number, (name, draw) in enumerate(SCORES.items()):
        for sizes in SIZES:
            for ratio in RATIOS:
                verdicts = [
                    _verdict(np.random.default_rng([seed, number, *sizes, study]), draw, sizes, ratio)
                    for study in range(studies)
                ]
                wrong = float(np.mean([verdict in (HIGHER, LOWER) for verdict in verdicts]))
                refused = float(np.mean([verdict == TOO_FEW for verdict in verdicts]))
                for what, share in (("different", wrong), ("refused", refused)):
                    row = result[what].setdefault(name, {}).setdefault("/".join(map(str, sizes)), {})
                    row[f"{ratio:g}"] = round(share, 4)
            key = "/".join(map(str, sizes))
            print(
                f"A {key:7} {name:6} different {result['different'][name][key]}  "
                f"refused {result['refused'][name][key]}",
                flush=True,
            )
    return result


def _verdict(rng: np.random.Generator, draw: Draw, sizes: tuple[int, int], ratio: float) -> str:
    a, b = (
        {f"{n}": {"PQ": float(value)} for n, value in enumerate(values)}
        for values in (ratio * draw(rng, sizes[0]), draw(rng, sizes[1]))
    )
    return compare_scores(a, b, ("PQ",), pairing="unpaired").differences[0].verdict
