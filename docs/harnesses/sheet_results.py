"""Scores of `mmmos predict` as the `results.csv` of SHEET, one axis at a time (see docs/harnesses.md).

python sheet_results.py scores.csv ratings.csv PQ > results.csv
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path


def results(scores: Path, ratings: Path, axis: str) -> list[dict[str, str]]:
    """The rows of SHEET's own table `ratings`, in their order, with the score of `axis` as `answer`.

    Raises
    ------
    SystemExit
        A row of the table has no score, or there is no such axis.
    """
    with scores.open(encoding="utf-8", newline="") as file:
        by_path = {row["path"]: row for row in csv.DictReader(file) if row.get("row", "file") == "file"}
    with ratings.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    missing = [row["wav_path"] for row in rows if not by_path.get(row["wav_path"], {}).get(axis)]
    if missing:
        sys.exit(f"{scores}: no {axis} for {len(missing)} of {len(rows)} clips, the first one {missing[0]}")
    return [row | {"answer": by_path[row["wav_path"]][axis]} for row in rows]


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    found = results(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    writer = csv.DictWriter(sys.stdout, found[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
