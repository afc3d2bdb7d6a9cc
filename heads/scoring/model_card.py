"""A bundle's README.md, in the form that the Hugging Face hub reads: what it does, how well, where not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mmmos.heads.metrics import METRICS
from mmmos.heads.scoring.answers import FLAGS
from mmmos.heads.scoring.intervals import ALL_DOMAINS, Coverage
from mmmos.store.schema import EncoderSpec

if TYPE_CHECKING:
    from mmmos.heads.scoring.bundle import Bundle

LICENCES = {
    "wavlm": "as its model card says (https://huggingface.co/microsoft/wavlm-base-plus)",
    "muq": "CC BY-NC 4.0 (https://huggingface.co/OpenMuQ/MuQ-large-msd-iter): not for commercial use",
    "muq16k": "CC BY-NC 4.0 (https://huggingface.co/OpenMuQ/MuQ-large-msd-iter): not for commercial use",
    "m2d": "NTT's own licence, in https://github.com/nttcslab/m2d",
    "logmel": "no weights",
}
"""Of the encoders' pretrained weights, as their publishers state them; they are not part of a bundle."""

UNKNOWN_LICENCE = "see its publisher"


def licence(spec: EncoderSpec) -> str:
    if spec.is_random:
        return "untrained weights, no licence"
    return LICENCES.get(spec.name, UNKNOWN_LICENCE)


def model_card(bundle: Bundle) -> str:
    """The card as Markdown with the hub's front matter."""
    about = bundle.about
    parts = [
        _front_matter(bundle),
        f"# {bundle.id}",
        _warning(bundle.caveats),
        _what(bundle),
        "## Use\n\n```python\nfrom mmmos import load_bundle\n\n"
        'scorer = load_bundle("path/to/this/folder")\n'
        "scorer(waveform, sample_rate)  # floats [n] or [channels, n]\n"
        'scorer.files(["a.wav", "folder"])\n```\n\n'
        "`mmmos predict FILES... --bundle path/to/this/folder` does the same from a shell.",
        _training(about.get("training") or {}),
        _accuracy(about.get("accuracy") or {}, bundle.caveats),
        _intervals(bundle),
        _flags(bundle),
        _sensitivity(about.get("sensitivity")),
        _members(bundle),
        _encoders(bundle.encoders),
        _golden(about.get("golden") or {}, bundle.axes.names),
        "## Limits\n\n"
        "- Scores are predictions of what a listening panel like the training data's would have said, not of "
        "what is good.\n"
        "- Encoders that work at 16 kHz (WavLM, M2D) cannot hear what lies above 8 kHz.\n"
        "- The intervals hold for audio like the clips they rest on; what is flagged `out_of_domain` has no "
        "such promise.\n"
        "- A score changes with level and format to the extent that the sensitivity table shows.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(bundle: Bundle) -> str:
    untrained = any(spec.is_random for spec in bundle.encoders)
    tags = ["audio", "audio-quality", "mos-prediction", "no-reference"] + ["untrained-encoders"] * untrained
    lines = ["library_name: mmmos", "pipeline_tag: audio-classification", "license: apache-2.0", "tags:"]
    return "\n".join(["---", *lines, *(f"- {tag}" for tag in tags), "---"])


def _warning(caveats: Sequence[str]) -> str:
    if not caveats:
        return ""
    points = "\n".join(f"> - {caveat}" for caveat in caveats)
    return f"> **These scores say nothing about real audio, or only so far as this allows:**\n{points}"


def _what(bundle: Bundle) -> str:
    axes = "\n".join(f"- **{axis}**: {bundle.axes.title(axis)}" for axis in bundle.axes)
    scale = bundle.scale
    return (
        f"Predicts, without a reference, on a scale from {scale.low:g} to {scale.high:g}:\n\n{axes}\n\n"
        f"An ensemble of {len(bundle.heads)} heads (rule `{bundle.about.get('rule', '?')}`) on "
        f"{len(bundle.encoders)} frozen encoders, after MMMOS (arXiv 2507.04094)."
    )


def _training(summary: dict[str, Any]) -> str:
    if not summary:
        return ""
    rows = [
        (
            split,
            of["clips"],
            f"{of['hours']:.2f}",
            ", ".join(f"{name} {count}" for name, count in of["domains"].items()),
            of["systems"] or "-",
            of["ratings_per_score"] or "-",
        )
        for split, of in summary["splits"].items()
    ]
    head = ("split", "clips", "hours", "domains", "systems", "ratings a score")
    return f"## Training data\n\nClip table `{summary['data']}`.\n\n{table(head, rows)}"


def _accuracy(by_split: dict[str, list[dict[str, Any]]], caveats: Sequence[str]) -> str:
    if not any(by_split.values()):
        return ""
    figures: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    for split, of in by_split.items():
        for row in of:
            if row["domain"] == "all":
                figures.setdefault((split, row["level"], row["axis"]), {})[row["metric"]] = row
    rows = [
        (*place, *(_figure(row["value"], row["low"], row["high"]) for row in (of[m] for m in METRICS)),
         _number(of["srcc"]["ceiling"]), of["srcc"]["n"])
        for place, of in figures.items()
    ]  # fmt: skip
    head = ("split", "level", "axis", *(metric.upper() for metric in METRICS), "highest SRCC", "n")
    note = f" ({', '.join(caveats)})" if caveats else ""
    return (
        f"## Accuracy{note}\n\nIn brackets: 95 % bootstrap interval over whole systems. Highest SRCC: what "
        "the noise of the ratings lets the best possible predictor reach. Figures for every domain are in "
        "bundle.json. Dev and PAM took part in choosing the ensemble.\n\n" + table(head, rows)
    )


def _intervals(bundle: Bundle) -> str:
    intervals = bundle.intervals
    own = [domain for domain in intervals.quantiles if domain != ALL_DOMAINS]
    resting = f"{intervals.clips[ALL_DOMAINS]} clips ({intervals.source}); " + (
        f"quantiles of their own: {', '.join(f'{d} ({intervals.clips[d]})' for d in own)}"
        if own
        else "too few in any domain for quantiles of its own"
    )
    rows = [
        (row.on, row.domain, row.axis, f"{row.level:.0%}", f"{row.share:.1%}", f"{row.width:.2f}", row.n)
        for row in _shown(intervals.coverage)
    ]
    head = ("measured on", "domain", "axis", "promised", "covered", "mean width", "n")
    base = ", ".join(
        f"{axis} {value:.2f}" for axis, value in zip(intervals.axes, intervals.base, strict=True)
    )
    return (
        "## Intervals\n\nSplit-conformal, by domain: where the mean rating of a panel like the training "
        f"data's would lie, for audio like theirs. They rest on {resting}. Typical error beside the members' "
        f"disagreement: {base}. Clips of the same system resemble each other, so for a new system the "
        f"coverage can be lower. Widths are those before an interval is cut to the scale. {_missing(bundle)}"
        f"\n\n{table(head, rows)}"
    )


def _missing(bundle: Bundle) -> str:
    """Which intervals cannot be given, if any."""
    common = bundle.intervals.quantiles[ALL_DOMAINS]
    absent = [
        f"{axis} {level:.0%}"
        for level, of in common.items()
        for axis, quantile in zip(bundle.axes, of, strict=True)
        if quantile is None
    ]
    return f"Not to be had from so few rated clips, and left empty: {', '.join(absent)}." if absent else ""


def _shown(coverage: Sequence[Coverage]) -> list[Coverage]:
    return [row for row in coverage if row.domain == "all"] or list(coverage)


def _flags(bundle: Bundle) -> str:
    rules = "\n".join(f"- `{name}`: {rule}" for name, rule in FLAGS.items())
    reference = bundle.reference
    domains = ", ".join(name or "(one, unnamed)" for name in reference.domains)
    return (
        f"## Flags\n\n{rules}\n\nDomains known: {domains}. A clip is out of domain beyond a distance of "
        f"{reference.limit:.2f} (1 is typical of training clips), the 99 % quantile of {reference.clips} "
        "held-out clips."
    )


def _sensitivity(card: dict[str, Any] | None) -> str:
    if not card:
        return ""
    axes = list(card["axes"])
    rows = [
        (row["change"], *(f"{row['shift'][a]:+.2f} ({row['size'][a]:.2f})" for a in axes), row["n"])
        for row in card["rows"]
    ]
    return (
        f"## Sensitivity\n\nWhat harmless changes do to the scores of {card['files']} files: mean shift "
        f"(mean absolute shift).\n\n{table(('change', *axes, 'n'), rows)}\n\n![Sensitivity](sensitivity.svg)"
    )


def _members(bundle: Bundle) -> str:
    rows = [
        (head.config.title, f"{weight:.3f}", head.config.seed, run)
        for (run, head), weight in zip(bundle.heads.items(), bundle.weights, strict=True)
    ]
    return f"## Members\n\n{table(('head', 'weight', 'seed', 'run'), rows)}"


def _encoders(specs: Sequence[EncoderSpec]) -> str:
    rows = [
        (spec.name, spec.checkpoint, spec.weights, spec.size, f"{spec.sample_rate_hz} Hz", licence(spec))
        for spec in specs
    ]
    head = ("encoder", "checkpoint", "weights", "size", "input", "licence of its weights")
    return f"## Encoders\n\nNot part of this folder; scoring loads them.\n\n{table(head, rows)}"


def _golden(scores: dict[str, dict[str, float]], axes: Sequence[str]) -> str:
    if not scores:
        return ""
    rows = [(name, *(f"{of[axis]:.4f}" for axis in axes)) for name, of in scores.items()]
    return (
        "## Golden scores\n\nOf three made-up waveforms; `predict --check` compares an installation with "
        f"them.\n\n{table(('waveform', *axes), rows)}"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines)


def _figure(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else "")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
