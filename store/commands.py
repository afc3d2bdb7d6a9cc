"""The commands `store info | verify | gc | merge | export`: looking after stored features."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmmos.store.console import DAMAGED, MISSING, OK, REJECTS, WORK_HELP, say, table

if TYPE_CHECKING:
    from mmmos.store.clips import ClipTable
    from mmmos.store.maintenance import Merged

app = typer.Typer(no_args_is_help=True, help="Look after stored features: info, verify, gc, merge, export.")

Work = Annotated[Path, typer.Option(help=WORK_HELP)]
Clips = Annotated[
    Path | None, typer.Option(help="A surveyed clip table (clips.json); left out: the work folder's, if any.")
]
Only = Annotated[str, typer.Option(help="Only this encoder, or signature; left out: all.")]


@app.command()
def info(work: Work = Path("work"), clips: Clips = None, encoder: Only = "") -> None:
    """What is stored: encoder, signature spelled out, crops, bytes, and what a clip table is missing."""
    from mmmos.store.maintenance import info as describe

    wanted = _table(work, clips)
    for folder in _folders(work, encoder):
        found = describe(folder, wanted)
        rows: list[tuple[str, object]] = [
            ("crops", found.crops),
            ("shards", found.shards),
            ("MB", round(found.bytes / 1e6, 1)),
            ("left-over temporaries", len(found.leftovers)),
        ]
        if found.wanted is not None:
            rows += [("crops of the clip table", found.wanted), ("of them missing", found.missing)]
        rows += list(asdict(found.spec).items())
        rows += [(f"damaged: {name}", reason) for name, reason in found.damaged.items()]
        rows += [("unknown file", name) for name in found.unknown]
        table(str(folder), ("what", "value"), [(what, str(value)) for what, value in rows])


@app.command()
def verify(
    work: Work = Path("work"),
    clips: Clips = None,
    encoder: Only = "",
    read_data: Annotated[
        bool, typer.Option("--read-data", help="Read every crop against its checksum.")
    ] = False,
    subset: Annotated[
        str, typer.Option(metavar="PERCENT", help="Read a random part of the crops, e.g. 5%.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Seed of that part.")] = 0,
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="Read every stored file of the work folder: features, table, runs, sweeps."
        ),
    ] = False,
) -> None:
    """Check names, sizes and structure of every shard, and, where asked, the data itself.

    Exit codes: 0 clean; 5 damaged; 6 crops of the clip table are missing.
    """
    from mmmos.store.maintenance import verify as check

    damaged = _verify_work(work) if everything else 0
    fraction = 1.0 if read_data or everything else _fraction(subset)
    # A damaged table is named above; the stores are checked all the same.
    wanted = None if damaged else _table(work, clips)
    some = not everything or (work / "features").is_dir()
    outcomes = [
        check(folder, fraction=fraction, seed=seed, table=wanted)
        for folder in (_folders(work, encoder) if some else ())
    ]
    table(
        "Checked",
        ("store", "outcome", "shards", "crops", "crops read", "damaged", "stored twice", "missing"),
        [
            (
                found.folder.name,
                found.outcome,
                found.shards,
                found.crops,
                found.crops_read,
                len(found.damaged),
                found.duplicates,
                len(found.missing),
            )
            for found in outcomes
        ],
    )
    for found in outcomes:
        for damage in found.damaged:
            say(f"{found.folder.name}/{damage.shard} {damage.crop or '(whole shard)'}: {damage.reason}")
    if any(found.damaged for found in outcomes):
        say("to mend: `store gc --damaged` removes damaged shards, then `extract` makes their crops again")
    if damaged or any(found.damaged for found in outcomes):
        raise typer.Exit(DAMAGED)
    raise typer.Exit(MISSING if any(found.missing for found in outcomes) else OK)


def _verify_work(work: Path) -> int:
    """Print how many files of each outcome there are, and each damaged one; returns how many of these."""
    from mmmos.store.work_check import DAMAGED as BROKEN
    from mmmos.store.work_check import UNSEALED, check_work

    found = check_work(work)
    kinds = sorted({one.outcome for one in found})
    rows = [(kind, sum(one.outcome == kind for one in found)) for kind in kinds]
    table("Files of the work folder, but for features", ("outcome", "files"), rows)
    for one in found:
        if one.outcome == UNSEALED:
            say(f"{one.path}: {UNSEALED}")
        if one.outcome == BROKEN:
            say(f"damaged: {one.reason if str(one.path) in one.reason else f'{one.path}: {one.reason}'}")
    damaged = sum(one.outcome == BROKEN for one in found)
    if damaged:
        say("to mend: remove the damaged file (of a run: its folder) and run the command that made it again")
    return damaged


@app.command()
def gc(
    work: Work = Path("work"),
    encoder: Only = "",
    min_age_s: Annotated[float, typer.Option(min=0, help="Leave what was written to more recently.")] = 3600,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Also remove shards that a full verify finds damaged.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Remove temporary files of dead writers; a file that a process holds, or that is young, stays."""
    from mmmos.store.maintenance import gc as collect
    from mmmos.store.work_check import gc_work

    done = {
        folder.name: collect(folder, min_age_s=min_age_s, damaged=damaged, dry_run=dry_run)
        for folder in (_folders(work, encoder) if encoder or (work / "features").is_dir() else ())
    }
    if not encoder:
        done["elsewhere in the work folder"] = gc_work(work, min_age_s=min_age_s, dry_run=dry_run)
    for name, found in done.items():
        for path in found.removed:
            say(f"{'would remove' if dry_run else 'removed'} {path}")
        for path, reason in found.kept.items():
            say(f"left {path}: {reason}")
        say(f"{name}: {len(found.removed)} files, {found.bytes / 1e6:.1f} MB")


@app.command()
def merge(
    source: Annotated[
        Path,
        typer.Argument(help="The folder of one store, of several, or of the parts of an extraction."),
    ],
    work: Work = Path("work"),
) -> None:
    """Take in features that were extracted elsewhere; only those of the same signature fit.

    All parts of one clip table (`extract --part`) become the work folder that one run would have made.
    """
    from mmmos.store.maintenance import merge as take_in
    from mmmos.store.part_work import part_folders
    from mmmos.store.specs import SPEC_FILE, store_folders

    if not source.is_dir():
        raise FileNotFoundError(f"{source} is not a folder")
    if part_folders(source):
        _merge_parts(source, work)
        return
    folders = [source] if (source / SPEC_FILE).exists() else store_folders(source)
    if not folders:
        raise FileNotFoundError(f"no store in {source}: a store is a folder with {SPEC_FILE} and shards")
    damaged = sum([_say_merged(take_in(folder, work / "features")) for folder in folders])
    raise typer.Exit(DAMAGED if damaged else OK)


def _say_merged(found: Merged) -> int:
    """How many crops were damaged."""
    say(f"{found.spec.id}: {found.added} crops added, {found.present} were there")
    for damage in found.damaged:
        say(f"not taken: {damage.shard} {damage.crop or '(whole shard)'}: {damage.reason}")
    return len(found.damaged)


def _merge_parts(source: Path, work: Path) -> None:
    from mmmos.store.part_work import merge_parts
    from mmmos.store.splits import shared_audio

    done = merge_parts(source, work)
    damaged = sum([_say_merged(found) for found in done.stores])
    if done.table is None:
        say(
            f"{damaged} crops or shards are damaged, so no clip table was written: "
            "`store gc --damaged --work PART`, run that part again, and merge then"
        )
        raise typer.Exit(DAMAGED)
    for warning in shared_audio(done.table):
        say(f"warning: {warning}")
    if done.twice:
        say(f"{done.twice} clips stand in the clip table twice, the same each time: each was taken once")
    say(f"{work / 'clips.json'}: {len(done.table)} clips, {done.rejects} could not be read")
    raise typer.Exit(REJECTS if done.rejects else OK)


@app.command()
def export(
    npz: Annotated[Path, typer.Option(help="Folder for the .npz files, one per encoder.")],
    work: Work = Path("work"),
    clips: Clips = None,
    encoder: Only = "",
    frames: Annotated[
        bool, typer.Option("--frames", help="The frames too, not the layer means alone.")
    ] = False,
) -> None:
    """Write the features of a clip table as .npz, for use outside of this project."""
    from mmmos.store import folders
    from mmmos.store.export import export as write
    from mmmos.store.features import FeatureStore

    wanted = _table(work, clips)
    if wanted is None:
        raise FileNotFoundError(f"{work / 'clips.json'} is not there: name a surveyed clip table by --clips")
    stores = _folders(work, encoder)
    for folder in stores:
        folders.refuse_foreign_file(npz / f"{folder.name}.npz", ["spec.npy"], "export of features")
    for folder in stores:
        done = write(FeatureStore.open(folder), wanted, npz / f"{folder.name}.npz", frames=frames)
        say(f"{done.path}: {done.clips} clips, {done.crops} crops, {done.bytes / 1e6:.1f} MB")


def _folders(work: Path, encoder: str) -> list[Path]:
    """The stores of a work folder, those of one encoder where it is named."""
    from mmmos.store.names import choose
    from mmmos.store.specs import store_folders

    found = store_folders(work / "features")
    if not found:
        raise FileNotFoundError(f"no features in {work / 'features'}: run `pipeline.py extract` first")
    if not encoder:
        return found
    names = {folder.name: folder.name.rpartition("-")[0] for folder in found}
    choose("encoder", encoder, {*names, *names.values()})
    return [folder for folder in found if encoder in (folder.name, names[folder.name])]


def _table(work: Path, clips: Path | None) -> ClipTable | None:
    from mmmos.store.clips import load_table

    path = clips or work / "clips.json"
    return load_table(path) if clips is not None or path.exists() else None


def _fraction(text: str) -> float:
    """ "5%" -> 0.05; "" -> 0."""
    try:
        percent = float(text.removesuffix("%") or 0)
    except ValueError:
        percent = -1.0
    if not 0.0 <= percent <= 100.0:
        raise ValueError(f"--subset takes a percentage, as in 5%, not {text!r}")
    return percent / 100.0
