"""Data sets of the Hugging Face hub: list the files of a revision, and have them in the hub's cache."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from stages.reading.digests import digest_of
from stages.reading.files import COMPRESSIONS, READERS, is_known
from thumbwheel.errors import SourceError

URI = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/]+))?(?:/(?P<path>.+))?")
COMMIT = re.compile(r"[0-9a-f]{40}")
METADATA = {"config.json", "dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json"}
"""What a data set says of itself; `datasets` passes over it too, and over what begins with a dot or two low lines."""


def is_hub(uri: str) -> bool:
    return uri.startswith("hf://")


def find_files(uri: str) -> list[dict[str, Any]]:
    """Return the data files of `hf://owner/name[@revision][/path or glob]`, by the commit that the revision is today.

    Without a path that is all of them, those of a test split too. They are brought into the hub's cache on the way;
    where the hub cannot be reached, the cache alone is asked.

    Raises:
        SourceError: there is no such data set or revision, here or on the hub, or no file that can be read.
    """
    repo, revision, pattern = _parts(uri)
    folder = _snapshot(repo, revision, pattern, uri)
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and is_known(path.name))
    found = [(path, path.relative_to(folder).as_posix()) for path in paths]
    chosen = [(path, name) for path, name in found if (_matches(name, pattern) if pattern else _is_data(name))]
    if not chosen:
        raise SourceError(
            f"source '{uri}' holds no file that can be read ({len(found)} others); "
            "name its data files in params.yaml, such as hf://owner/name/data/*.parquet."
        )
    return [
        {"uri": f"hf://{repo}@{folder.name}/{name}", "size": path.stat().st_size, "sha256": digest_of(path)}
        for path, name in chosen
    ]


def local_path(uri: str) -> Path:
    """Return where the cache has a file that `find_files` listed, fetching it where the cache lost it.

    Raises:
        SourceError: neither cache nor hub has it.
    """
    repo, revision, name = _parts(uri)
    return _snapshot(repo, revision, name, uri) / str(name)


def _parts(uri: str) -> tuple[str, str | None, str | None]:
    if (match := URI.fullmatch(uri)) is None:
        raise SourceError(
            f"source '{uri}' is not of the form hf://owner/name[@revision][/path]; mend it in params.yaml."
        )
    return match["repo"], match["revision"], match["path"]


def _snapshot(repo: str, revision: str | None, pattern: str | None, uri: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    wanted = (
        [pattern, f"{pattern}/*"]
        if pattern
        else [f"*{end}{packed}" for end in READERS for packed in ("", *COMPRESSIONS)]
    )
    is_commit = revision is not None and COMMIT.fullmatch(revision) is not None
    for offline in (True, False) if is_commit else (False, True):
        try:
            folder = Path(
                snapshot_download(
                    repo, repo_type="dataset", revision=revision, allow_patterns=wanted, local_files_only=offline
                )
            )
            if not offline or any(folder.rglob(pattern or "*")):
                return folder
        except (OSError, ValueError, HfHubHTTPError) as error:
            problem = " ".join(str(error).split())
    raise SourceError(
        f"source '{uri}' is neither on the hub nor in its cache ({problem[:300]}); see HF_ENDPOINT, HF_HOME."
    )


def _is_data(name: str) -> bool:
    parts = name.split("/")
    return parts[-1] not in METADATA and not any(part.startswith((".", "__")) for part in parts)


def _matches(name: str, pattern: str) -> bool:
    return fnmatch(name, pattern) or name.startswith(f"{pattern}/")
