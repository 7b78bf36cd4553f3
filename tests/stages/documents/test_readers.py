"""Readers over small generated files, and over real ones where they are on the machine."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import pytest

from stages.documents.readers import READERS, REASONS, Document, DocumentFault, Section, read_document
from tests.conftest import public_or_skip

LIMIT = 5_000_000
PAGE = b"""<html><head><title>Frost</title></head><body><nav><a href="/shop">Shop for kits</a></nav>
<main><article><h1>Frost and the Valve</h1><p>Bring the Valve in before the first night of frost, for water that freezes
in it will crack the housing.</p><h2>Storing it</h2><p>Let it dry for a day, take both batteries out and keep it in a
cellar until the nights are mild again.</p></article></main><footer>Imprint and cookies</footer></body></html>"""


def read(name: str, content: bytes) -> Document:
    return read_document(name, content, LIMIT)


def reason(name: str, content: bytes, limit: int = LIMIT) -> str:
    with pytest.raises(DocumentFault) as fault:
        read_document(name, content, limit)
    assert fault.value.reason in REASONS
    return fault.value.reason


def docx_of(build: Any) -> bytes:
    import docx

    document = docx.Document()
    build(document)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def pdf_of(text: str, password: str | None = None) -> bytes:
    """Return a PDF of one page, written by hand, so that its words are text and no picture."""
    from pypdf import PdfReader, PdfWriter

    stream = f"BT /F1 24 Tf 72 700 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
    ]
    body = b"%PDF-1.4\n"
    offsets = []
    for number, item in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    body += b"xref\n0 5\n0000000000 65535 f \n%strailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (
        table,
        len(body),
    )
    if password is None:
        return body
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(body)))
    writer.encrypt(password, algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def test_markdown_keeps_its_front_title_its_headings_and_its_blocks() -> None:
    front = b'---\ntitle: "Hub: lights"\ntopic: hub\n---\n\n'
    text = front + b"Intro.\n\n# Lights\n\n- red\n- white\n\n## Deep\n\nEnd.\n\n# Last\n\nx\n"
    found = read("hub-lights.md", text)
    assert found.title == "Hub: lights"
    assert found.sections == (
        Section((), "Intro."),
        Section(("Lights",), "- red\n- white"),
        Section(("Lights", "Deep"), "End."),
        Section(("Last",), "x"),
    )


def test_a_heading_in_a_code_block_opens_no_section() -> None:
    (section,) = read("a.md", b"```\n# not a heading\n```\n").sections
    assert section.path == ()
    assert "# not a heading" in section.text


def test_a_document_without_a_title_has_its_files_name() -> None:
    assert read("folder/how-to.md", b"Text.").title == "how-to"


def test_a_web_page_loses_its_menu_and_keeps_its_headings() -> None:
    found = read("frost.html", PAGE)
    text = "\n".join(section.text for section in found.sections)
    assert "crack the housing" in text
    assert "Shop for kits" not in text
    assert "cookies" not in text
    assert any("Storing it" in section.path for section in found.sections)


def test_word_headings_open_sections_and_tables_are_lines() -> None:
    def build(document: Any) -> None:
        document.add_heading("Prices", 1)
        table = document.add_table(rows=1, cols=2)
        table.rows[0].cells[0].text, table.rows[0].cells[1].text = "Hub", "59 EUR"
        document.add_heading("Returns", 2)
        document.add_paragraph("30 days.")

    assert read("prices.docx", docx_of(build)).sections == (
        Section(("Prices",), "Hub | 59 EUR"),
        Section(("Prices", "Returns"), "30 days."),
    )


def test_a_pdfs_pages_are_sections() -> None:
    assert read("a.pdf", pdf_of("Bring the valve in")).sections == (Section(("page 1",), "Bring the valve in"),)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.exe", b"MZ", "unknown_format"),
        ("a", b"text", "unknown_format"),
        ("a.txt", b"\xff\xfe\x00", "not_text"),
        ("a.md", b"a\x00b", "not_text"),
        ("a.txt", b" \n\t ", "no_text"),
        ("a.md", b"---\ntitle: only a title\n---\n", "no_text"),
        ("a.html", b"<html></html>", "no_text"),
        ("a.pdf", b"%PDF-1.4 broken", "corrupt"),
        ("a.docx", b"PK\x03\x04 broken", "corrupt"),
        ("a.docx", b"no zip", "corrupt"),
    ],
)
def test_a_bad_file_is_refused_with_its_reason(name: str, content: bytes, expected: str) -> None:
    assert reason(name, content) == expected


def test_a_locked_pdf_and_a_file_beyond_the_limit_have_reasons_of_their_own() -> None:
    assert reason("a.pdf", pdf_of("secret", password="key")) == "encrypted"
    assert reason("a.txt", b"x" * 11, limit=10) == "too_large"


def test_real_files_are_read_or_refused_with_a_reason() -> None:
    outcomes: Counter[str] = Counter()
    for folder in ("files/haystack_pdfs_images", "files/simple_pdfs"):
        for path in sorted(public_or_skip(folder).iterdir()):
            if path.suffix in READERS and path.stat().st_size < 300_000:
                try:
                    document = read(path.name, path.read_bytes())
                    assert all(section.text.strip() for section in document.sections)
                    outcomes["read"] += 1
                except DocumentFault as fault:
                    outcomes[fault.reason] += 1
    assert outcomes.pop("read") >= 40
    assert outcomes == {"no_text": 5, "encrypted": 1}
