"""The command `compare`."""

from __future__ import annotations

from collections.abc import Sequence
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
    weights: Weights = None,
    device: Device = "auto",
    batch: Batch = None,
    workers: Workers = None,
) -> None:
    """Is B better or worse than A?  Exit code 7 where it is worse on some axis, for use in checks."""
    from mmmos.heads.scoring.ab import check_options, compare_scores, namesakes
    from mmmos.heads.scoring.requests import list_requests

    check_options(pairing, margin)
    requests_a, requests_b = list_requests([a]), list_requests([b])
    scorer = open_scorer(bundle, work, weights=weights, device=device, batch=batch, workers=workers)
    answers_a, unread_a = _answers(scorer, requests_a)
    answers_b, unread_b = _answers(scorer, requests_b)
    names_a, names_b = namesakes((answers_a, a), (answers_b, b))
    scores_a = dict(zip(names_a, answers_a.values(), strict=True))
    scores_b = dict(zip(names_b, answers_b.values(), strict=True))
    outcome = compare_scores(scores_a, scores_b, scorer.axes, pairing=pairing, margin=margin)
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
    if outcome.left_out:
        say(f"{len(outcome.left_out)} files without a namesake were left out, first {outcome.left_out[0]}")
    raise typer.Exit(WORSE if outcome.worse else REJECTS if unread_a or unread_b else OK)


def _answers(scorer: Scorer, requests: Sequence[AudioRequest]) -> tuple[dict[str, dict[str, float]], int]:
    """Id -> axis -> score of what can be read, and how much cannot."""
    scores, errors = {}, 0
    for answer in reporting(scorer.stream(requests), len(requests)):
        if "error" in answer:
            say(f"{answer['path']}: {answer['error']}")
            errors += 1
        else:
            scores[answer["id"]] = {axis: answer[axis] for axis in scorer.axes}
    return scores, errors
