"""How often intervals of scores hold the rating, by group, with early stopping and selection in the loop.

A study trains linear heads by gradient descent on parts of the features, stops each where dev and PAM are
predicted best, keeps the best third of them by the same clips, and calibrates intervals on them, as a bundle
does.  Synthetic clips are predicted worse than recordings.  Coverage is counted on new clips.
"""

from __future__ import annotations

import numpy as np

from mmmos.heads.scoring.conformal import ALL_DOMAINS, CONFIDENCE_LEVELS, ORIGINS, HeldOut
from mmmos.heads.scoring.intervals import calibrate, covered

TRAIN, HELD_OUT, NEW = 400, 240, 2000
FEATURES, PART, HEADS, KEPT, EPOCHS = 60, 30, 12, 4, 60
DOMAINS = ("music", "speech")

Clips = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Features [N, D], ratings [N], domains [N], origins [N]."""


def draw(rng: np.random.Generator, weights: np.ndarray, count: int) -> Clips:
    """Clips of both domains; a third is synthetic, with more of what features do not tell."""
    domains, origins = rng.choice(DOMAINS, count), rng.choice(ORIGINS, count, p=(2 / 3, 1 / 3))
    features = rng.normal(0, 1, (count, len(weights)))
    untold = np.where(origins == "synthetic", 1.2, 0.5) * np.where(domains == "music", 1.0, 0.7)
    return features, features @ weights + untold * rng.standard_t(6, count), domains, origins


def study(rng: np.random.Generator) -> dict[str, dict[float, float]]:
    """Group -> level -> share of new ratings inside their intervals."""
    weights = rng.normal(0, 1, FEATURES) / FEATURES**0.5
    train, known, new = (draw(rng, weights, count) for count in (TRAIN, HELD_OUT, NEW))
    found = []
    for _ in range(HEADS):
        part = rng.choice(FEATURES, PART, replace=False)
        head, best, kept = np.zeros(PART), np.inf, np.zeros(PART)
        for _ in range(EPOCHS):
            head = head - 0.05 / TRAIN * train[0][:, part].T @ (train[0][:, part] @ head - train[1])
            error = float(np.mean((known[0][:, part] @ head - known[1]) ** 2))
            if error < best:
                best, kept = error, head
        found.append((best, known[0][:, part] @ kept, new[0][:, part] @ kept))
    chosen = sorted(found, key=lambda one: one[0])[:KEPT]
    sides = []
    for clips, said in ((known, [one[1] for one in chosen]), (new, [one[2] for one in chosen])):
        _, ratings, domains, origins = clips
        errors = (np.mean(said, axis=0) - ratings)[:, None]
        groups = np.full(len(ratings), "")
        sides.append(HeldOut(errors, np.std(said, axis=0)[:, None], domains, groups, origins))
    made = calibrate(("MOS",), sides[0], np.zeros(1), "simulated")
    shares: dict[str, dict[float, float]] = {}
    for level in CONFIDENCE_LEVELS:
        inside = covered(made, sides[1], level)[0][:, 0]
        for domain in DOMAINS:
            for origin in ORIGINS:
                here = (sides[1].domains == domain) & (sides[1].origins == origin)
                shares.setdefault(f"{domain}/{origin}", {})[level] = float(inside[here].mean())
        shares.setdefault(ALL_DOMAINS or "all", {})[level] = float(inside.mean())
    return shares


def of_scores(studies: int, seed: int) -> dict[str, dict[float, float]]:
    """Group -> level -> share of new ratings inside their intervals."""
    found = [study(np.random.default_rng([seed, number])) for number in range(studies)]
    result = {
        group: {level: round(float(np.mean([one[group][level] for one in found])), 4) for level in levels}
        for group, levels in found[0].items()
    }
    for group, levels in result.items():
        print(f"intervals of scores, {group:16} {levels}", flush=True)
    return result
