"""A bundle's README.md in the form that the Hugging Face hub reads: what it does, how well, and its limits.

The words are those of card.md.j2; here are the tables that it shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmmos.heads.documents import render_markdown
from mmmos.heads.metrics import METRICS
from mmmos.heads.results.evaluation import Row
from mmmos.heads.results.published import baseline_table
from mmmos.heads.scoring.answers import FLAGS
from mmmos.heads.scoring.bundle import Bundle
from mmmos.heads.scoring.card_data import front_matter
from mmmos.heads.scoring.columns import heaviest_columns
from mmmos.heads.scoring.conformal import ALL_DOMAINS
from mmmos.heads.scoring.intervals import Intervals
from mmmos.store.schema import EncoderSpec
from mmmos.store.table import Cell, Table, shown

TEMPLATE = Path(__file__).parent / "card.md.j2"

UNKNOWN_LICENCE = "see its publisher"


def licence(spec: EncoderSpec) -> str:
    """Terms of an encoder's pretrained weights, which are not part of a bundle."""
    if spec.is_random:
        return "untrained weights, no licence"
    return spec.licence or UNKNOWN_LICENCE


def model_card(bundle: Bundle) -> str:
    """The card as Markdown with the hub's front matter; sections without data are left out."""
    about, axes, intervals = bundle.about, bundle.axes.names, bundle.intervals
    golden = about.get("golden") or {}
    return render_markdown(
        TEMPLATE,
        bundle=bundle,
        front_matter=front_matter(bundle),
        bundle_id=bundle.id,
        about=about,
        training=_training(about.get("training") or {}),
        accuracy=_accuracy(about.get("accuracy") or {}),
        left_out=_left_out(about.get("accuracy") or {}),
        against=_against(about),
        columns=heaviest_columns(bundle),
        clips=intervals.clips,
        own=[f"{d} ({intervals.clips[d]})" for d in intervals.quantiles if d != ALL_DOMAINS],
        typical=[f"{axis} {error:.2f}" for axis, error in zip(axes, intervals.base, strict=True)],
        missing=_missing(intervals),
        coverage=_coverage(intervals),
        flags=FLAGS,
        limits=", ".join(f"{limit:.2f}" for limit in bundle.reference.limits),
        domains=[name or "(one, unnamed)" for name in bundle.reference.domains],
        sensitivity=_sensitivity(about.get("sensitivity")),
        members=_table(
            ("head", "weight", "seed", "run"),
            (
                (head.config.title, weight, head.config.seed, run)
                for (run, head), weight in zip(bundle.heads.items(), bundle.weights, strict=True)
            ),
        ),
        encoders=_table(
            ("encoder", "checkpoint", "weights", "size", "input", "licence of its weights"),
            (
                (s.name, s.checkpoint, s.weights, s.size, f"{s.sample_rate_hz} Hz", licence(s))
                for s in bundle.encoders
            ),
        ),
        golden=golden
        and _table(
            ("waveform", *axes),
            ((name, *(f"{of[axis]:.4f}" for axis in axes)) for name, of in golden.items()),
        ),
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Table:
    return Table("", tuple(columns), tuple(map(tuple, rows)))


def _training(summary: Mapping[str, Any]) -> Table | None:
    if not summary:
        return None
    return _table(
        ("split", "clips", "hours", "domains", "systems", "ratings a score"),
        (
            (
                split,
                of["clips"],
                f"{of['hours']:.2f}",
                ", ".join(f"{name} {count}" for name, count in of["domains"].items()),
                of["systems"] or None,
                str(of["ratings_per_score"] or "-"),
            )
            for split, of in summary["splits"].items()
        ),
    )


def _accuracy(by_split: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table | None:
    """A row per split, level and axis over all domains, a column per metric."""
    figures: dict[tuple[str, str, str], dict[str, Mapping[str, Any]]] = {}
    for split, rows in by_split.items():
        for row in rows:
            if row["domain"] == "all":
                figures.setdefault((split, row["level"], row["axis"]), {})[row["metric"]] = row
    if not figures:
        return None
    # An older bundle may lack a metric that was added since.
    metrics = [name for name in METRICS if all(name in of for of in figures.values())]
    return _table(
        ("split", "level", "axis", *(name.upper() for name in metrics), "highest SRCC", "n"),
        (
            (*place, *(_figure(of[name]) for name in metrics), of["srcc"]["ceiling"], of["srcc"]["n"])
            for place, of in figures.items()
        ),
    )


def _left_out(by_split: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """What the intervals shown are over, "systems or groups"; "" where there are none."""
    rows = [row for rows in by_split.values() for row in rows if row["domain"] == "all"]
    kinds = {row.get("clusters", "system") for row in rows if row["low"] is not None}
    return " or ".join(f"{kind}s" for kind in ("system", "group", "clip") if kind in kinds)


def _against(about: Mapping[str, Any]) -> list[Table]:
    """Published predictors on the same clips, where they had been scored before the bundle was written."""
    baselines = about.get("baselines")
    if not baselines:
        return []
    ours = [Row(**row) for rows in about["accuracy"].values() for row in rows]
    labels = {row.run: f"ensemble {about['rule']}" for row in ours}
    return [
        baseline_table(ours, [Row(**row) for row in rows], name, labels) for name, rows in baselines.items()
    ]


def _figure(row: Mapping[str, Any]) -> str:
    interval = (
        "" if row["low"] is None or row["high"] is None else f" ({row['low']:.3f} to {row['high']:.3f})"
    )
    return shown(row["value"]) + interval


def _missing(intervals: Intervals) -> list[str]:
    """Which intervals cannot be given: "PQ 95%"."""
    return [
        f"{axis} {level:.0%}"
        for level, quantiles in intervals.quantiles[ALL_DOMAINS].items()
        for axis, quantile in zip(intervals.axes, quantiles, strict=True)
        if quantile is None
    ]


def _coverage(intervals: Intervals) -> Table:
    rows = [row for row in intervals.coverage if row.domain == "all"] or intervals.coverage
    return _table(
        ("measured on", "domain", "axis", "promised", "covered", "mean width", "n"),
        (
            (row.on, row.domain, row.axis, f"{row.level:.0%}", f"{row.share:.1%}", f"{row.width:.2f}", row.n)
            for row in rows
        ),
    )


def _sensitivity(card: Mapping[str, Any] | None) -> Table | None:
    if not card:
        return None
    return _table(
        ("change", *card["axes"], "n"),
        (
            (
                row["change"],
                *(f"{row['shift'][a]:+.2f} ({row['size'][a]:.2f})" for a in card["axes"]),
                row["n"],
            )
            for row in card["rows"]
        ),
    )
