"""What is personal data, and what only looks like it. Reserved and test values only."""

from __future__ import annotations

import pytest

from thumbwheel.pii import KINDS, base58check, bech32, card, find, iban, luhn
from thumbwheel.pii.checksums import IBAN_LENGTHS, mod97

FOUND = [
    ("mail me at tilda.varn+shop@mail.example.org, please", "email", "tilda.varn+shop@mail.example.org"),
    ("<b.q@inbox.example>.", "email", "b.q@inbox.example"),
    ("call +1 202-555-0147 any time", "phone", "+1 202-555-0147"),
    ("reach me: (202) 555-0147", "phone", "(202) 555-0147"),
    ("it's +442079460123.", "phone", "+442079460123"),
    ("number is 07700 900456", "phone", "07700 900456"),
    ("ring me on 01632 960184 about it", "phone", "01632 960184"),
    ("020 7946 0958 works too", "phone", "020 7946 0958"),
    ("0044 20 7946 0123", "phone", "0044 20 7946 0123"),
    ("my card 4111 1111 1111 1111 exp 09/29", "card", "4111 1111 1111 1111"),
    ("3782 822463 10005", "card", "3782 822463 10005"),
    ("5555-5555-5555-4444", "card", "5555-5555-5555-4444"),
    ("to DE89 3704 0044 0532 0130 00. thanks", "iban", "DE89 3704 0044 0532 0130 00"),
    ("GB29NWBK60161331926819 it is", "iban", "GB29NWBK60161331926819"),
    ("FR14 2004 1010 0505 0001 3M02 606 or so", "iban", "FR14 2004 1010 0505 0001 3M02 606"),
    ("it is 078-05-1120", "ssn", "078-05-1120"),
    ("my social security number: 987 65 4320", "ssn", "987 65 4320"),
    ("from 192.0.2.44 it says", "ipv4", "192.0.2.44"),
    ("ping 198.51.100.23.", "ipv4", "198.51.100.23"),
    ("shows 2001:db8:85a3::8a2e:370:7334 for it", "ipv6", "2001:db8:85a3::8a2e:370:7334"),
    ("2001:db8::7:1f", "ipv6", "2001:db8::7:1f"),
    ("webcam: https://me:Turnip-77@cam.example/feed", "url_secret", "https://me:Turnip-77@cam.example/feed"),
    ("(ftp://backup:Kale2024@files.example/logs)", "url_secret", "ftp://backup:Kale2024@files.example/logs"),
    ("https://a.example/i?token=9f8b7c6d5e4a3b2c now", "url_secret", "https://a.example/i?token=9f8b7c6d5e4a3b2c"),
    (
        "https://a.example/i?a=1&access_token=abcdefgh12",
        "url_secret",
        "https://a.example/i?a=1&access_token=abcdefgh12",
    ),
    ("key AKIAIOSFODNN7EXAMPLE fails", "api_key", "AKIAIOSFODNN7EXAMPLE"),
    ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "api_key", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
    ("sk-test-4eC39HqLyjWDarjtT1zdp7dc", "api_key", "sk-test-4eC39HqLyjWDarjtT1zdp7dc"),
    ("api key: 'a1b2c3d4e5f6a7b8c9d0'", "api_key", "a1b2c3d4e5f6a7b8c9d0"),
    ("send to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "crypto", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    (
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        "crypto",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    ),
    ("0x000000000000000000000000000000000000dEaD", "crypto", "0x000000000000000000000000000000000000dEaD"),
    ("i was born on 12/03/1984. now reset", "date_of_birth", "12/03/1984"),
    ("DOB: 1971-08-30, mail", "date_of_birth", "1971-08-30"),
    ("date of birth is July 4, 1990", "date_of_birth", "July 4, 1990"),
    ("my daughter was born on 3 November 1962", "date_of_birth", "3 November 1962"),
    ("is that and born July 4, 1990 enough?", "date_of_birth", "July 4, 1990"),
    ("birthday: 3 November 1962", "date_of_birth", "3 November 1962"),
    ("D.O.B. 3.11.1962", "date_of_birth", "3.11.1962"),
    ("Geburtsdatum: 03.11.1962", "date_of_birth", "03.11.1962"),
    ("je suis née le 03/11/1962", "date_of_birth", "03/11/1962"),
    ("It says AB 12 34 56 C", "national_id", "AB 12 34 56 C"),
    ("Mobile: +41 (0)62 585 51 90", "phone", "+41 (0)62 585 51 90"),
    ("(898)666-3621", "phone", "(898)666-3621"),
    ("fax 345-899-3560x4587.", "phone", "345-899-3560x4587"),
    ("ask for 345-899-3560 ext. 45 there", "phone", "345-899-3560 ext. 45"),
    ("in 2019 202-555-0147 was ours", "phone", "202-555-0147"),
    ("It's made.415-431-5000 is theirs", "phone", "415-431-5000"),
    ("78 651 450 office", "phone", "78 651 450"),
    ("01.84.17.61.18", "phone", "01.84.17.61.18"),
    ("phone:\n467 3395", "phone", "467 3395"),
    ("Phone:555-123-4567", "phone", "555-123-4567"),
    ("Tel:+49 30 123456", "phone", "+49 30 123456"),
    ("?phone=5551234567&x", "phone", "5551234567"),
    ("电话：13812345678", "phone", "13812345678"),
    ("電話番号は03-1234-5678です。", "phone", "03-1234-5678"),
    ("โทร081-234-5678นะ", "phone", "081-234-5678"),
    ("मेरा फोन ९८७६५४३२१०", "phone", "९८७६५४३२१०"),
    ("Телефон: 89123456789", "phone", "89123456789"),
    ("my SSN is 078051120", "ssn", "078051120"),
    ("geboren am 3. März 1962", "date_of_birth", "3. März 1962"),
    ("né le 1er août 1962", "date_of_birth", "1er août 1962"),
    ("nacida el 3 de diciembre de 1962", "date_of_birth", "3 de diciembre de 1962"),
    ("生年月日：1962年11月3日", "date_of_birth", "1962年11月3日"),
    ("我的出生日期是1962-11-03", "date_of_birth", "1962-11-03"),
    ("생년월일: 1962년 11월 3일", "date_of_birth", "1962년 11월 3일"),
    ("4111 1111 1111 1111 123 is all I have", "card", "4111 1111 1111 1111"),
    ("write to søren.müller@straße.example", "email", "søren.müller@straße.example"),
    ("请联系a.b@mail.example谢谢", "email", "a.b@mail.example"),
    ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", "crypto", "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4"),
    (
        "post to https://hooks.slack.com/services/T0123/B0123/abcdefghijkl please",
        "url_secret",
        "https://hooks.slack.com/services/T0123/B0123/abcdefghijkl",
    ),
    ("password = 'Turnip-77x'", "api_key", "Turnip-77x"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", "api_key", "-----BEGIN RSA PRIVATE KEY-----\nMIIE"),
]

CLEAN = [
    "My order is BW-204417 and the old one BW-190522.",
    "order number 2029461234 and ticket 0044123456",
    "Hub firmware 4.2, Valve 2.8, version 4.2.10.1",
    "Updates run from 02:00-04:00, chat 08-20 CET, callbacks 10-16 CET.",
    "59 EUR, 3.90 EUR/month or 39 EUR/year, total 1 204 500 EUR",
    "on 12/03/2026 or 2026-02-17 the valve broke",
    "The Hub was born in 2019. A singer (born August 16, 1958) sang at its launch.",
    "see the map at 37.3362725, -121.8244 and 37.3362725",
    "open 192.168.1.1 or 10.0.0.1 in your browser",
    "868 MHz, 2.4 GHz, 0.5-8 bar, 20 x 2 l/h, 5 x 30 x 2000 mm",
    "hold 5 s, then 10 s, 3 times, 24/7",
    "IPv6 like fe80 or time 10:20:30 or ::1",
    "https://status.brindlewick.example/?page=2&sort=code and www.example.com",
    "CR2450, G3/4, IP67, AA, 2x AA, 12-24 V",
    "follow @brindlewick and mail me @ home",
    "1234 5678 9012 3456 is no card, DE00 1234 5678 9012 3456 78 no account",
    "sk-this-is-just-a-long-hyphenated-word and the api key is required",
    "between 1990-2000 and 2010-2020, pages 100-200, 1,000,000 drops",
    "1 2 3 4 5 6 7 8 9 10",
    "call me tomorrow at 10 or at 16, number 12 in the queue",
    "build number 6.2.9200.16384 of 2015-12-22 04:34:22",
    "message 61161516-3254-403c-9ec4-5a1c2d3e4f50",
    "1011 0010 1100 0110 in binary, 123 456 789 in all",
    "at 17151 2450 Crow Road, ZIP 90010-170",
    "the password is required, password: required",
    "https://api.example/?apikey={API_KEY}&t=1",
    "password = '[API_KEY_1]'",
    "letters[::2] and letters[1::2] in Python",
    "take a pan, a tin and 123456789 seeds",
    "id:0301234567 and ?id=0301234567 at ts=1700000000123, ratio 1:415-555-2671",
    "订单号：202401011234567，总共12345678900元",
    "公司成立于1962年11月3日，今天是2024年1月1日",
    "social media had 800123456 views",
    "",
]


@pytest.mark.parametrize(("text", "kind", "value"), FOUND)
def test_each_kind_is_found_whole_and_alone(text: str, kind: str, value: str) -> None:
    assert [(f.kind, f.value) for f in find(text)] == [(kind, value)]


@pytest.mark.parametrize("text", CLEAN)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert find(text) == []


def test_every_kind_has_an_example() -> None:
    assert {kind for _, kind, _ in FOUND} == set(KINDS)


def test_only_the_kinds_asked_for_are_found() -> None:
    assert [f.kind for f in find("a@b.example, +1 202-555-0147", kinds=["phone"])] == ["phone"]


def test_a_finding_does_not_show_its_value_when_printed() -> None:
    (found,) = find("a@b.example")
    assert "a@b.example" not in repr(found)


@pytest.mark.parametrize(("check", "good"), [(luhn, "4111111111111111"), (iban, "DE89370400440532013000")])
def test_one_wrong_digit_fails_the_checksum(check: object, good: str) -> None:
    assert callable(check)
    assert check(good)
    assert not any(check(good[:-1] + digit) for digit in "0123456789" if digit != good[-1])


def test_a_mistyped_address_fails_its_checksum() -> None:
    assert not base58check("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb")
    assert not bech32("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5")


@pytest.mark.parametrize("country", sorted(IBAN_LENGTHS))
def test_an_iban_of_any_other_length_than_its_countrys_is_none(country: str) -> None:
    for length in range(15, 35):
        body = "0" * (length - 4)
        number = f"{country}{98 - mod97(body + country + '00'):02}{body}"
        assert iban(number) == (length == IBAN_LENGTHS[country])


def test_a_card_needs_a_network_that_gives_it_out() -> None:
    assert card("4111 1111 1111 1111")
    number = next(n for n in (f"911111111111111{digit}" for digit in range(10)) if luhn(n))
    assert not card(number)
