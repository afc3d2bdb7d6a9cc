"""The report: one file that asks nothing of the network, escapes all data, and opens in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.results.page import Section, Tile, render
from mmmos.heads.results.report import write_report
from mmmos.heads.results.reproduce import reproduce
from mmmos.heads.results.sections import SECTIONS
from mmmos.store.clips import ClipTable
from mmmos.store.table import Table
from tests.heads.made_up import CAVEAT, made_up_table, made_up_work

HOSTILE = "<script>alert(1)</script>"
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)


class Strict(HTMLParser):
    """Collects ids, links and text; fails on tags that do not close in order."""

    VOID = ("meta", "br", "img", "hr", "link", "input")

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.tags = [], [], [], set()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.add(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [v for k, v in attrs if k in ("href", "xlink:href", "src")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    table = made_up_table()
    clips = tuple(replace(c, system=HOSTILE if c.system == "sys3" else c.system) for c in table.clips)
    made_up_work(work, ClipTable(clips, caveats=(CAVEAT, HOSTILE)))
    (work / "rejects.csv").write_text(f"id,path,reason\nx,{HOSTILE}.wav,empty\n")
    trials = [{"number": n, "state": "complete", "value": 0.5 + n / 10} for n in range(3)]
    study = {"study": "tri-mlp-ut", "objective": "pam:srcc", "trials": trials, "reason": ""}
    study |= {"first": trials[0], "best": trials[2], "difference": 0.2, "low": 0.1, "high": 0.3}
    (work / "sweeps").mkdir()
    (work / "sweeps" / "tri.json").write_text(json.dumps(study))
    reproduce(open_experiment(work), caveats=["epochs 3"]).save(work)
    return write_report(work)


def test_the_page_is_whole_and_says_its_caveats(page):
    text = page.read_text()
    parser = Strict()
    parser.feed(text)
    assert parser.open == []
    assert [link[1:] for link in parser.links[: len(SECTIONS)]] == list(SECTIONS)
    assert SECTIONS.keys() <= set(parser.ids)
    assert CAVEAT in text
    assert "Table III: the sixteen configurations" in text
    assert "epochs 3" in text
    assert text.count("<svg") == text.count("<figure") > 0
    assert "1 files could not be used" in text


def test_nothing_is_asked_of_the_network_and_no_script_runs(page):
    text = page.read_text()
    parser = Strict()
    parser.feed(text)
    assert all(link.startswith("#") for link in parser.links)
    assert not re.search(r"@import|url\((?!#)", text)
    assert "script" not in parser.tags
    assert HOSTILE not in text
    assert "&lt;script&gt;" in text


def test_ids_are_single_and_references_lead_somewhere(page):
    parser = Strict()
    parser.feed(page.read_text())
    assert len(parser.ids) == len(set(parser.ids))
    used = {link[1:] for link in parser.links} | set(re.findall(r"url\(#([^)]+)\)", page.read_text()))
    assert used <= set(parser.ids)


def test_the_figures_take_the_colours_of_the_page(page):
    text = page.read_text()
    figures = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert "#1b1f24" not in figures
    used = set(re.findall(r"var\((--\w+)\)", figures))
    assert "--ink" in used
    for where in (":root{", "(prefers-color-scheme:dark){:root{", "@media print{:root{"):
        defined = text.split(where, 1)[1].split("}", 1)[0]
        assert used <= set(re.findall(r"--\w+", defined))


def test_text_of_data_is_escaped_everywhere():
    table = Table(HOSTILE, (HOSTILE,), ((HOSTILE,),), (HOSTILE,))
    tile = Tile(HOSTILE, HOSTILE, HOSTILE)
    text = render(HOSTILE, HOSTILE, [HOSTILE], [tile], {"s": Section(HOSTILE, HOSTILE, (table, HOSTILE))})
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 16


def test_a_table_with_one_axis_and_no_test_split_still_has_a_report(tmp_path):
    table = made_up_table(axes=("PQ",))
    work = made_up_work(tmp_path, table)
    for folder in (work / "runs").iterdir():
        (folder / "predictions-test.parquet").unlink()
    assert "over 48 clips" in write_report(work).read_text()


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium, which is not installed")
def test_a_real_browser_draws_it(page, tmp_path):
    shot = tmp_path / "page.png"
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    quiet.append("--disable-background-networking")
    where = [f"--user-data-dir={tmp_path / 'chrome'}", "--window-size=1200,2400", f"--screenshot={shot}"]
    subprocess.run([CHROMIUM, *quiet, *where, f"file://{page}"], check=True, capture_output=True, timeout=120)
    from matplotlib.image import imread

    pixels = imread(shot)
    # A page that was drawn has ink, the bars' blue, and both in its middle, not an empty or broken page.
    blue = (abs(pixels[..., :3] - [0, 0.447, 0.698]) < 0.02).all(axis=-1)
    assert blue.sum() > 2000
    assert pixels[..., :3].std() > 0.05
