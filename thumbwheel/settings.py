"""The environment, which changes places and never results: `THUMBWHEEL_*` variables with embedded defaults."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from thumbwheel.errors import SettingsError

REPOSITORY = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Where things are. Every field is a variable: `lake_uri` is `THUMBWHEEL_LAKE_URI`."""

    model_config = SettingsConfigDict(env_prefix="THUMBWHEEL_", frozen=True)

    root: Path = REPOSITORY
    state: Path | None = None
    """Databases, logs and stores of the embedded defaults; `.thumbwheel` under the root unless set."""
    lake_uri: str | None = None
    """`data/lake`, or `s3://bucket/prefix` with the usual AWS variables."""
    accelerator: Literal["cpu", "cuda"] = "cpu"
    turn: str = "local"
    """Name of this turn of the wheel; the parent run in the tracker. Airflow sets it to its run id."""

    host: str = "127.0.0.1"
    chat_port: int = Field(default=3000, ge=1, le=65535)
    engine_port: int = Field(default=8701, ge=1, le=65535)
    mlflow_port: int = Field(default=5000, ge=1, le=65535)
    airflow_port: int = Field(default=8080, ge=1, le=65535)

    kafka_servers: str | None = None
    """Bootstrap servers of the feedback topic; unset, events stay in the SQLite outbox until collected."""
    kafka_topic: str = "thumbwheel.feedback"
    outbox: Path | None = None
    redis_url: str | None = None
    cassandra_hosts: str | None = None
    """Contact points, parted by commas, of the cluster that may hold conversations; see `serving.yaml`."""
    cassandra_keyspace: str = "thumbwheel"
    cassandra_datacenter: str | None = None
    cassandra_user: str | None = None
    cassandra_password: SecretStr | None = None
    user_key: Path | None = None
    """Key by which users are hashed, one for all processes of a service; made under the state folder unless set."""
    api_keys: Path | None = None
    """Digests of the API keys, as `python -m serving.keys` writes them; under the state folder unless set."""
    serving: Path | None = None
    """Options of the chat service; `serving/serving.yaml` unless set."""

    chat_url: str | None = None
    """Base URL of the chat service for those who ask it; unset, the host and port above."""
    chat_key: SecretStr | None = None
    """API key with which the weekly watch asks it; unset, it asks as nobody in particular."""
    alertmanager_url: str | None = None
    """Base URL of an Alertmanager that the weekly watch tells of drift, such as `http://alertmanager:9093`."""

    judge_url: str | None = None
    """Base URL of an OpenAI-compatible endpoint, such as `https://host/v1`; unset, the local engine judges."""
    judge_model: str | None = None
    judge_api_key: str | None = None
    moderation_url: str | None = None
    """Base URL of a moderation model that measures toxicity; unset, the small classifier does. The chat service's is
    named by `guard.endpoint` of `serving.yaml`."""
    moderation_model: str = "moderation"
    moderation_key: SecretStr | None = None
    """Key of either."""

    milvus_uri: str | None = None
    """Address of a Milvus cluster, such as `http://host:19530`; unset, a Milvus Lite file under the state folder."""
    milvus_token: SecretStr | None = None
    rerank_url: str | None = None
    """Base URL of an endpoint with `/rerank` as of Cohere and Jina, which vLLM serves, such as `https://host/v1`."""
    rerank_model: str | None = None
    rerank_api_key: SecretStr | None = None

    pseudonym_key: SecretStr | None = None
    """Secret from which `scrub` makes pseudonyms; the one variable that changes what a stage writes, as a key must."""

    keep_warm: bool = True
    """Keep the engine of the champion before running, so that a roll-back takes seconds; costs its memory."""
    service_key: SecretStr | None = None
    """API key by which deployments and canaries ask the chat service, where it admits nobody without one."""
    engine_arguments: str = ""
    """More arguments to vLLM's server, such as `--tensor-parallel-size 2`."""
    engine_start_seconds: int = Field(default=600, ge=1)

    @property
    def state_dir(self) -> Path:
        return self.state or self.root / ".thumbwheel"

    @property
    def lake(self) -> str:
        return self.lake_uri or str(self.root / "data" / "lake")

    @property
    def outbox_path(self) -> Path:
        return self.outbox or self.root / "data" / "outbox.db"

    @property
    def user_key_path(self) -> Path:
        return self.user_key or self.state_dir / "user.key"

    @property
    def bentoml_home(self) -> Path:
        return self.state_dir / "bentoml"

    @property
    def pins(self) -> Path:
        return self.root / "data" / "pins"

    @property
    def inputs(self) -> Path:
        return self.root / "data" / "inputs"

    @property
    def reports(self) -> Path:
        return self.root / "data" / "reports"

    @property
    def queue(self) -> Path:
        return self.root / "data" / "queue" / "items.json"

    @property
    def index(self) -> Path:
        return self.root / "data" / "index"

    @property
    def models(self) -> Path:
        return self.root / "models"


@cache
def settings() -> Settings:
    """Read the environment once a process; tests call `settings.cache_clear()`.

    Raises:
        SettingsError: a variable's value cannot be used; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        bad = "; ".join(f"THUMBWHEEL_{str(e['loc'][0]).upper()} = {e['input']!r}: {e['msg']}" for e in error.errors())
        raise SettingsError(bad) from None
