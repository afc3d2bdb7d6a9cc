"""The command `compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmmos.heads.scoring.opening import BundleOption, open_scorer, reporting
from mmmos.store.console import OK, REJECTS, WORSE, Batch, Device, Weights, Work, Workers, say, table

if TYPE_CHECKING:
    from mmmos.heads.scoring.requests import AudioRequest
    from mmmos.heads.scoring.scorer import Scorer


def compare(
    a: Annotated[str, typer.Argument(help="Folder, pattern or list of the audio as it was.")],
    b: Annotated[str, typer.Argument(help="The same of what it is compared with.")],
    bundle: BundleOption = "",
    work: Work = Path("work"),
    pairing: Annotated[
        str, typer.Option(help="auto, paired (by name below the folder) or unpaired.")
    ] = "auto",
    margin: Annotated[float, typer.Option(min=0, help="Points of the scale that do not matter.")] = 0.0,
    groups: Annotated[
        str,
        typer.Option(
            help="Regular expression that finds the speaker or text in a file's name (in brackets, or all of "
            "it): files that share it are left out together.  Lists may have a column `group` instead."
        ),
    ] = "",
    weights: Weights = None,
    device: Device = "auto",
    batch: Batch = None,
    workers: Workers = None,
) -> None:
    """Is B better or worse than A?  Exit code 7 where it is worse on some axis, for use in checks."""
    from mmmos.heads.scoring.ab import TOO_FEW, check_options, compare_scores, groups_by_pattern, namesakes
    from mmmos.heads.scoring.requests import list_requests

    check_options(pairing, margin)
    requests_a, requests_b = list_requests([a]), list_requests([b])
    ids_a, ids_b = ([request.id for request in requests] for requests in (requests_a, requests_b))
    named_a, named_b = (
        dict(zip(ids, names, strict=True))
        for ids, names in zip((ids_a, ids_b), namesakes((ids_a, a), (ids_b, b)), strict=True)
    )
    of_a, of_b = (
        groups_by_pattern(groups, named.values()) if groups else {named[r.id]: r.group for r in requests}
        for named, requests in ((named_a, requests_a), (named_b, requests_b))
    )
    scorer = open_scorer(bundle, work, weights=weights, device=device, batch=batch, workers=workers)
    scores_a, unread_a = _scores(scorer, requests_a, named_a)
    scores_b, unread_b = _scores(scorer, requests_b, named_b)
    outcome = compare_scores(
        scores_a, scores_b, scorer.axes, pairing=pairing, margin=margin, groups=(of_a, of_b)
    )
    table(
        f"B - A, {'paired' if outcome.paired else 'unpaired'}, margin {margin:g}",
        ("axis", "A", "B", "B - A", "low", "high", "detectable", "n A", "n B", "verdict"),
        [
            (d.axis, d.mean_a, d.mean_b, d.difference, d.low, d.high, d.detectable, d.n_a, d.n_b, d.verdict)
            for d in outcome.differences
        ],
        scorer.caveats,
    )
    say("low, high: 95 % for all rows together; detectable: the smallest true difference that would show")
    if any(row.verdict == TOO_FEW for row in outcome.differences):
        say(
            f"{TOO_FEW}: no interval is sure where few files stand against many and some are far off: "
            "compare the same content on both sides (paired), or equally many files"
        )
    first = outcome.differences[0]
    if (first.groups_a, first.groups_b) != (first.n_a, first.n_b):
        say(f"files of one group were left out together: {first.groups_a} groups in A, {first.groups_b} in B")
    if outcome.left_out:
        say(f"{len(outcome.left_out)} files without a namesake were left out, first {outcome.left_out[0]}")
    raise typer.Exit(WORSE if outcome.worse else REJECTS if unread_a or unread_b else OK)


def _scores(
    scorer: Scorer, requests: Sequence[AudioRequest], named: Mapping[str, str]
) -> tuple[dict[str, dict[str, float]], int]:
    """Name -> axis -> score of what can be read, and how much cannot; named: id -> name."""
    scores, errors = {}, 0
    for answer in reporting(scorer.stream(requests), len(requests)):
        if "error" in answer:
            say(f"{answer['path']}: {answer['error']}")
            errors += 1
        else:
            scores[named[answer["id"]]] = {axis: answer[axis] for axis in scorer.axes}
    return scores, errors
