"""The commands `prepare labels | aes`: from public label files and the owner's corpora to a clip table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmmos.extract.corpora.table_command import refuse_existing, table_command
from mmmos.store.console import MISSING, OK, say, table

app = typer.Typer(no_args_is_help=True, help="Make a clip table from ratings, yours or public.")


@app.command()
def labels(
    folder: Annotated[Path, typer.Argument(help="Where the label files are, or are to be put.")] = Path(
        "labels"
    ),
    download: Annotated[
        bool, typer.Option("--download", help="Fetch what is missing, checked by sha256.")
    ] = False,
) -> None:
    """The label files of AES and AudioMOS 2025: which are here and whole. Exit code 6 if some are not."""
    from mmmos.extract.corpora.downloads import BASES, LABELS, fetch_labels, missing_labels

    if download:
        done = fetch_labels(folder, LABELS, BASES)
        say(f"{len(done.fetched)} fetched, {len(done.present)} were there: {folder}")
        raise typer.Exit(OK)
    missing = missing_labels(folder, LABELS)
    table(
        f"Label files in {folder}",
        ("file", "state", "sha256"),
        [(Path(path).name, missing.get(path, "whole"), sha256) for path, sha256 in LABELS.items()],
    )
    raise typer.Exit(MISSING if missing else OK)


@app.command()
def aes(
    audio_root: Annotated[
        Path, typer.Option(help="Folder with the corpora: EARS, LibriTTS, MUSDB18, PAM, ...")
    ],
    label_folder: Annotated[Path, typer.Option("--labels", help="Folder with the label files.")] = Path(
        "labels"
    ),
    output: Annotated[Path, typer.Option("--output", "-o", help="The clip table to write.")] = Path(
        "clips.csv"
    ),
    split: Annotated[
        str, typer.Option(help="paper (it leaks), or grouped by prompt, track, speaker.")
    ] = "paper",
    corpus: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FOLDER", help="Where a corpus lies below the root instead."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    download: Annotated[
        bool, typer.Option("--download", help="First fetch the label files that are missing (CC BY 4.0).")
    ] = False,
) -> None:
    """Write a clip table of AES-natural, AES-PAM and the AudioMOS test set with all ten ratings a clip.

    Clips whose audio is missing, unreadable or silent are left out; OUTPUT-findings.csv lists them and what
    else there is to know (too short, duplicated, shared between splits).
    """
    from collections import Counter

    from mmmos.extract.corpora.downloads import BASES, LABELS, fetch_labels
    from mmmos.extract.corpora.prepare import prepare_aes

    renamed = dict(_pair(text) for text in corpus or ())
    refuse_existing(output)
    if download:
        fetched = fetch_labels(label_folder, LABELS, BASES).fetched
        say(f"{len(fetched)} label files fetched (CC BY 4.0): {label_folder}")
    done = prepare_aes(label_folder, audio_root, output, split=split, corpora=renamed, seed=seed)
    if not len(done.table):
        raise ValueError(
            f"no audio of the {done.labelled} labelled clips was found below {audio_root}, not even "
            f"{done.findings[0].path}; {done.findings_path} names them all, and {output} is not written. "
            "Name the folder with all corpora, and with --corpus NAME=FOLDER what they are called there"
        )
    kinds = Counter(finding.kind for finding in done.findings)
    splits = Counter(clip.split for clip in done.table)
    table(
        f"{len(done.table)} of {done.labelled} labelled clips in {done.output}",
        ("what", "clips"),
        [*((f"split {name}", splits[name]) for name in sorted(splits)), *sorted(kinds.items())],
    )
    say(f"one row per finding: {done.findings_path}")


def _pair(text: str) -> tuple[str, str]:
    name, sign, folder = text.partition("=")
    if not (name and sign and folder):
        raise ValueError(f"--corpus takes NAME=FOLDER, as in PAM=sets/pam, not {text!r}")
    return name, folder


app.command("table")(table_command)


def _add_set(name: str) -> None:
    from mmmos.extract.corpora.public_sets import SETS

    def prepare(
        folder: Annotated[Path, typer.Argument(help="Where the set is, or is to be put.")] = Path(name),
        output: Annotated[Path, typer.Option("--output", "-o", help="The clip table to write.")] = Path(
            f"{name}.csv"
        ),
        accept_licence: Annotated[
            bool, typer.Option("--accept-licence", help="Fetch what is missing, under the set's licence.")
        ] = False,
        no_download: Annotated[
            bool, typer.Option("--no-download", help="Take what lies in the folder.")
        ] = False,
    ) -> None:
        from mmmos.extract.corpora.public_sets import fetch
        from mmmos.extract.corpora.set_tables import READERS
        from mmmos.extract.corpora.table_command import keep, scale_text, tell

        refuse_existing(output)
        if not no_download:
            fetch(name, folder, accepted=accept_licence)
        reading = READERS[name](folder)
        tell(reading, folder)
        keep(reading, output)
        if reading.missing:
            first = reading.missing[0]
            say(f"{len(reading.missing)} clips have no audio and are left out, the first {first!r}")
        say(
            f"{len(reading.table)} clips with single ratings: {output}. Go on: mmmos train {output} --audio "
            f"{reading.audio_root} --scale={scale_text(reading)}"
        )

    prepare.__doc__ = f"{SETS[name].title}. Licence: {SETS[name].licence}."
    app.command(name)(prepare)


for _name in ("audioeval", "songeval", "pam"):
    _add_set(_name)
