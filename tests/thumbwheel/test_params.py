"""Parameters: a wrong key or value is named, and no key has a default."""

from __future__ import annotations

from pathlib import Path

import pytest

from thumbwheel.errors import ParamsError
from thumbwheel.params import Params, load_params, read_params


class Inner(Params):
    rate: float


class Toy(Params):
    threshold: float
    words: int
    inner: Inner


GOOD = "toy: {threshold: 0.8, words: 5, inner: {rate: 1}}\nother: {}\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text)
    return path


def test_a_section_becomes_its_model(tmp_path: Path) -> None:
    assert load_params("toy", Toy, write(tmp_path, GOOD)) == Toy(threshold=0.8, words=5, inner=Inner(rate=1.0))


@pytest.mark.parametrize("text", ["toy: {}\nother: {}\ntoy: {}\n", "other:\n  toy: 1\n  words: 2\n  toy: 3\n"])
def test_a_key_that_stands_twice_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    with pytest.raises(ParamsError, match=r"the key 'toy' stands here for the second time(.|\n)*line [34]"):
        read_params(write(tmp_path, text))


def test_the_file_of_the_root_is_the_default(workspace: Path) -> None:
    write(workspace, GOOD)

    assert load_params("toy", Toy).words == 5


def test_parameters_cannot_be_changed(tmp_path: Path) -> None:
    params = load_params("toy", Toy, write(tmp_path, GOOD))

    with pytest.raises(ValueError, match="frozen"):
        params.words = 6  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("toy: {threshold: 0.8, word: 5, inner: {rate: 1}}", "unknown key 'toy.word', did you mean 'words'?"),
        ("toy: {threshold: 0.8, word: 5, inner: {rate: 1}}", "missing key 'toy.words'"),
        ("toy: {threshold: 0.8, words: 5, inner: {rates: 1}}", "missing key 'toy.inner.rate'"),
        ("toy: {threshold: high, words: 5, inner: {rate: 1}}", "'toy.threshold' = 'high'"),
        ("toy: {threshold: 0.8, words: 5.5, inner: {rate: 1}}", "'toy.words' = 5.5"),
        ("toy: {xyzzy: 1}", "unknown key 'toy.xyzzy' (known: threshold, words, inner)"),
        ("toy:", "missing key 'toy.threshold'"),
        ("other: {}", "no section 'toy'; it has: other"),
        ("- a list", "must map stage names"),
        ("toy: {", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ParamsError) as caught:
        load_params("toy", Toy, write(tmp_path, text))

    assert says in str(caught.value)


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ParamsError) as caught:
        load_params("toy", Toy, write(tmp_path, "toy: {threshold: x, wrods: 1, inner: {rate: y}}"))

    assert all(name in str(caught.value) for name in ("toy.threshold", "toy.wrods", "toy.words", "toy.inner.rate"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"params\.yaml is missing"):
        read_params(tmp_path / "params.yaml")
