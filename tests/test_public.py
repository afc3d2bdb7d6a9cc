"""What the public sees beside the code agrees with it: the site, the workflows, the citation, a release."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mmmos import __all__, __version__
from tests import release
from tests.conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def loaded(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_site_shows_every_page_of_docs_and_no_other() -> None:
    shown = [page for entry in loaded("mkdocs.yml")["nav"] for page in entry.values()]
    assert sorted(shown) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_the_site_builds_and_none_of_its_links_leads_nowhere(tmp_path: Path) -> None:
    # The Makefile lays the layers below `mmmos`, where the page of the API looks for them.
    subprocess.run(["make", "-s", "-o", "install", "below-mmmos"], cwd=ROOT, check=True)
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={"NO_MKDOCS_2_WARNING": "1", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "load_bundle" in (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")


def test_readers_of_the_site_are_reported_to_nobody(tmp_path: Path) -> None:
    assert loaded("mkdocs.yml")["theme"]["font"] is False
    assert "extra_javascript" not in loaded("mkdocs.yml")


def test_every_public_name_is_on_the_page_of_the_api() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    shown = {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)$", page, flags=re.M)}
    assert shown >= set(__all__) - {"__version__"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_calls_only_verbs_that_make_knows(path: Path) -> None:
    known = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), flags=re.M)
    assert known is not None
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values()
    lines = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    verbs = {
        word
        for line in lines
        if line.startswith("make ")
        for word in re.findall(r"(?<=\s)[a-z-]+(?=\s|$)", line)
    }
    assert verbs
    assert verbs <= set(known[1].split())


def test_the_workflow_runs_every_python_that_the_lock_serves() -> None:
    ci = loaded(".github/workflows/ci.yml")
    assert ci["jobs"]["tests"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


def test_the_citation_names_this_version() -> None:
    assert loaded("CITATION.cff")["version"] == __version__


def test_the_hooks_run_the_tools_of_the_lock() -> None:
    (source,) = loaded(".pre-commit-config.yaml")["repos"]
    assert source["repo"] == "local"
    assert {hook["entry"].split()[0] for hook in source["hooks"]} <= {".venv/bin/ruff", "make"}


def test_every_form_asks_for_something_and_no_id_comes_twice() -> None:
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        if path.name == "config.yml":
            continue
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= form.keys(), path.name
        ids = [field["id"] for field in form["body"]]
        assert len(ids) == len(set(ids)), path.name
        assert any(field.get("validations", {}).get("required") for field in form["body"]), path.name


@pytest.mark.parametrize(
    ("tag", "told"),
    [
        ("v9.9.9", "the tag 9.9.9"),
        ("0.2", "not of the form v1.2.3"),
        ("v9.9.9", "CITATION.cff says"),
        ("v9.9.9", "CHANGELOG.md has no line"),
    ],
)
def test_a_tag_that_the_project_does_not_agree_with_is_not_published(tag: str, told: str) -> None:
    assert told in "\n".join(release.obstacles(tag))


def test_a_tag_that_everything_agrees_with_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "CITATION.cff").write_text("version: 1.2.3\n")
    (tmp_path / "CHANGELOG.md").write_text("## [1.2.3] - 2030-01-31\n")
    monkeypatch.setattr(release, "ROOT", tmp_path)
    monkeypatch.setattr(release, "__version__", "1.2.3")
    assert release.obstacles("v1.2.3") == []
    (tmp_path / "CHANGELOG.md").write_text("## [1.2.3] - soon\n")
    assert release.obstacles("v1.2.3") == ["CHANGELOG.md dates 1.2.3 at 'soon', which is no date"]


CHANGES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_changelog_has_releases_with_dates_below_what_is_not_released() -> None:
    first, *releases = re.findall(r"^## (.*)$", CHANGES, flags=re.M)
    assert first == "[Unreleased]"
    for heading in releases:
        found = re.fullmatch(r"\[\d+\.\d+\.\d+\] - (.*)", heading)
        assert found is not None, heading
        assert release.is_date(found[1]) or found[1] == "not published"
    assert releases == sorted(
        releases, reverse=True, key=lambda one: [*map(int, re.findall(r"\d+", one)[:3])]
    )


def test_the_changelog_says_nothing_twice_and_keeps_its_sections_in_order() -> None:
    lines = [" ".join(one.split()) for one in re.findall(r"^- .*(?:\n  .*)*", CHANGES, flags=re.M)]
    assert [one for one in lines if lines.count(one) > 1] == []
    order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    for part in re.split(r"^## ", CHANGES, flags=re.M)[1:]:
        sections = re.findall(r"^### (.*)$", part, flags=re.M)
        assert sections == [name for name in order if name in sections]


def test_nothing_stands_between_this_version_and_its_tag() -> None:
    if ".dev" in __version__:
        pytest.skip(f"{__version__} is not meant to be released")
    assert release.obstacles(f"v{__version__}") == []
