"""Inject faults into real work (extraction, training, sweeps, exports) and count what is survived.

    python -m tests.faults [--seed S] [--quick] [--kind KIND] [--folder DIR]

Ends with one JSON line: injected and survived, in all and by kind.  Exit code 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.faults import kinds, runs, writes
from tests.faults.kinds import Bench

KINDS = {
    **kinds.KINDS,
    "writers": (writes.writers, 1, 17),
    "bits": (runs.bits, 300, 24),
    "sweeps": (runs.sweeps, 200, 3),
}
"""Each kind with its number for the whole run and for the quick one."""

CLIPS = {"file_calls": 7, "flips": 12, "truncations": 12, "writers": 3, "bits": 3, "sweeps": 3}
"""Clips for kinds that need a small extraction, three to five shards; the others take MANY_CLIPS."""
MANY_CLIPS = 40


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="a short part of each kind")
    parser.add_argument(
        "--kind", choices=list(KINDS), action="append", help="only this kind (may be repeated)"
    )
    parser.add_argument("--folder", type=Path, help="on which disk to work (default: the system's)")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir=options.folder))
    injected: Counter[str] = Counter()
    survived: Counter[str] = Counter()
    try:
        for name in options.kind or KINDS:
            inject, full, quick = KINDS[name]
            began = time.monotonic()
            bench = Bench(folder / name, CLIPS.get(name, MANY_CLIPS), options.seed)
            for one in inject(bench, quick if options.quick else full):
                injected[one.kind] += 1
                survived[one.kind] += not one.failure
                if one.failure:
                    print(f"LOST  {one.kind} {one.detail}: {one.failure}", flush=True)
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
            shutil.rmtree(folder / name)
    finally:
        shutil.rmtree(folder)
    print(f"{injected.total()} injected, {survived.total()} survived")
    by_kind = {kind: {"injected": injected[kind], "survived": survived[kind]} for kind in injected}
    print(
        json.dumps(
            {
                "seed": options.seed,
                "injected": injected.total(),
                "survived": survived.total(),
                "by_kind": by_kind,
            }
        )
    )
    return 0 if injected == survived else 1


if __name__ == "__main__":
    sys.exit(main())
