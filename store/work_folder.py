"""Whether what has a name of ours in a work folder is ours: commands that write there ask first."""

from __future__ import annotations

import os
from pathlib import Path

from mmmos.store import folders
from mmmos.store.sealed import KEY

MARKS: dict[str, tuple[str, ...]] = {
    "clips.json": (KEY, '"mmmos-clips-1"'),
    "survey.json": (KEY, '"recipe"'),
    "survey.jsonl": ('"recipe"',),
    "part.json": (KEY,),
    "extract.json": (KEY, '"audio_root"'),
    "ensemble.json": (KEY, '"rule"'),
    "grids.json": (KEY, '"grids"'),
    "recipe.json": (KEY, '"per_axis"'),
    "reproduction.json": (KEY,),
    "checksums.json": (KEY,),
    "sweep.journal": ('"op_code"',),
    "rejects.csv": ("id,path,reason",),
    "evaluation.csv": ("run,split,level,domain,axis,metric",),
    "comparison.csv": ("run,other,split,level,domain,axis,metric",),
    "ensembles.csv": ("run,split,level,domain,axis,metric",),
    "report.html": ("<title>How well",),
}
"""File that commands write in a work folder -> texts of which every one of ours has one near an end."""


def refuse_foreign_work(work: Path | None) -> Path | None:
    """The folder; ValueError where it is a file, or holds somebody else's file under a name of ours."""
    if work is None or not os.path.lexists(work):
        return work
    if not work.is_dir():
        raise ValueError(f"{work} is not a folder: name one with --work")
    for name, marks in MARKS.items():
        folders.refuse_foreign_file(work / name, marks, "file")
    return work
