"""Where the training clips lie in feature space: what kind of audio a clip is, and whether of any of them.

Each domain is the mean of its training clips' features; the deviation of each feature within the domains is
the unit.  The distance of a clip to a domain is the root mean square of its deviations in those units, over
the features of an encoder and then over encoders (a Mahalanobis distance with a diagonal covariance: with
thousands of features and few clips a full one cannot be estimated).  No torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

QUANTILE = 0.99
"""A clip is out of domain if it is farther from its nearest domain than this share of held-out clips."""
FEWEST = 20
"""A domain that fewer held-out clips are nearest to has the limit of all domains together."""


@dataclass(frozen=True, eq=False)
class Reference:
    """domains: [K] names ("" alone where the data has none); means: spec id -> [K, D]; deviations: [D].

    limit: the distance from its nearest domain beyond which a clip is out of domain, [K] where domains differ
    in it; clips: how many it was taken from.
    """

    domains: tuple[str, ...]
    means: dict[str, Array]
    deviations: dict[str, Array]
    limit: float | tuple[float, ...]
    clips: int

    @property
    def limits(self) -> tuple[float, ...]:
        """[K], one for each domain."""
        return self.limit if isinstance(self.limit, tuple) else (self.limit,) * len(self.domains)

    def distances(self, features: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Features of N clips, spec id -> [N, D], to their distances [N, K]; 1 is typical of training."""
        total: NDArray[np.float64] | None = None
        for name, means in self.means.items():
            gaps = (features[name][:, None, :] - means) / self.deviations[name]
            part = np.square(gaps, dtype=np.float64).mean(axis=2)
            total = part if total is None else total + part
        assert total is not None
        return np.sqrt(total / len(self.means))

    @staticmethod
    def unknown() -> Reference:
        """Of a bundle whose training clips are not known: every clip belongs to its one unnamed domain."""
        return Reference(("",), {}, {}, 1.0, 0)

    def place(self, features: Mapping[str, NDArray[Any]]) -> tuple[list[str], NDArray[np.float64]]:
        """Nearest domain of each of N clips, and its distance in units of that one's limit: beyond 1 a clip
        lies too far even from there."""
        if not self.means:
            count = len(next(iter(features.values())))
            return [self.domains[0]] * count, np.zeros(count)
        distances = self.distances(features)
        nearest = distances.argmin(axis=1)
        farness = distances.min(axis=1) / np.array(self.limits)[nearest]
        return [self.domains[k] for k in nearest], farness

    def about(self) -> dict[str, Any]:
        limit = list(self.limit) if isinstance(self.limit, tuple) else self.limit
        return {"domains": list(self.domains), "limit": limit, "clips": self.clips, "quantile": QUANTILE}

    def arrays(self) -> dict[str, Array]:
        """Every array by a name of its own; `from_parts` takes them back."""
        return {f"mean/{n}": a for n, a in self.means.items()} | {
            f"deviation/{n}": a for n, a in self.deviations.items()
        }

    @staticmethod
    def from_parts(
        about: Mapping[str, Any], arrays: Mapping[str, Array], dims: Mapping[str, int]
    ) -> Reference:
        """From `about` and `arrays`; ValueError unless they fit the encoders, spec id -> D."""
        domains, clips = tuple(about["domains"]), about["clips"]
        if not isinstance(clips, int) or isinstance(clips, bool) or clips < 0:
            raise ValueError(f"the reference rests on {clips!r:.60} clips")
        if clips == 0 and not arrays and domains == ("",):
            return Reference.unknown()
        expected: dict[str, tuple[int, ...]] = {f"mean/{n}": (len(domains), d) for n, d in dims.items()}
        expected |= {f"deviation/{n}": (d,) for n, d in dims.items()}
        if {name: array.shape for name, array in arrays.items()} != expected or not domains:
            raise ValueError("the reference's arrays are not those of the bundle's encoders")
        if any(array.dtype != np.float32 for array in arrays.values()):
            raise ValueError("the reference holds numbers that are not float32")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("the reference holds values that are not finite")
        if not all((arrays[f"deviation/{n}"] > 0).all() for n in dims):
            raise ValueError("the reference has deviations that are not positive")
        given = about["limit"]
        limit = tuple(map(float, given)) if isinstance(given, list) else float(given)
        limits = limit if isinstance(limit, tuple) else (limit,) * len(domains)
        if len(limits) != len(domains) or not all(0.0 < one < math.inf for one in limits):
            raise ValueError(f"the reference's limits are {given!r:.60} for {len(domains)} domains")
        return Reference(
            domains,
            {n: arrays[f"mean/{n}"] for n in dims},
            {n: arrays[f"deviation/{n}"] for n in dims},
            limit,
            clips,
        )


def make_reference(
    train: Mapping[str, Array], domains: Sequence[str], held_out: Mapping[str, Array] | None = None
) -> Reference:
    """From features of training clips, spec id -> [N, D], with their domains [N] ("" where not known).

    held_out: the same of clips that were not trained on, from which the limits are taken; without any the
    training clips' own distances are, which are a little too small.
    """
    names = sorted(set(domains) - {""}) or [""]
    index = np.array([names.index(d) if d in names else -1 for d in domains])
    known = index >= 0
    if not known.any():
        raise ValueError("there are no training clips to take the reference from")
    means, deviations = {}, {}
    for spec_id, values in train.items():
        centres = np.stack([values[index == k].mean(axis=0, dtype=np.float64) for k in range(len(names))])
        within = values[known] - centres[index[known]]
        deviation = np.sqrt(np.square(within, dtype=np.float64).mean(axis=0))
        # A feature that hardly varies in training says nothing in units of its own deviation.
        floor = 1e-3 * float(np.sqrt(np.square(deviation).mean())) + 1e-9
        means[spec_id] = centres.astype(np.float32)
        deviations[spec_id] = np.maximum(deviation, floor).astype(np.float32)
    reference = Reference(tuple(names), means, deviations, math.inf, 0)
    looked_at = held_out if held_out and len(next(iter(held_out.values()))) else train
    distances = reference.distances(looked_at)
    nearest, least = distances.argmin(axis=1), distances.min(axis=1)
    limits = tuple(
        _limit(own if len(own := least[nearest == k]) >= FEWEST else least) for k in range(len(names))
    )
    limit = limits if len(set(limits)) > 1 else limits[0]
    return Reference(tuple(names), means, deviations, limit, len(least))


def _limit(distances: NDArray[np.float64]) -> float:
    return max(float(np.quantile(distances, QUANTILE, method="higher")), 1e-6)
