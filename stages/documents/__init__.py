"""Documents read from Markdown, HTML, PDF, DOCX and plain text, and cut into the chunks that retrieval finds."""
