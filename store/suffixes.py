"""What files of audio are called, and tables that are not text."""

from __future__ import annotations

_WAVES = ".aif .aifc .aiff .au .caf .w64 .wav .wave"
_CODED = ".flac .mp3 .oga .ogg .opus"
_VIDEO = ".3gp .avi .flv .m4v .mkv .mov .mp4 .mpeg .mpg .webm .wmv"
_OTHER = ".aac .ac3 .amr .ape .dsf .m4a .m4b .mka .mp2 .mpc .ra .rf64 .snd .spx .tta .voc .weba .wma .wv"

DECODED = frozenset(f"{_WAVES} {_CODED}".split())
"""Suffixes of what is read."""
NOT_DECODED = frozenset(f"{_VIDEO} {_OTHER}".split())
"""Suffixes of audio and video that mostly is not read; asked for, so that its answer says why."""
AUDIO = DECODED | NOT_DECODED
"""What is taken from a folder; a file that is named itself may have any suffix."""
TABLES = (".xlsx", ".xls", ".ods", ".parquet", ".mat", ".sav")
"""Tables of other programs."""
