"""Says whether a tag may be published: `python -m tests.release v0.2.0`."""

from __future__ import annotations

import re
import sys
from datetime import date

import yaml

from mmmos import __version__
from tests.conftest import ROOT


def obstacles(tag: str) -> list[str]:
    """What stands between this checkout and a release under the tag; empty where nothing does."""
    version = tag.removeprefix("v")
    found = []
    if not re.fullmatch(r"v\d+\.\d+\.\d+", tag):
        found.append(f"the tag {tag!r} is not of the form v1.2.3")
    if __version__ != version:
        found.append(f"mmmos/__init__.py says {__version__}, the tag {version}")
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    if cited != version:
        found.append(f"CITATION.cff says {cited}, the tag {version}")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = re.search(rf"^## \[{re.escape(version)}\] - (\S+)$", changes, flags=re.M)
    if heading is None:
        found.append(f"CHANGELOG.md has no line '## [{version}] - YYYY-MM-DD'")
    elif not is_date(heading[1]):
        found.append(f"CHANGELOG.md dates {version} at {heading[1]!r}, which is no date")
    return found


def is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.release TAG, such as v0.2.0")
    problems = obstacles(sys.argv[1])
    sys.exit("\n".join(problems) if problems else 0)
