"""Make the approved candidate champion: the alias in MLflow, and the release that the service follows.

python -m stages.promote --approved-by NAME
"""

from __future__ import annotations

import argparse
import logging

from thumbwheel import tracking
from thumbwheel.bundle import refuse_other
from thumbwheel.command import run
from thumbwheel.errors import ReleaseError
from thumbwheel.lake import Pin, read_pin
from thumbwheel.release import Release, Released, is_released, read_release, write_release
from thumbwheel.settings import settings

log = logging.getLogger(__name__)


def candidate(register: Pin, package: Pin, approved_by: str) -> Released:
    """Return the candidate as a release.

    Raises:
        ReleaseError: the gate failed it, nobody approved it, or the Bento holds another bundle than was judged.
    """
    if register.facts["outcome"] == "fail":
        raise ReleaseError("the gate failed this candidate; the champion stays. See data/reports/dossier.html.")
    if not approved_by.strip():
        raise ReleaseError("nobody approved this candidate; name who did with --approved-by.")
    for fact in ("bundle", "version"):
        if register.facts[fact] != package.facts[fact]:
            raise ReleaseError(
                f"the Bento holds {fact} {package.facts[fact]}, but {register.facts[fact]} was judged; "
                "run the wheel again."
            )
    facts = {name: package.facts[name] for name in ("version", "bundle", "bento", "bento_model", "path")}
    return Released(approved_by=approved_by.strip(), index=package.facts.get("index"), **facts)


def succeed(release: Release | None, new: Released) -> Release:
    """Return the release after `new` became champion; another bundle of the old champion's becomes previous."""
    if release is None:
        return Release(**new.model_dump())
    previous = release.previous if release.bundle == new.bundle else release.champion()
    rolled_back = tuple(bundle for bundle in release.rolled_back if bundle != new.bundle)
    return Release(**new.model_dump(), previous=previous, rolled_back=rolled_back)


def set_aliases(release: Release) -> None:
    """Make the registry's aliases say what the release says; safe to repeat."""
    api = tracking.client()
    if release.previous:
        api.set_registered_model_alias(tracking.MODEL, "previous", str(release.previous.version))
    api.set_registered_model_alias(tracking.MODEL, "champion", str(release.version))
    api.set_model_version_tag(tracking.MODEL, str(release.version), "approved_by", release.approved_by)


def main() -> None:
    """Check the candidate, then move the aliases and, last, the release."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--approved-by", required=True, metavar="NAME")
    approved_by = parser.parse_args().approved_by
    package, release = read_pin("package"), read_release()
    if is_released(release, package):
        log.info("version %s is champion already; nothing to do", package.facts["version"])
        return
    new = candidate(read_pin("register"), package, approved_by)
    for folder in (settings().models / "served", new.folder()):
        refuse_other(folder, new.bundle)
    after = succeed(release, new)
    set_aliases(after)
    write_release(after)
    log.info("version %s is champion, approved by %s", new.version, new.approved_by)


if __name__ == "__main__":
    run(main)
