"""Readers: the bytes of a file to a document of titled sections, or a fault with a named reason."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml

FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
HEADING_STYLE = re.compile(r"(Title|Heading (\d))$")
REASONS = ("unknown_format", "too_large", "not_text", "corrupt", "encrypted", "no_text")
"""Why a file is put aside; `no_text` also says of a scanned PDF that it holds pictures alone."""


class DocumentFault(ValueError):
    """A file that is no readable document: `reason` is one of `REASONS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Section:
    """A run of text under its headings, outermost first."""

    path: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Document:
    """A document's title and its sections in order; none of them is blank."""

    title: str
    sections: tuple[Section, ...]


def read_document(name: str, content: bytes, max_bytes: int) -> Document:
    """Return the document in a file's bytes; its title is its own, else the file's name.

    Raises:
        DocumentFault: it cannot be read, or holds no text.
    """
    path = PurePosixPath(name)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DocumentFault("unknown_format", f"'{path.suffix}' is none of {' '.join(READERS)}")
    if len(content) > max_bytes:
        raise DocumentFault("too_large", f"{len(content):,} bytes; index.max_bytes is {max_bytes:,}")
    title, sections = reader(content)
    kept = tuple(Section(s.path, text) for s in sections if (text := s.text.strip()))
    if not kept:
        raise DocumentFault("no_text", "no text was found in it")
    return Document(" ".join((title or "").split()) or path.stem, kept)


Read = tuple[str | None, list[Section]]


def read_markdown(content: bytes) -> Read:
    """Markdown by markdown-it: each heading opens a section; `title` of the front matter is the document's."""
    text = _decoded(content)
    head = FRONT_MATTER.match(text)
    title = _front_title(head.group(1)) if head else None
    return title, list(_markdown_sections(text[head.end() :] if head else text))


def read_html(content: bytes) -> Read:
    """A web page by trafilatura, which leaves menus, banners and footers out."""
    import trafilatura

    page = trafilatura.load_html(content)
    if page is None:
        raise DocumentFault("corrupt", "it is no HTML")
    text = trafilatura.extract(page, output_format="markdown", favor_recall=True, include_comments=False)
    found = trafilatura.extract_metadata(page)
    return found.title if found else None, list(_markdown_sections(text or ""))


def read_pdf(content: bytes) -> Read:
    """A PDF by pypdf: each page with text is a section."""
    from pypdf import PdfReader
    from pypdf.errors import FileNotDecryptedError, PyPdfError

    try:
        reader = PdfReader(io.BytesIO(content))
        texts = [page.extract_text() for page in reader.pages]
        title = reader.metadata.title if reader.metadata else None
    except FileNotDecryptedError:
        raise DocumentFault("encrypted", "it needs a password") from None
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, OSError) as error:
        raise DocumentFault("corrupt", f"{type(error).__name__}: {error}"[:200]) from None
    return _clean(title), [Section((f"page {number}",), _clean(text) or "") for number, text in enumerate(texts, 1)]


def read_docx(content: bytes) -> Read:
    """A Word document by python-docx: styles of headings open sections, a table is a line a row."""
    import zipfile

    import docx
    from docx.opc.exceptions import PackageNotFoundError

    try:
        document = docx.Document(io.BytesIO(content))
        sections = list(_docx_sections(document))
    except (PackageNotFoundError, zipfile.BadZipFile, KeyError, ValueError, AttributeError) as error:
        raise DocumentFault("corrupt", f"{type(error).__name__}: {error}"[:200]) from None
    return document.core_properties.title, sections


def read_text(content: bytes) -> Read:
    """Plain text, one section."""
    return None, [Section((), _decoded(content))]


READERS: dict[str, Callable[[bytes], Read]] = {
    ".md": read_markdown,
    ".markdown": read_markdown,
    ".html": read_html,
    ".htm": read_html,
    ".pdf": read_pdf,
    ".docx": read_docx,
    ".txt": read_text,
}


def _markdown_sections(text: str) -> Iterator[Section]:
    from markdown_it import MarkdownIt

    lines, path = text.splitlines(keepends=True), []  # type: ignore[var-annotated]
    body: list[str] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for place, token in enumerate(tokens):
        if token.type == "heading_open" and token.level == 0:
            yield Section(tuple(path), "\n".join(body))
            level = int(token.tag[1])
            path, body = [*path[: level - 1], tokens[place + 1].content], []
        elif token.level == 0 and token.map and token.nesting >= 0:
            body.append("".join(lines[slice(*token.map)]))
    yield Section(tuple(path), "\n".join(body))


def _docx_sections(document: Any) -> Iterator[Section]:
    from docx.table import Table

    path: list[str] = []
    body: list[str] = []
    for item in document.iter_inner_content():
        if isinstance(item, Table):
            body += [" | ".join(cell.text.strip() for cell in row.cells) for row in item.rows]
        elif (style := HEADING_STYLE.match(item.style.name or "" if item.style else "")) and item.text.strip():
            yield Section(tuple(path), "\n".join(body))
            path, body = [*path[: int(style.group(2) or 1) - 1], item.text.strip()], []
        else:
            body.append(item.text)
    yield Section(tuple(path), "\n".join(body))


def _front_title(text: str) -> str | None:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    return str(found["title"]) if isinstance(found, dict) and found.get("title") else None


def _decoded(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentFault("not_text", f"not UTF-8: {error}") from None
    if "\0" in text:
        raise DocumentFault("not_text", "it holds NUL bytes")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _clean(text: str | None) -> str | None:
    """Return text that UTF-8 can hold: a PDF's fonts give lone surrogates and NULs."""
    return text and text.replace("\0", "").encode("utf-8", "ignore").decode()
