"""The command line of MMMOS: one verb is one call of a layer.

    python pipeline.py extract --clips clips.csv --audio-root DIR
    python pipeline.py heads --sweep
    python pipeline.py ensemble
    python pipeline.py predict FILES...

Each verb lives in its layer, in a file named ...commands.py, and loads what it needs when it is called.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mmmos.store.stopping import stop_at_once, stoppable

if __name__ == "__main__" or Path(sys.argv[0]).stem == "mmmos":
    stop_at_once()

from typing import Annotated, Any

import typer

from mmmos import __version__
from mmmos.extract import commands as extract_commands
from mmmos.extract import weights_commands
from mmmos.extract.compute import Compute
from mmmos.extract.corpora import commands as corpora_commands
from mmmos.extract.request import ExtractRequest
from mmmos.heads import commands as heads_commands
from mmmos.heads import stage_two
from mmmos.heads.results import commands as results_commands
from mmmos.heads.scoring import ab_commands, audiobox_commands, calibration_commands, predict_commands
from mmmos.heads.scoring import commands as scoring_commands
from mmmos.heads.scoring.opening import open_scorer
from mmmos.reproduce import commands as reproduce_commands
from mmmos.store import commands as store_commands
from mmmos.store.console import REFUSED, say, table
from mmmos.store.work_folder import refuse_foreign_work
from mmmos.train import commands as train_commands

app = typer.Typer(
    help="Four scores for audio, as people hear it: train such predictors on ratings, and score files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mmmos {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """What can be said before any verb."""


app.command()(train_commands.train)
app.add_typer(corpora_commands.app, name="prepare")
app.command()(weights_commands.weights)
app.command()(extract_commands.extract)
app.command()(heads_commands.heads)
app.command()(results_commands.ensemble_command(scoring_commands.export, scoring_commands.refuse_other))
app.command()(results_commands.evaluate)
app.command()(results_commands.report)
app.command()(reproduce_commands.reproduce)
app.command()(predict_commands.predict)
app.command()(ab_commands.compare)
app.command()(calibration_commands.calibrate)
app.command()(scoring_commands.adopt)
app.command()(scoring_commands.sensitivity)
app.command()(scoring_commands.serve)
app.command()(scoring_commands.push)
app.command("audio-aes")(audiobox_commands.audio_aes)
app.add_typer(store_commands.app, name="store")
results_commands.PREDICT["audiobox"] = audiobox_commands.predict_baseline

DEMO_ENCODERS = "wavlm,muq,m2d,logmel"
DEMO_VALUES: dict[str, Any] = {"learning_rate": 1e-3, "epochs": 25, "patience": 6}
"""The paper's ten epochs at 1e-4 are for 3,500 clips; the demonstration trains on 88."""


MOST_LETTERS = 20_000
"""Of an error's message: it may quote what somebody wrote into a file."""

FIRST_DAY = """\
now the real thing (`source .venv/bin/activate` first, or write .venv/bin/python for python):
  python pipeline.py weights --encoders aes
  python pipeline.py predict YOUR.wav -o scores.csv"""
"""What the demonstration ends with: audio of one's own, scored with published weights."""


@app.command()
def demo(
    work: Annotated[Path, typer.Option(help="Folder of the demonstration.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of the corpus and of the untrained encoders.")] = 0,
) -> None:
    """The whole way on a made-up corpus with tiny untrained encoders: it shows that everything works."""
    from mmmos.extract.demo_corpus import CAVEAT, synthesise
    from mmmos.extract.run import run
    from mmmos.store.clips import load_table

    refuse_foreign_work(work)
    there = sorted(path.name for path in work.iterdir()) if work.is_dir() else []
    if there and not (work / "corpus").is_dir():
        raise ValueError(
            f"{work} holds {', '.join(there[:5])}, which no demonstration made: name a new folder"
        )
    say("1/5 synthesising a corpus")
    clips = synthesise(work / "corpus", seed)
    say("2/5 extracting features")
    request = ExtractRequest(
        clips,
        clips.parent,
        encoders=DEMO_ENCODERS,
        random_weights=seed,
        size="tiny",
        scale="1,10",
        caveats=(CAVEAT,),
    )
    run(request, work, Compute("cpu"))
    say("3/5 training the sixteen configurations")
    stage_two.train(stage_two.configs_of(work, "paper", **DEMO_VALUES), work)
    say("4/5 choosing an ensemble")
    results_commands.choose_ensemble(work)
    results_commands.compare_ensembles(work)
    say("5/5 scoring three files")
    scorer = open_scorer("", work, device="cpu")
    files = [clips.parent / clip.path for clip in load_table(work / "clips.json").of("test")[:3]]
    table(
        "Three test files: score and 80 % interval",
        ("file", *scorer.axes, "flags"),
        [
            (
                Path(answer["path"]).name,
                *(
                    f"{answer[a]:.2f} [{answer[f'{a}_80_low']:.1f}, {answer[f'{a}_80_high']:.1f}]"
                    for a in scorer.axes
                ),
                ", ".join(answer["flags"]),
            )
            for answer in scorer.files(files)
        ],
        scorer.caveats,
    )
    say(
        f"all of it lies in {work}: corpus/clips.csv, clips.json, features/, runs/, ensemble.json, "
        f"bundle/\nlook closer: python pipeline.py evaluate --work {work}, "
        f"python pipeline.py report --work {work}"
    )
    say(FIRST_DAY)


def main() -> None:
    """Run a verb; what a user can mend is said in one line, anything else shows its traceback."""
    _begin_anew()
    with stoppable():
        try:
            app()
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            if os.environ.get("MMMOS_TRACEBACK"):
                raise
            text = str(error)
            left = f"... ({len(text)} letters)" if len(text) > MOST_LETTERS else ""
            say(f"error: {text[:MOST_LETTERS]}{left}")
            say("(set MMMOS_TRACEBACK=1 to see where this was raised)")
            sys.exit(REFUSED)


def _begin_anew() -> None:
    """Start this process again where Python was told what this program cannot work with."""
    wanted = {}
    if sys.getfilesystemencoding() != "utf-8":
        wanted["PYTHONUTF8"] = "1"  # tables name files in UTF-8, whatever the locale
    if sys.flags.optimize > 1:
        wanted["PYTHONOPTIMIZE"] = "1"  # transformers cannot be imported without docstrings
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.environ.update(wanted)
        words = [word for word in sys.orig_argv[1:] if word != "-OO"]
        os.execv(sys.executable, [sys.executable, *words])


if __name__ == "__main__":
    main()
