"""Fetching weights from a local imitation of the hub and of a release, with all that can go wrong."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save

from mmmos.extract import fetch_weights
from mmmos.extract.encoders import WeightsMismatch, WeightsMissing, m2d, muq, muq16k, wavlm
from mmmos.extract.encoders.locate import find
from mmmos.extract.encoders.published import FIRST_USE, Pinned
from mmmos.extract.fetch_weights import download_resumed, fetch, make_ready
from mmmos.store import sealed
from tests.extract.encoders.test_m2d import fine_tuned, published
from tests.extract.hub import Hub

M2D = m2d.PUBLISHED.name
MEMBER = f"{M2D}/weights_ep67it3124-0.48558.pth"


def torch_bytes(state: dict[str, torch.Tensor]) -> bytes:
    out = io.BytesIO()
    torch.save(state, out)
    return out.getvalue()


def zip_bytes(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def pin(name: str, content: bytes) -> Pinned:
    return Pinned(name, len(content), hashlib.sha256(content).hexdigest())


def put(hub, published, contents: dict[str, bytes]):
    """Publish files on the hub; the checkpoint with them pinned."""
    for name, content in contents.items():
        hub.files[f"/{published.name}/resolve/{published.revision}/{name}"] = content
    return replace(published, pinned=tuple(pin(*item) for item in contents.items()))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MMMOS_WEIGHTS", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def hub(tmp_path, monkeypatch, home):
    """The three encoders published on a local server, in tiny sizes."""
    served = Hub()
    constants = "huggingface_hub.constants"
    monkeypatch.setattr(f"{constants}.ENDPOINT", served.url)
    template = served.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)
    for name, value in (("FULL_WIDTH", 48), ("FULL_DEPTH", 2)):
        monkeypatch.setattr(m2d, name, value)
    monkeypatch.setitem(wavlm.SIZES, "full", wavlm.SIZES["tiny"])
    state = wavlm.canonical(wavlm.build(wavlm.SIZES["tiny"], 1).state_dict())
    contents = {"pytorch_model.bin": torch_bytes(state)}
    monkeypatch.setattr(wavlm, "PUBLISHED", put(served, wavlm.PUBLISHED, contents))
    monkeypatch.setattr(muq, "FULL", muq.TINY)
    config = json.dumps(muq.TINY).encode()
    tensors = {name: t.clone() for name, t in muq.build(muq.TINY, seed=2).state_dict().items()}
    contents = {"model.safetensors": save(tensors), "config.json": config}
    monkeypatch.setattr(muq, "PUBLISHED", put(served, muq.PUBLISHED, contents))
    monkeypatch.setattr(muq16k, "PUBLISHED", muq.PUBLISHED)
    monkeypatch.setattr(m2d, "PUBLISHED", replace(m2d.PUBLISHED, release=f"{served.url}/m2d.zip"))
    served.files["/m2d.zip"] = zip_bytes({MEMBER: torch_bytes(fine_tuned(published()))})
    yield served
    served.close()


def wavlm_path() -> str:
    return f"/{wavlm.PUBLISHED.name}/resolve/{wavlm.PUBLISHED.revision}/pytorch_model.bin"


@pytest.mark.usefixtures("hub")
def test_three_encoders_become_ready_with_their_published_names(cli, home):
    done = cli("weights", "--accept-licence", "m2d")
    assert done.code == 0, done.err
    lines = done.err.strip().splitlines()
    assert lines[-1] == "3 of 3 ready"
    for name, licence, size in (
        ("wavlm", "its model card", "0.38 GB"),
        ("muq", "CC BY-NC 4.0", "1.33 GB"),
        ("m2d", "NTT's own licence", "0.35 GB"),
    ):
        terms = next(line for line in lines if line.startswith(f"{name}: "))
        assert licence in terms
        assert size in terms
    assert "not the published file" not in done.err
    assert find(m2d.PUBLISHED, None) == home / "m2d" / MEMBER
    assert sealed.read_object(home / FIRST_USE).keys() == {M2D}


def test_what_is_there_is_not_fetched_again(hub):
    make_ready(["wavlm", "m2d"], ["m2d"], print)
    sent = dict(hub.served)
    assert make_ready(["wavlm", "m2d"], [], print) == ("wavlm", "m2d")
    assert dict(hub.served) == sent


def test_without_agreement_m2d_is_not_fetched_and_the_others_are(hub, cli):
    done = cli("weights")
    assert done.code == 2
    assert "m2d: not ready: its licence has to be agreed to" in done.err
    assert "--accept-licence m2d" in done.err
    assert done.err.strip().endswith("2 of 3 ready")
    assert "/m2d.zip" not in hub.asked


@pytest.mark.parametrize("argument", ["--encoders", "--accept-licence"])
def test_names_that_are_unknown_are_refused_first(hub, cli, argument):
    done = cli("weights", argument, "wavml")
    assert done.code == 2
    assert "Did you mean 'wavlm'" in done.err
    assert hub.asked == []


def test_a_hub_download_that_breaks_off_is_continued(hub):
    hub.cut[wavlm_path()] = [5000, 5000]
    assert fetch(wavlm.PUBLISHED).stat().st_size == wavlm.PUBLISHED.pinned[0].size
    assert hub.cut[wavlm_path()] == []


@pytest.mark.parametrize(
    "change", [lambda b: b[:-1] + b"!", lambda b: b + b"!", lambda b: b"<html>no</html>"]
)
def test_other_bytes_than_the_published_ones_are_refused_and_not_kept(hub, tmp_path, change):
    whole = hub.files[wavlm_path()]
    hub.files[wavlm_path()] = change(whole)
    with pytest.raises(WeightsMismatch, match=r"what came as pytorch_model\.bin is not the published file"):
        fetch(wavlm.PUBLISHED)
    kept = [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not {"pytorch_model.bin", hashlib.sha256(change(whole)).hexdigest()} & set(kept)
    hub.files[wavlm_path()] = whole
    assert fetch(wavlm.PUBLISHED).read_bytes() == whole


def test_a_web_page_instead_of_the_hubs_answer_is_told_in_one_line(hub):
    hub.pages.add(f"/api/models/{wavlm.PUBLISHED.name}/revision/{wavlm.PUBLISHED.revision}")
    told = []
    assert make_ready(["wavlm"], [], told.append) == ()
    assert "wavlm: not ready: microsoft/wavlm-base-plus could not be fetched from the hub" in told[-1]
    assert len(told[-1].splitlines()) == 1


def test_a_hub_without_the_file_says_what_it_should_offer(hub):
    hub.files[wavlm_path().replace("pytorch_model.bin", "README.md")] = hub.files.pop(wavlm_path())
    with pytest.raises(WeightsMissing, match=r"offers none of model.safetensors, pytorch_model.bin"):
        fetch(wavlm.PUBLISHED)


def test_the_release_is_continued_where_it_broke_off(hub, home):
    whole = len(hub.files["/m2d.zip"])
    hub.cut["/m2d.zip"] = [1000] * 7 + [0] * 3
    assert fetch(m2d.PUBLISHED) == home / "m2d" / MEMBER
    assert hub.served["/m2d.zip"] == whole
    assert [path.name for path in (home / "m2d").iterdir()] == [M2D]


def test_a_release_that_breaks_off_for_good_is_continued_the_next_time(hub, home):
    hub.cut["/m2d.zip"] = [1000] + [0] * 5
    with pytest.raises(WeightsMissing, match="the connection broke off; 1000 bytes are kept"):
        fetch(m2d.PUBLISHED)
    assert fetch(m2d.PUBLISHED).is_file()
    assert hub.served["/m2d.zip"] == len(hub.files["/m2d.zip"])


def test_a_server_that_knows_no_ranges_sends_everything_again(hub, tmp_path):
    hub.ranges = False
    hub.cut["/m2d.zip"] = [1000, 2000]
    download_resumed(f"{hub.url}/m2d.zip", tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == hub.files["/m2d.zip"]
    assert hub.served["/m2d.zip"] == len(hub.files["/m2d.zip"]) + 3000


def test_more_bytes_kept_than_there_are_start_the_download_anew(hub, tmp_path):
    (tmp_path / "part").write_bytes(b"PK" + bytes(len(hub.files["/m2d.zip"])))
    download_resumed(f"{hub.url}/m2d.zip", tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == hub.files["/m2d.zip"]


def test_a_web_page_instead_of_the_release_is_refused_and_not_kept(hub, home):
    hub.pages.add("/m2d.zip")
    with pytest.raises(WeightsMismatch, match="answered with a web page, not with a zip file"):
        fetch(m2d.PUBLISHED)
    assert not list((home / "m2d").iterdir())


def test_a_release_that_is_gone_is_told_with_its_status(hub):
    del hub.files["/m2d.zip"]
    with pytest.raises(WeightsMissing, match=r"m2d.zip could not be fetched: HTTP 404"):
        fetch(m2d.PUBLISHED)
    assert hub.asked == ["/m2d.zip"]


def test_nobody_at_the_address_is_told(hub):
    nobody = replace(m2d.PUBLISHED, release="http://127.0.0.1:9/m2d.zip")
    with pytest.raises(WeightsMissing, match="Connection refused"):
        fetch(nobody)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({f"../../{MEMBER}": b"evil", "/etc/evil.pth": b"evil"}, r"it does not hold one .* but \.\./\.\./"),
        ({f"{M2D}/../evil.pth": b"evil"}, "it does not hold one"),
        ({f"{M2D}/sub/evil.pth": b"evil"}, "it does not hold one"),
        ({MEMBER: b"one", f"{M2D}/two.pth": b"two"}, "it does not hold one"),
        ({}, "but nothing"),
    ],
)
def test_only_the_one_file_leaves_the_zip_and_only_to_its_place(hub, home, tmp_path, members, reason):
    hub.files["/m2d.zip"] = zip_bytes(members)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(WeightsMismatch, match=reason):
        fetch(m2d.PUBLISHED)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == before


def test_other_members_are_left_in_the_zip(hub, home, tmp_path):
    good = torch_bytes(fine_tuned(published()))
    hub.files["/m2d.zip"] = zip_bytes({"../evil.txt": b"evil", f"{M2D}/LICENSE.txt": b"terms", MEMBER: good})
    assert fetch(m2d.PUBLISHED).read_bytes() == good
    written = [path.name for path in home.rglob("*") if path.is_file()]
    assert sorted(written) == sorted([FIRST_USE, MEMBER.rpartition("/")[2]])
    assert not (tmp_path / "evil.txt").exists()


def test_a_damaged_zip_is_refused_and_fetched_anew_the_next_time(hub, home):
    whole = hub.files["/m2d.zip"]
    middle = len(whole) // 2
    hub.files["/m2d.zip"] = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
    with pytest.raises(WeightsMismatch, match="is not the published zip"):
        fetch(m2d.PUBLISHED)
    assert not [path for path in (home / "m2d").rglob("*") if path.is_file()]
    hub.files["/m2d.zip"] = whole
    assert fetch(m2d.PUBLISHED).is_file()


def test_a_release_that_changed_since_its_first_use_is_refused(hub, home):
    path = fetch(m2d.PUBLISHED)
    first = (home / FIRST_USE).read_text()
    path.unlink()
    state = published()
    state["norm.bias"] += 1.0
    hub.files["/m2d.zip"] = zip_bytes({MEMBER: torch_bytes(fine_tuned(state))})
    with pytest.raises(WeightsMismatch, match="the one that was fetched first had"):
        fetch(m2d.PUBLISHED)
    assert not path.exists()
    assert (home / FIRST_USE).read_text() == first


def test_a_full_disk_is_told_and_what_has_come_is_kept(hub, home):
    (home / "m2d").mkdir(parents=True)
    (home / "m2d" / "m2d.zip.part").symlink_to("/dev/full")
    told = []
    assert make_ready(["m2d"], ["m2d"], told.append) == ()
    assert "the disk is full; what has come is kept, run this again to go on" in told[-1]
    (home / "m2d" / "m2d.zip.part").unlink()
    assert make_ready(["m2d"], ["m2d"], told.append) == ("m2d",)


def test_a_release_without_end_is_cut_off(hub, monkeypatch):
    monkeypatch.setattr(fetch_weights, "MAX_BYTES", 1000)
    with pytest.raises(WeightsMismatch, match="more than 1000 bytes"):
        fetch(m2d.PUBLISHED)
