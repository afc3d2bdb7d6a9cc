"""Progress of a survey or an extraction: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from mmmos.store.console import err, say

PLAIN_INTERVAL_S = 10.0


class ClipProgress:
    """Counts the steps, clips and seconds of audio that are done, and reports them on stderr.

    Parameters
    ----------
    title : str
        What is being done.
    unit : str
        What a step is, in the plural ("crops").
    steps : dict of str to int
        How many steps (files to survey, crops to encode) each clip id takes; emptied on the way.
    quiet : bool
        Report nothing.
    """

    def __init__(self, title: str, unit: str, steps: dict[str, int], *, quiet: bool = False) -> None:
        self.title, self.unit, self.quiet = title, unit, quiet
        self.left = steps
        self.clips, self.steps = len(steps), sum(steps.values())
        self.steps_done = 0
        self.audio_s = 0.0
        self.started_s = self.spoken_s = time.monotonic()
        self.task: TaskID | None = None
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[status]}"))
        self.bar = Progress(*columns, console=err)

    def __enter__(self) -> ClipProgress:
        if err.is_terminal and not self.quiet:
            self.task = self.bar.add_task(self.title, total=self.steps, status="")
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.task is not None:
            self.bar.stop()
        if not self.quiet:
            say(f"{self.title}: {self.status()}")

    def advance(self, clip_id: str, audio_s: float) -> None:
        """One step of a clip is done, `audio_s` seconds of its audio."""
        self.left[clip_id] -= 1
        if not self.left[clip_id]:
            del self.left[clip_id]
        self.steps_done += 1
        self.audio_s += audio_s
        now_s = time.monotonic()
        if self.task is not None:
            self.bar.update(self.task, completed=self.steps_done, status=self.status())
        elif not self.quiet and now_s - self.spoken_s >= PLAIN_INTERVAL_S:
            self.spoken_s = now_s
            say(f"{self.title}: {self.status()}")

    def status(self) -> str:
        """ "12/160 clips, 8.1 crops/s, 74x real time, 0:21 left" """
        elapsed_s = max(time.monotonic() - self.started_s, 1e-6)
        parts = [f"{self.clips - len(self.left)}/{self.clips} clips"]
        if self.steps_done:
            parts.append(f"{self.steps_done / elapsed_s:.1f} {self.unit}/s")
            parts.append(f"{self.audio_s / elapsed_s:.0f}x real time")
            steps_left = self.steps - self.steps_done
            parts.append(
                f"{_clock(elapsed_s * steps_left / self.steps_done)} left"
                if steps_left
                else _clock(elapsed_s)
            )
        return ", ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
