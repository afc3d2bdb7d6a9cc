"""The plots of results: functions that take rows, series or records and return a figure.

They compute no metric; axes carry their units.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmmos.heads.metrics import LEVELS, METRICS, system_means
from mmmos.heads.plotting import (
    INK,
    SERIES,
    Figure,
    legend,
    look,
    name_points,
    named,
    panels_of,
    styled,
    whole_ticks,
)
from mmmos.heads.results.baselines import baseline_of
from mmmos.heads.results.evaluation import EVERYWHERE, Row
from mmmos.heads.results.series import Series, standard_error
from mmmos.store.schema import COMPOSITE, Scale

Z95 = 1.96
"""Standard errors to either side of a mean that hold 95 % of a normal distribution."""

LABEL_WIDTH = 40
"""Characters after which a long name goes on in the next line."""

AXIS_WIDTH = 14
"""The same for the names of rated axes under bars."""

MANY_POINTS = 1500
"""Beyond this a cloud of points is drawn as an image, so that a page stays light."""


@styled
def scatter(data: Sequence[Series], scale: Scale) -> Figure:
    """Predicted against rated, a panel an axis, a colour and marker a domain, bars of the raters' error."""
    figure, panels = panels_of(len(data), columns=min(3, len(data)), size=(3.5, 3.4))
    many = many_points(data)
    domains = sorted({clip.domain for one in data for clip in one.clips})
    for panel, one in zip(panels, data, strict=True):
        panel.axline((scale.low, scale.low), slope=1, color=INK, linewidth=0.8, linestyle=":")
        for number, domain in enumerate(domains):
            here = np.array([clip.domain == domain for clip in one.clips], dtype=bool)
            colour, marker = look(number)
            panel.errorbar(
                one.rated[here], one.predicted[here], xerr=None if many else np.nan_to_num(one.error[here]),
                fmt=marker, markersize=2 if many else 4, color=colour, alpha=0.35 if many else 0.75,
                elinewidth=0.6, label=named(domain or "(no domain)"), rasterized=many,
            )  # fmt: skip
        if not many:
            name_points(panel, one.rated, one.predicted, [clip.id for clip in one.clips])
        reach = 0.0 if many else np.nan_to_num(one.error)
        low = min((one.rated - reach).min(), one.predicted.min())
        high = max((one.rated + reach).max(), one.predicted.max())
        margin = 0.04 * max(high - low, 1e-9)
        window = (low - margin, high + margin)
        panel.set(xlim=window, ylim=window, aspect="equal")
        panel.set(
            title=named(one.title), xlabel=f"rated ({_unit(scale)})", ylabel=f"predicted ({_unit(scale)})"
        )
    legend(figure, show=len(domains) > 1, enlarge=2.5 if many_points(data) else 1.0)
    return figure


def many_points(data: Sequence[Series]) -> bool:
    """True where `scatter` draws a cloud without the raters' bars."""
    return any(len(one.clips) > MANY_POINTS for one in data)


@styled
def ranking(one: Series, scale: Scale) -> Figure:
    """Systems by their rated mean: rated and predicted mean, each with a 95 % interval over its clips."""
    known = np.array([bool(clip.system) for clip in one.clips], dtype=bool)
    systems = [clip.system for clip in one.clips if clip.system]
    names, rated = system_means(one.rated[known], systems)
    order = np.argsort(rated, kind="stable")
    figure, (panel,) = panels_of(1, columns=1, size=(6.6, 0.9 + 0.26 * len(names)))
    for number, (label, values) in enumerate(
        (("rated", one.rated[known]), ("predicted", one.predicted[known]))
    ):
        means = system_means(values, systems)[1]
        half = Z95 * np.array([standard_error(values[np.array(systems) == name]) for name in names])
        colour, marker = look(number)
        offset = 0.14 * (1 - 2 * number)
        panel.errorbar(
            means[order], np.arange(len(names)) + offset, xerr=half[order], fmt=marker, color=colour,
            markersize=4.5, elinewidth=1.2, label=label,
        )  # fmt: skip
    panel.set(
        yticks=np.arange(len(names)),
        yticklabels=[named(names[i]) for i in order],
        ylim=(-0.6, len(names) - 0.4),
    )
    name = one.axis if one.axis == COMPOSITE else named(one.title)
    panel.set(xlabel=f"mean {name} of a system ({_unit(scale)})")
    legend(figure)
    return figure


@styled
def bars(rows: Sequence[Row], baselines: Mapping[tuple[str, str, str], float | None], metric: str) -> Figure:
    """One metric of one run, axis by axis, at both levels: value, interval, ceiling and baseline.

    rows: those of one run and split, all domains; baselines: (level, axis, metric) -> the trivial figure.
    """
    rows = [row for row in rows if (row.metric, row.domain) == (metric, EVERYWHERE)]
    levels = [level for level in LEVELS if any(row.level == level for row in rows)]
    width = max(4.6, 0.8 * len({row.axis for row in rows}))
    figure, panels = panels_of(len(levels), columns=2, size=(width, 2.9), sharey=True)
    best = "least possible error" if METRICS[metric].better == "low" else "human ceiling"
    base = baseline_of(metric).label
    for panel, level in zip(panels, levels, strict=True):
        shown = [row for row in rows if row.level == level]
        for place, row in enumerate(shown):
            reach = (place - 0.4, place + 0.4)
            if row.value is not None:
                low, high = (row.value if bound is None else bound for bound in (row.low, row.high))
                panel.bar(place, row.value, width=0.56, color=SERIES[0], label="run")
                panel.vlines(place, low, high, color=INK, linewidth=1.6)
            if row.ceiling is not None:
                panel.hlines(row.ceiling, *reach, SERIES[2], linewidth=2.4, label=best)
            trivial = baselines.get((level, row.axis, metric))
            if trivial is not None:
                panel.hlines(trivial, *reach, SERIES[1], linestyles="dashed", label=base, linewidth=2.4)
        panel.set(xticks=range(len(shown)), title=f"{level} level, n = {shown[0].n}")
        panel.set_xticklabels([textwrap.fill(row.axis, AXIS_WIDTH) for row in shown])
        unit = METRICS[metric].unit
        panel.set(ylabel=metric.upper() + (f" ({unit})" if unit else ""))
        panel.grid(axis="x", visible=False)
        panel.axhline(0, color=INK, linewidth=0.8)
        panel.yaxis.set_tick_params(labelleft=True)
    legend(figure)
    return figure


@styled
def contenders(entries: Sequence[tuple[str, Mapping[str, Row]]]) -> Figure:
    """Ensembles side by side: SRCC by split, with intervals where there are any.

    entries: (name, split -> its row), drawn from top to bottom; all rows are of one axis.
    """
    axis = next((row.axis for _, rows in entries for row in rows.values()), "")
    names = [textwrap.fill(name, LABEL_WIDTH) for name, _ in entries]
    lines = sum(name.count("\n") + 2 for name in names)
    figure, (panel,) = panels_of(1, columns=1, size=(7.2, 0.9 + 0.17 * lines))
    splits = sorted({split for _, rows in entries for split in rows})
    for number, split in enumerate(splits):
        colour, marker = look(number)
        labelled = False
        for place, (_, rows) in enumerate(entries):
            row = rows.get(split)
            if row is None or row.value is None:
                continue
            y = place + 0.2 * (number - (len(splits) - 1) / 2)
            if row.low is not None and row.high is not None:
                panel.hlines(y, row.low, row.high, color=colour, linewidth=1.4)
            label = f"{split}, {row.level} level" if not labelled else None
            panel.plot(
                row.value, y, marker=marker, color=colour, markersize=5.5, linestyle="none", label=label
            )
            labelled = True
    panel.set(yticks=range(len(entries)), yticklabels=names, xlabel=f"{axis} SRCC")
    panel.set(ylim=(len(entries) - 0.4, -0.6))
    legend(figure)
    return figure


@styled
def curves(records: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]]) -> Figure:
    """Loss by epoch, one panel a loss (their units differ), train dashed and dev solid.

    records: loss -> (name, record with "curve" of number, train_loss, dev_loss and "best_epoch").
    """
    names = sorted({name for runs in records.values() for name, _ in runs})
    figure, panels = panels_of(len(records), columns=min(4, len(records)), size=(2.9, 2.7))
    for panel, (loss, runs) in zip(panels, records.items(), strict=True):
        for name, record in runs:
            colour, marker = look(names.index(name))
            epochs = [point["number"] for point in record["curve"]]
            panel.plot(
                epochs,
                [p["train_loss"] for p in record["curve"]],
                color=colour,
                linestyle="--",
                linewidth=0.9,
            )
            dev = [np.nan if p["dev_loss"] is None else p["dev_loss"] for p in record["curve"]]
            panel.plot(epochs, dev, color=colour, linewidth=1.4, label=named(name))
            best = epochs.index(record["best_epoch"]) if record["best_epoch"] in epochs else -1
            panel.plot(epochs[best], dev[best], marker=marker, color=colour, markersize=5)
        panel.set(title=named(loss), xlabel="epoch", ylabel="loss (z-scored targets)")
        whole_ticks(panel)
    legend(figure)
    return figure


@styled
def sweep(
    values: Sequence[tuple[int, float]], first: float | None, objective: str, lower_is_better: bool = False
) -> Figure:
    """Objective by trial, the best so far as steps, the first trial (the paper's values) as a level."""
    figure, (panel,) = panels_of(1, columns=1, size=(6.6, 3.0))
    ordered = sorted(values)
    best = np.minimum if lower_is_better else np.maximum
    trials, scores = [t for t, _ in ordered], [v for _, v in ordered]
    panel.plot(
        trials,
        scores,
        marker="o",
        markersize=3.5,
        linestyle="none",
        color=SERIES[0],
        alpha=0.7,
        label="trial",
    )
    panel.step(
        trials,
        best.accumulate(scores),
        where="post",
        color=SERIES[1],
        linewidth=1.6,
        label="best so far",
    )
    if first is not None:
        panel.axhline(first, color=SERIES[2], linewidth=1.4, linestyle="--", label="the paper's values")
    panel.set(xlabel="trial", ylabel=named(objective))
    legend(figure)
    return figure


@styled
def calibration(data: Sequence[Series], scale: Scale, bins: int = 8) -> Figure:
    """Mean rating of clips that were predicted alike: quantile bins of the prediction, 95 % intervals."""
    figure, panels = panels_of(len(data), columns=min(3, len(data)), size=(3.2, 3.0))
    for panel, one in zip(panels, data, strict=True):
        order = np.argsort(one.predicted, kind="stable")
        parts = [part for part in np.array_split(order, min(bins, max(1, len(order) // 5))) if len(part)]
        x = [one.predicted[part].mean() for part in parts]
        y = [one.rated[part].mean() for part in parts]
        half = [Z95 * standard_error(one.rated[part]) for part in parts]
        panel.axline((x[0], x[0]), slope=1, color=INK, linewidth=0.8, linestyle=":")
        panel.errorbar(x, y, yerr=np.nan_to_num(half), fmt="o-", color=SERIES[0], markersize=4, linewidth=1.2)
        bias = float(np.mean(one.predicted - one.rated))
        panel.set(title=f"{named(one.title)}: bias {bias:+.2f}", xlabel=f"predicted ({_unit(scale)})")
        panel.set(ylabel=f"rated ({_unit(scale)})")
    return figure


def _unit(scale: Scale) -> str:
    return f"points, {scale.low:g}-{scale.high:g}"
