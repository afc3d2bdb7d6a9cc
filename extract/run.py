"""A whole extraction: survey the audio, encode what is missing, keep the table of what could be read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import astuple, replace
from pathlib import Path

from mmmos.extract.cluster import Machines, extract_on, machines, survey_on
from mmmos.extract.compute import AUTO, Compute
from mmmos.extract.content import OLD_DIGITS
from mmmos.extract.demo_corpus import CAVEAT
from mmmos.extract.extraction import ExtractionSummary, extract
from mmmos.extract.request import ExtractRequest, load_encoders
from mmmos.extract.survey import CoverageError, Reject, check_coverage, survey, write_rejects
from mmmos.extract.survey_cache import CACHE
from mmmos.store import noted
from mmmos.store.axes import axes_beside, parse_axes, parse_scale
from mmmos.store.clips import ClipTable, check_size, read_clips, save_table
from mmmos.store.console import COVERAGE, OK, REJECTS, say, table
from mmmos.store.features import list_stores
from mmmos.store.part_work import PartRecord
from mmmos.store.parts import Part, table_digest
from mmmos.store.schema import AES_AXES, EncoderSpec
from mmmos.store.specs import near_misses, stored_specs
from mmmos.store.splits import shared_audio


def run(request: ExtractRequest, work: Path, compute: Compute = AUTO, cluster: str = "") -> int:
    """Carry out a request in a work folder and print what came out.

    Parameters
    ----------
    work : Path
        Gets features/, clips.json, rejects.csv, survey.jsonl and extract.json, for a part also part.json.
    cluster : str
        "local:N" or a Dask scheduler's address; `compute` then holds for each worker.

    Returns
    -------
    int
        An exit code of `store.console`: OK, REJECTS or COVERAGE.
    """
    with machines(cluster, compute) if cluster else nullcontext() as there:
        return _run(request, work, compute, there)


def _run(request: ExtractRequest, work: Path, compute: Compute, there: Machines | None) -> int:
    features = work / "features"
    written = written_table(request)
    check_size(written)
    # The workers of a cluster build their own encoders; here they are then built for their specs alone.
    encoders = load_encoders(request, compute, stored=stored_specs(features), specs_only=there is not None)
    specs = tuple(encoder.spec for encoder in encoders)
    for line in (line for spec in specs for line in near_misses(features, spec)):
        say(f"features stored before do not fit, so these are made anew: {line}")
    request.remember(work)
    surveyed, rejects = survey(
        written,
        request.audio_root,
        work / CACHE,
        compute.workers,
        stored={
            crop_id.rpartition("-")[0] for store in list_stores(features) for crop_id in store.crop_ids()
        },
        surveyor=None if there is None else survey_on(there),
    )
    if kept_ids := sum(len(clip.audio) == OLD_DIGITS for clip in surveyed):
        say(f"{kept_ids} clips keep the content ids of an earlier version: their features are stored by them")
    for warning in shared_audio(surveyed.clips):
        say(f"warning: {warning}")
    try:
        check_coverage(len(written), rejects, request.min_coverage)
        if there is not None:
            del encoders
            done = extract_on(there, surveyed, request, features, specs)
        else:
            done = extract(surveyed, request.audio_root, encoders, features, compute)
        rejects = [*rejects, *done.rejects]
        check_coverage(len(written), rejects, request.min_coverage)
    except CoverageError as error:
        say(f"stopped: {error}. All reasons: {work / 'rejects.csv'}")
        return COVERAGE
    finally:
        with noted.noting(work, "rejects.csv"):
            write_rejects(work / "rejects.csv", rejects)
    kept = _keep(request, work, written, surveyed, rejects)
    _show(kept, specs, done, features)
    if rejects:
        say(f"{len(rejects)} of {len(written)} clips could not be read; reasons in {work / 'rejects.csv'}")
    return REJECTS if rejects else OK


def _keep(
    request: ExtractRequest, work: Path, written: ClipTable, surveyed: ClipTable, rejects: Sequence[Reject]
) -> ClipTable:
    """Write the table of what could be read and, for a part, what it is a part of; returns the table."""
    reasons = {reject.id: astuple(reject) for reject in rejects}
    kept = replace(surveyed, clips=tuple(clip for clip in surveyed if clip.id not in reasons))
    save_table(kept, work / "clips.json")
    if request.part:
        lost = [(row, *reasons[clip.id]) for row, clip in enumerate(written) if clip.id in reasons]
        digest = table_digest(request.clips)
        PartRecord(request.part, digest, request.kept(), len(written), lost, kept.id).save(work)
    return kept


def written_table(request: ExtractRequest) -> ClipTable:
    """The clip table of a request as its file says, before any audio is looked at."""
    axes = parse_axes(request.axes) if request.axes else axes_beside(request.clips) or AES_AXES
    written = read_clips(
        request.clips,
        audio_root=request.audio_root,
        scale=parse_scale(request.scale, axes),
        axes=axes,
        train_fraction=request.split,
        seed=request.seed,
        part=Part.parse(request.part),
    )
    made_up = [CAVEAT] if any(clip.source == CAVEAT for clip in written) else []
    return replace(written, caveats=tuple(dict.fromkeys([*request.caveats, *made_up])))


def _show(kept: ClipTable, specs: Sequence[EncoderSpec], done: ExtractionSummary, features: Path) -> None:
    table(
        f"Features of {len(kept)} clips, {done.crops} crops, in {features}",
        ("encoder", "signature", "newly encoded", "frames", "layers", "weights"),
        (
            (s.name, s.id, done.encoded[s.name], f"{s.frames} x {s.frame_dim}", s.layers, s.weights[:20])
            for s in specs
        ),
        (*kept.caveats, *(f"untrained {spec.name}" for spec in specs if spec.is_random)),
    )
