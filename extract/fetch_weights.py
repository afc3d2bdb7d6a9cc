"""Fetching published weights: what `mmmos weights` does.

Hub checkpoints go into the hub's own cache; the file of a release is taken out of its zip into
`weights_home`.  A download that broke off is resumed.  Where no sha256 is published, that of the first
file is recorded, and a later one with another sha256 is refused.
"""

from __future__ import annotations

import errno
import fnmatch
import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Collection, Sequence
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.encoders import ENCODERS, load_encoder
from mmmos.extract.encoders.locate import download, find_present
from mmmos.extract.encoders.published import FIRST_USE, Published, first_use, weights_home
from mmmos.extract.encoders.weights import WeightsMismatch, WeightsMissing, file_sha256
from mmmos.store import files, sealed
from mmmos.store.names import choose

TIMEOUT_S = 30.0
ATTEMPTS = 5
"""Connections in a row that may break off without bringing a byte."""
CHUNK_BYTES = 1 << 20
MAX_BYTES = 4 << 30


def make_ready(
    names: Sequence[str], accepted: Collection[str], tell: Callable[[str], None]
) -> tuple[str, ...]:
    """Print the terms of each encoder's weights, fetch what is missing, and load each encoder once.

    Parameters
    ----------
    names : sequence of str
        Encoders, as in ENCODERS.
    accepted : collection of str
        Encoders whose licence the user agrees to.
    tell : callable
        Gets each line for the user.

    Returns
    -------
    tuple of str
        The encoders that are ready.  What keeps the others from it was told.
    """
    modules = {name: ENCODERS[choose("encoder", name, ENCODERS)] for name in names}
    for name in accepted:
        choose("encoder", name, ENCODERS)
    for name, module in modules.items():
        if published := module.PUBLISHED:
            tell(f"{name}: {published.name}, {published.size}. Licence: {published.licence}")
    ready = []
    for name, module in modules.items():
        try:
            if module.PUBLISHED is not None:
                tell(f"{name}: {_at_hand(name, module.PUBLISHED, accepted)}")
            load_encoder(name, audio_recipe=AUDIO_RECIPE)
        except (WeightsMissing, WeightsMismatch, OSError) as error:
            tell(f"{name}: not ready: {error}")
        else:
            ready.append(name)
    return tuple(ready)


def _at_hand(name: str, published: Published, accepted: Collection[str]) -> Path:
    """The weight file, fetched where it is missing and may be."""
    found = find_present(published, None)
    if found is not None:
        return found
    if published.agree and name not in accepted:
        raise WeightsMissing(
            f"its licence has to be agreed to ({published.licence}); then add --accept-licence {name}"
        )
    return fetch(published)


def fetch(published: Published) -> Path:
    """Fetch a checkpoint and return its weight file.

    Raises
    ------
    WeightsMissing
        Where it could not be fetched; the message gives the reason in one line.
    WeightsMismatch
        Where what came is not the published file; it is not kept.
    OSError
        Where it could not be written (a full disk).
    """
    if published.release:
        return fetch_release(published, weights_home() / published.folder)
    try:
        path = download(published)
    except (WeightsMismatch, WeightsMissing):
        raise
    except Exception as error:  # the hub client's HTTP library, and so its errors, change with its version
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsMissing(f"{published.name} could not be fetched from the hub: {reason}") from error
    if not published.pinned:
        try:
            record_first_use(published, path)
        except WeightsMismatch:
            path.unlink()
            raise
    return path


def fetch_release(published: Published, folder: Path) -> Path:
    """Fetch the zip of a release and unpack its weight file below `folder`.  Raises as `fetch`."""
    archive = folder / f"{published.release.rpartition('/')[2]}.part"
    files.make_folder(folder)
    download_resumed(published.release, archive)
    try:
        path = unzip_one(archive, published, folder)
    except OSError:
        raise
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        files.remove(archive)
        raise WeightsMismatch(f"{published.release} is not the published zip: {error}") from error
    files.remove(archive)
    return path


def download_resumed(url: str, part: Path) -> None:
    """Download into `part`, continuing what it holds.  It must be a zip.  Raises as `fetch`."""
    failures = 0
    while failures < ATTEMPTS:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _download_some(url, part):
                return
            reason = "the connection broke off"
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code} {error.reason}"
            if error.code == 416 and before:
                files.remove(part)  # what is kept is longer than the file: start anew
            elif error.code < 500:
                break
        except (HTTPException, urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise OSError(
                error.errno, "the disk is full; what has come is kept, run this again to go on", str(part)
            ) from None
        after = part.stat().st_size if part.exists() else 0
        failures = 0 if after > before else failures + 1
    kept = f"; {part.stat().st_size} bytes are kept, run this again to go on" if part.exists() else ""
    raise WeightsMissing(f"{url} could not be fetched: {reason}{kept}")


def _download_some(url: str, part: Path) -> bool:
    """One connection; whether the file is complete now."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        if answer.status != 206:
            have = 0  # the server knows no ranges and sends everything
        whole = have + answer.length if answer.length is not None else None
        with files.growing(part, have) as write:
            while chunk := answer.read(CHUNK_BYTES):
                if have == 0 and not chunk.startswith(b"PK"):
                    _refuse_start(url, chunk, part)
                have += len(chunk)
                if have > MAX_BYTES:
                    raise WeightsMismatch(f"{url} has more than {MAX_BYTES} bytes")
                write(chunk)
    return whole is None or have >= whole


def _refuse_start(url: str, chunk: bytes, part: Path) -> None:
    files.remove(part)
    kind = "a web page" if chunk.lstrip()[:1] == b"<" else "something else"
    raise WeightsMismatch(f"{url} answered with {kind}, not with a zip file")


def unzip_one(archive: Path, published: Published, folder: Path) -> Path:
    """Unpack the one weight file of a release as `folder`/<published name>/<file>, and nothing else.

    Only the member of exactly that path counts, and it is written to a path made here, so that no name
    in the archive can lead elsewhere.

    Raises
    ------
    WeightsMismatch
        Where the archive has no such member, or several.
    zipfile.BadZipFile
        Where it is damaged.
    """
    pattern = published.files[0]
    with zipfile.ZipFile(archive) as content:
        wanted = [
            member
            for member in content.infolist()
            if PurePosixPath(member.filename).parts[:-1] == (published.name,)
            and fnmatch.fnmatch(PurePosixPath(member.filename).name, pattern)
            and not member.is_dir()
        ]
        if len(wanted) != 1 or wanted[0].file_size > MAX_BYTES:
            held = ", ".join(member.filename for member in content.infolist()[:8])
            raise WeightsMismatch(f"it does not hold one {published.name}/{pattern} but {held or 'nothing'}")
        path = folder / published.name / PurePosixPath(wanted[0].filename).name
        files.make_folder(path.parent)
        with content.open(wanted[0]) as source, files.writing(path) as out:
            shutil.copyfileobj(source, out, CHUNK_BYTES)
            # Before the file has its name: one that is not the first one is never there.
            record_first_use(published, out.path)
    return path


def record_first_use(published: Published, path: Path) -> None:
    """Record the sha256 of a file of which none is published.

    Raises
    ------
    WeightsMismatch
        Where another one was recorded before.
    """
    sha256, recorded = file_sha256(path), first_use()
    if recorded.setdefault(published.name, sha256) != sha256:
        raise WeightsMismatch(
            f"{published.name}: the file has sha256 {sha256[:12]}..., the one that was fetched first had "
            f"{recorded[published.name][:12]}..., so it is not kept. If its publisher changed it, take the "
            f"entry out of {weights_home() / FIRST_USE}."
        )
    files.make_folder(weights_home())
    sealed.write_json(weights_home() / FIRST_USE, dict(sorted(recorded.items())))
