"""Text in UTF-16, as spreadsheets and Windows save it, read as the UTF-8 that the containers are read in."""

from __future__ import annotations

import codecs
import io
from typing import IO, Any

MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""Of byte order, by which UTF-16 is known; without one it is not."""
PIECE = 1 << 16


def is_utf16(head: bytes) -> bool:
    """Tell whether a file that begins with `head`, two bytes or more, is text in UTF-16."""
    return head.startswith(MARKS)


def in_utf8(stream: IO[bytes]) -> IO[bytes]:
    """Return a stream of text as it is, or in UTF-8 where it is UTF-16.

    Reading it raises UnicodeDecodeError where it is neither.
    """
    buffered: Any = stream if hasattr(stream, "peek") else io.BufferedReader(stream)  # type: ignore[type-var]
    return io.BufferedReader(_Recoded(buffered), PIECE) if is_utf16(buffered.peek(2)[:2]) else buffered


class _Recoded(io.RawIOBase):
    """The UTF-8 of a stream in UTF-16."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw, self._ready, self._ended = raw, b"", False
        self._decoder = codecs.getincrementaldecoder("utf-16")()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._ended:
            piece = self._raw.read(PIECE)
            self._ended = not piece
            self._ready = self._decoder.decode(piece, final=self._ended).encode()
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count
