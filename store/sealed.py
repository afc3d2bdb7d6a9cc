"""Files that carry their own checksum, and JSON that is read strictly.

A sealed file holds the words `mmmos-seal` and, once, `mmmos-sha256 ` with 64 hex digits: the sha256 of the
whole file as it is with zeros in place of those digits.  So every byte counts, the format stays what it was
(JSON, Parquet, safetensors), and no second file can go missing.  One changed bit cannot take both words
away: a file with only one of them is damaged, one with neither was written before there were seals (0.1).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import xxhash

from mmmos.store import files

KEY, WORD = "mmmos-seal", "mmmos-sha256"
BLANK = f"{WORD} {'0' * 64}"
"""What a writer puts under KEY, for `seal` to fill in."""
DIGITS = re.compile(rb"mmmos-sha256 ([0-9a-f]{64})")
LINE_WORD = "mmmos-xxh3"
LINE = re.compile(rb'(\{.*),"mmmos-seal":"mmmos-xxh3 ([0-9a-f]{16})"\}\n?')
LINE_END = re.compile(rb'mmmos-xxh3 [0-9a-f]{16}"\}')
HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""How a half of a surrogate pair is spelled in JSON; whole pairs are, too."""
MAX_DIGITS, LARGEST = 21, (1 << 64) - 1
MAX_JSON_BYTES = 1 << 22
"""Of a JSON file whose size does not grow with the data."""


class DamagedFileError(ValueError):
    """A stored file that is not what was written; the message begins with its path."""


def seal(data: bytes) -> bytes:
    """Fill in the checksum of a file's bytes, in which BLANK stands once."""
    if data.count(BLANK.encode()) != 1:
        raise ValueError(f"a text in it reads like a checksum's place ({BLANK[:20]}...): rename that")
    digits = hashlib.sha256(data).hexdigest()
    return data.replace(BLANK.encode(), f"{WORD} {digits}".encode())


def is_sealed(data: bytes, path: Path) -> bool:
    """True for bytes as they were sealed, False for a file without a seal; DamagedFileError for others."""
    found = [match.span(1) for match in DIGITS.finditer(data)]
    for start, end in found[:8]:
        whole = hashlib.sha256(data[:start])
        whole.update(b"0" * 64)
        whole.update(data[end:])
        if whole.hexdigest().encode() == data[start:end]:
            return True
    if found or KEY.encode() in data or WORD.encode() in data:
        raise DamagedFileError(
            f"{path} is damaged or changed by hand: its checksum says that it changed after it was saved"
        )
    return False


def read_bytes(path: Path, limit_bytes: int = MAX_JSON_BYTES) -> bytes:
    """The whole of a file, sealed or of old; ValueError beginning with its path for any other."""
    try:
        data = files.read_bytes(path, limit_bytes)
    except EOFError:
        raise DamagedFileError(f"{path} became shorter while it was read") from None
    is_sealed(data, path)
    return data


def write_json(
    path: Path, value: Mapping[str, Any], indent: int | None = 1, limit_bytes: int | None = None
) -> None:
    """`files.write_json` of an object, sealed; no key may be KEY.

    ValueError, and nothing is written, for more bytes than those who read it would take.
    """
    text = json.dumps({**value, KEY: BLANK}, indent=indent, ensure_ascii=False, allow_nan=False)
    data = seal(f"{text}\n".encode())
    if limit_bytes is not None and len(data) > limit_bytes:
        raise ValueError(f"{path} would take {len(data)} bytes, where {limit_bytes} are read")
    files.write_atomic(path, data)


def read_json(path: Path, limit_bytes: int = MAX_JSON_BYTES) -> Any:
    """What `write_json` wrote, or a JSON file without a seal.

    Raises
    ------
    FileNotFoundError
        Where there is none.
    DamagedFileError
        Where a byte is not as it was written.
    ValueError
        Beginning with the path: not a regular file, too large, not JSON, a key twice, NaN, too deep.
    """
    value = parse_json(read_bytes(path, limit_bytes), path)
    if isinstance(value, dict):
        value.pop(KEY, None)
    return value


def read_object(path: Path, limit_bytes: int = MAX_JSON_BYTES, mark: str = "") -> dict[str, Any]:
    """`read_json` of a file that holds a JSON object; ValueError for anything else.

    A file without `mark` in its first or last 4,096 bytes is refused before it is read as a whole.
    """
    if mark and mark.encode() not in files.ends(path, 4096):
        raise ValueError(f"{path}: {mark} does not stand where it should")
    value = read_json(path, limit_bytes)
    if not isinstance(value, dict):
        raise ValueError(f"{path}: a JSON object was expected, not {type(value).__name__}")
    return value


def seal_line(text: str) -> bytes:
    """One line of a file that grows line by line: a JSON object with its own checksum as the last entry."""
    start = text[:-1].encode()
    return start + f',"{KEY}":"{LINE_WORD} {xxhash.xxh3_64_hexdigest(start)}"}}\n'.encode()


def open_line(line: bytes, what: object) -> dict[str, Any]:
    """The object of a line, sealed or of old; DamagedFileError or ValueError beginning with `what`."""
    match = LINE.fullmatch(line)
    if match and xxhash.xxh3_64_hexdigest(match[1]).encode() == match[2]:
        line = match[1] + b"}"
    elif match or KEY.encode() in line or LINE_WORD.encode() in line:
        raise DamagedFileError(f"{what} is damaged: its checksum does not match")
    value = parse_json(line, what)
    if not isinstance(value, dict):
        raise ValueError(f"{what}: a JSON object was expected, not {type(value).__name__}")
    return value


def parse_json(data: bytes | str, what: object) -> Any:
    """A JSON value; ValueError beginning with `what` (a path), with the place, for anything else.

    Refused as well: a key that occurs twice in one object, NaN and infinities, also as 1e999, whole numbers
    that no 64 bits hold, and text that is not Unicode.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=different_keys,
            parse_constant=_refuse,
            parse_float=_finite,
            parse_int=whole_number,
        )
        if HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError:
        raise ValueError(f"{what}: a text in it has half of a pair of surrogates") from None
    except UnicodeDecodeError as reason:
        raise ValueError(f"{what}: not UTF-8 text: byte {reason.start}") from None
    except RecursionError:
        raise ValueError(f"{what}: nested too deeply") from None
    except json.JSONDecodeError as reason:
        raise ValueError(
            f"{what}: not JSON: {reason.msg}, line {reason.lineno} column {reason.colno}"
        ) from None
    except ValueError as reason:
        raise ValueError(f"{what}: {reason}") from None


def different_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of a JSON text's pairs; ValueError for a key that occurs twice."""
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = sorted(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice[0]!r} occurs twice")
    return values


def whole_number(text: str) -> int:
    """The whole number of a JSON text; ValueError for one that no 64 bits hold, as arrays and floats need."""
    if len(text) > MAX_DIGITS or not -LARGEST <= (value := int(text)) <= LARGEST:
        raise ValueError(f"{text[:20]} is too large a number")
    return value


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number that JSON has")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:20]} is too large a number")
    return value
