"""The manifests fit the schemas of Kubernetes and of the custom resources, and say again what stands elsewhere."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from serving.kubernetes.__main__ import changed, written
from serving.options import SHIPPED, load_options
from tests.serving.kubernetes.manifests import FOLDER, OVERLAYS, named, of, rendered
from tests.serving.test_watch import WATCH
from thumbwheel.errors import ParamsError

CRDS: dict[str, Any] = yaml.safe_load((FOLDER.parents[1] / "tests/serving/kubernetes/crds.yaml").read_text())
OLDEST, NEWEST = "1.30", "1.37"
"""The oldest Kubernetes whose pods may sleep before they stop, and the newest with published schemas."""
NO_RESOURCES = ("kustomization.yaml", "serving.yaml")


def check(manifest: dict[str, Any], version: str) -> None:
    """Raise where a resource does not fit its schema, or has a field that the schema does not know."""
    schema = CRDS.get(f"{manifest['apiVersion']}/{manifest['kind']}")
    if schema is None:
        kubernetes_validate.validate(manifest, version, strict=True)
    else:
        assert manifest.keys() == {"apiVersion", "kind", "metadata", "spec"}
        jsonschema.validate(manifest["spec"], schema)


def distinct(*kinds: str) -> list[dict[str, Any]]:
    """Return the resources of all overlays, equal ones once."""
    found = {json.dumps(one, sort_keys=True) for overlay in OVERLAYS for one in rendered(overlay)}
    return [one for one in map(json.loads, sorted(found)) if not kinds or one["kind"] in kinds]


def test_every_rendered_resource_fits_its_schema() -> None:
    assert len(distinct()) > len(rendered("base")) > 20
    for manifest in distinct():
        check(manifest, NEWEST)


def test_the_pods_fit_the_oldest_kubernetes_that_they_are_meant_for() -> None:
    for manifest in distinct("Deployment", "StatefulSet"):
        check(manifest, OLDEST)


@pytest.mark.skipif(shutil.which("kubectl") is not None, reason="kubectl renders them, and what it renders is checked")
def test_every_resource_of_the_base_fits_its_schema_as_it_stands_in_its_file() -> None:
    sources = [path for path in sorted((FOLDER / "base").glob("*.yaml")) if path.name not in NO_RESOURCES]
    for manifest in (one for path in sources for one in yaml.safe_load_all(path.read_text())):
        check(manifest, NEWEST)


@pytest.mark.parametrize("schema", CRDS.values(), ids=CRDS)
def test_the_schemas_of_custom_resources_are_schemas(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("kind", "name"), [("ScaledObject", "chat"), ("StatefulSet", "chat"), ("Deployment", "engine")]
)
def test_a_field_that_no_schema_knows_is_found(kind: str, name: str) -> None:
    broken = deepcopy(named("base", kind, name))
    broken["spec"]["replicsa"] = 3
    with pytest.raises(jsonschema.ValidationError, match="replicsa"):
        check(broken, NEWEST)


def test_what_repeats_other_files_is_as_they_are_now() -> None:
    for name, text in written().items():
        assert (FOLDER / name).read_text() == text, "run: python -m serving.kubernetes"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_cluster_has_the_alert_rules_of_the_watch(overlay: str) -> None:
    (rules,) = of(overlay, "PrometheusRule")
    assert rules["spec"] == yaml.safe_load((WATCH / "alerts.yaml").read_text())


@pytest.mark.parametrize("name", ["base/serving.yaml", "overlays/5k/serving.yaml"])
def test_the_service_can_use_the_options_of_a_cluster_and_no_state_of_them_is_a_pods_own(name: str) -> None:
    options, shipped = load_options(FOLDER / name), load_options(SHIPPED)
    assert options.guard == shipped.guard
    stores = options.limits.store, options.memory.session.store, options.cache.store, options.memory.history.store
    assert stores == ("redis", "redis", "redis", "cassandra")


def test_an_option_that_the_service_does_not_have_is_refused() -> None:
    with pytest.raises(ParamsError, match=r"memory\.sesion"):
        changed({"memory": {"session": 1}}, {"memory": {"sesion": 2}})
