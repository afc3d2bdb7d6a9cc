"""The command line of MMMOS: one verb is one call of a layer.

    python pipeline.py extract --clips clips.csv --audio-root DIR
    python pipeline.py heads --sweep
    python pipeline.py ensemble
    python pipeline.py predict FILES...

Each verb lives in its layer's commands.py and loads what it needs when it is called.
"""

from __future__ import annotations

import os
import sys

import typer

import extract.commands
import heads.commands
from store.console import FAILED, REFUSED, say

app = typer.Typer(
    help="Four scores for audio, as people hear it: train such predictors on ratings, and score files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(extract.commands.extract)
app.command()(heads.commands.heads)
app.command()(heads.commands.ensemble)
app.command()(heads.commands.evaluate)


def main() -> None:
    """Run a verb; what a user can mend is said in one line, anything else shows its traceback."""
    try:
        app()
    except (ValueError, OSError, RuntimeError) as error:
        if os.environ.get("MMMOS_TRACEBACK"):
            raise
        say(f"error: {error}")
        say("(set MMMOS_TRACEBACK=1 to see where this was raised)")
        sys.exit(REFUSED)
    except KeyboardInterrupt:
        say("stopped; what was finished is kept, and the same command goes on from there")
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
