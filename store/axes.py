"""How axes and scales are named: on the command line, and in the sidecar of a clip table."""

from __future__ import annotations

from pathlib import Path

from mmmos.store import files, sealed
from mmmos.store.names import choose
from mmmos.store.rows import TableError
from mmmos.store.schema import Axes, Scale

MAX_SIDECAR_BYTES = 1 << 20


def axes_path(table: Path) -> Path:
    """The sidecar that names a table's axes: `clips.axes.json` for `clips.csv`."""
    return table.with_name(f"{table.stem}.axes.json")


def axes_beside(table: Path) -> Axes | None:
    """The axes that the sidecar of a table names, None where there is no sidecar.

    It is a JSON object of axis name -> title in words, in the order of the axes, for example
    {"MOS": "Overall quality", "SIG": "Signal quality"}.
    """
    sidecar = axes_path(table)
    if not sidecar.is_file():
        return None
    try:
        content = sealed.parse_json(files.read_bytes(sidecar, MAX_SIDECAR_BYTES), sidecar)
        if not isinstance(content, dict) or not all(isinstance(title, str) for title in content.values()):
            raise ValueError('it should be an object of name -> title, like {"MOS": "Overall quality"}')
        return Axes(tuple(content), tuple(content.values()))
    except (OSError, ValueError, EOFError) as reason:
        raise TableError(f"{sidecar} does not name axes: {reason}") from None


def parse_axes(text: str) -> Axes:
    """ "MOS,SIG=Signal quality": names in order, each with its title after "=" where it has one."""
    pairs = [part.partition("=") for part in text.split(",")]
    names = tuple(name.strip() for name, _, _ in pairs)
    return Axes(names, tuple(title.strip() or name.strip() for name, _, title in pairs))


def parse_scale(text: str, axes: Axes) -> Scale:
    """ "0,100" for every axis, or "MOS=1:5,noise=0:100" for each; ValueError says what was expected."""
    try:
        if "=" not in text:
            low, high = (float(part) for part in text.replace(":", ",").split(","))
            return Scale(low, high)
        ends: dict[str, tuple[float, float]] = {}
        for part in text.split(","):
            name, _, values = part.rpartition("=")
            low, high = (float(end) for end in values.split(":"))
            ends[choose("axis", name.strip(), axes)] = (low, high)
    except ValueError as reason:
        if str(reason).startswith("unknown axis"):
            raise ValueError(f"--scale: {reason}") from None
        raise ValueError(
            f"--scale takes LO,HI for all axes, as in 0,10, or AXIS=LO:HI,AXIS=LO:HI, not {text!r}"
        ) from None
    if missing := [name for name in axes if name not in ends]:
        raise ValueError(f"--scale {text!r} says nothing about {', '.join(missing)}")
    return Scale.of_axes([ends[name] for name in axes])
