"""Write a labelled set of support messages with Faker's values of many countries; started in Faker's own environment.

    python benchmarks/pii_faker.py ROWS.json

Half of the sentences say what the value is, half do not. Faker makes its numbers up: most belong to no numbering plan.
"""

from __future__ import annotations

import json
import random
import re
import sys
from pathlib import Path
from typing import Any

SEED, EACH = 41, 8
LOCALES = (
    *(
        "en_US",
        "en_GB",
        "en_CA",
        "en_AU",
        "en_IN",
        "en_IE",
        "en_NZ",
        "de_DE",
        "de_AT",
        "de_CH",
        "fr_FR",
        "fr_BE",
        "fr_CH",
    ),
    *(
        "es_ES",
        "es_MX",
        "it_IT",
        "pt_PT",
        "pt_BR",
        "nl_NL",
        "nl_BE",
        "pl_PL",
        "cs_CZ",
        "sk_SK",
        "hu_HU",
        "sl_SI",
        "hr_HR",
    ),
    *("sv_SE", "no_NO", "da_DK", "fi_FI", "el_GR", "ro_RO", "bg_BG", "tr_TR", "ja_JP", "ko_KR"),
)
SENTENCES = {
    "phone": (
        "You can call me on {} after six.",
        "The courier should ring {} when he is outside.",
        "Tel. {}",
        "My old phone number was {} but that one is gone.",
        "It's {}, thanks!",
        "I gave them {} last week and nobody has come back to me",
        "{}\nThat should be all you need.",
        "{name}, {street}, {}",
    ),
    "email": ("write to {}", "{} is what I signed up with", "Sent from {}.", "is it {} or {second}?"),
    "card": ("the card is {}", "I typed {} and it says declined", "{} exp 04/29", "paid with {}, twice"),
    "iban": ("please refund to {}", "{} is where the money should go", "Konto: {}", "IBAN {} / {name}"),
    "ssn": ("SSN {}", "they want {} from me, is that safe?", "my social is {}."),
    "ip": ("my router shows {}", "{} keeps trying to log in", "blocked: {}."),
}
CLEAN = (
    "Order {order} came on {date} with {n} parts missing.",
    "Firmware {v}, serial {serial}, bought {date}.",
    "The pump moved {big} litres at {n}.{n} bar between {time} and {time}.",
    "Ticket {order} is from {year}-{year}, invoice {serial}.",
    "{street}, {zip} {city}, second floor",
    "Model {n}00-{n}0-{n} and model {big} look the same to me.",
)


def main() -> None:
    from faker import Faker

    rng = random.Random(SEED)
    rows = []
    for locale in LOCALES:
        fake = Faker([locale, "en_US"])
        fake.seed_instance(SEED)
        local, american = fake[locale], fake["en_US"]
        for kind, sentences in SENTENCES.items():
            for sentence in sentences * (EACH // len(sentences)):
                rows.append(filled(sentence, kind, local, american))
        rows += [{"text": clean(sentence, local, rng), "spans": []} for sentence in CLEAN]
    Path(sys.argv[1]).write_text(json.dumps(rows))
    print(json.dumps({"work_cpu": 0.0, "rows": len(rows)}))


def filled(sentence: str, kind: str, local: Any, american: Any) -> dict[str, Any]:
    """Return a sentence with a value of its kind, and where it stands."""
    text, spans = "", []
    for part in re.split(r"(\{\w*\})", sentence):
        if part in ("{}", "{second}"):
            value = drawn(kind, local, american)
            spans.append([kind, len(text), len(text) + len(value)])
            text += value
        else:
            text += {"{name}": local.name(), "{street}": local.street_address()}.get(part) or part
    return {"text": text, "spans": spans}


def drawn(kind: str, local: Any, american: Any) -> str:
    """Return a value of a kind, as Faker's provider of the country writes it."""
    makers = {
        "phone": local.phone_number,
        "email": local.ascii_email,
        "card": american.credit_card_number,
        "iban": local.iban,
        "ssn": american.ssn,
        "ip": local.ipv4_public,
    }
    return str(makers[kind]())


def clean(sentence: str, local: Any, rng: random.Random) -> str:
    """Return a sentence with numbers in it that are nobody's."""
    values = {
        "order": lambda: f"BW-{rng.randrange(100000, 999999)}",
        "date": lambda: local.date(rng.choice(("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y"))),
        "n": lambda: str(rng.randrange(1, 9)),
        "v": lambda: ".".join(str(rng.randrange(30)) for _ in range(rng.choice((3, 4)))),
        "serial": lambda: str(rng.randrange(10**8, 10**10)),
        "big": lambda: f"{rng.randrange(10**5, 10**8):,}".replace(",", rng.choice((",", " ", "."))),
        "time": lambda: local.time("%H:%M"),
        "year": lambda: str(rng.randrange(1990, 2026)),
        "street": local.street_address,
        "zip": local.postcode,
        "city": local.city,
    }
    return re.sub(r"\{(\w+)\}", lambda match: str(values[match.group(1)]()), sentence)


if __name__ == "__main__":
    main()
