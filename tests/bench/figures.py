"""How long figures with intervals and comparisons with p-values take, and what memory they hold.

    python -m tests.bench.figures [--quick]

Two sets of synthetic ratings and two runs: 8,000 clips of 40 systems, and 10,000 clips without any system.
Each is evaluated (all axes, domains, levels and metrics) and compared with 1,000 swaps, on one thread.  Ends
with one JSON line: seconds of each, and the peak memory of the process.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Sequence

import numpy as np

from mmmos.heads.permutation import PERMUTATIONS
from mmmos.heads.results.comparison import compare
from mmmos.heads.results.evaluation import evaluate
from mmmos.store.predictions import Predictions
from mmmos.store.schema import Clip

GOALS_S = {"systems": 30, "clips": 60}
SETS = {"systems": (8000, 40), "clips": (10000, 0)}


def clips_of(count: int, systems: int, rng: np.random.Generator) -> list[Clip]:
    """Rated clips of three domains; systems: 0 for none."""
    scores = np.round(np.clip(rng.normal(5.5, 1.5, (count, 4)), 0, 10), 1)
    return [
        Clip(
            f"c{n:05d}", f"{n}.wav", domain=("music", "sound", "speech")[n % 3],
            system=f"s{n % systems:02d}" if systems else "", split="test", scores=tuple(map(float, row)),
        )
        for n, row in enumerate(scores)
    ]  # fmt: skip


def seconds(count: int, systems: int, permutations: int) -> tuple[float, float]:
    """Processor seconds of evaluating one run, and of comparing two."""
    rng = np.random.default_rng(0)
    clips = clips_of(count, systems, rng)
    truth = np.array([clip.scores for clip in clips], dtype=np.float64)
    one, other = (
        Predictions(name, "test", tuple(c.id for c in clips), truth + rng.normal(0, 1, truth.shape))
        for name in ("one", "other")
    )
    evaluate([one], clips[:60])  # imports and caches
    started = time.process_time()
    evaluate([one], clips)
    between = time.process_time()
    compare(one, other, clips, permutations)
    return between - started, time.process_time() - between


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the clips and of the swaps")
    quick = parser.parse_args(arguments).quick
    share = 10 if quick else 1
    result: dict[str, object] = {"quick": quick}
    for name, (count, systems) in SETS.items():
        evaluated, compared = seconds(count // share, systems, PERMUTATIONS // share)
        result[name] = {"evaluate_s": round(evaluated, 2), "compare_s": round(compared, 2)}
        print(f"{name}: {count // share} clips, {systems} systems: {result[name]}; goal {GOALS_S[name]} s")
    result["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main()
