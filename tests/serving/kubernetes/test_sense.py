"""What no schema can see: that ports, probes, variables, metrics, labels and secrets are those that there are."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.sdk import environment_variables as otel

from serving.app import create_app
from serving.options import load_options
from serving.upstream import CONNECTIONS
from tests.serving.conftest import RELEASE
from tests.serving.kubernetes.manifests import (
    FOLDER,
    OVERLAYS,
    container,
    environment,
    named,
    of,
    secrets,
    workloads,
)
from tests.serving.test_watch import names
from thumbwheel.engine import engine_command
from thumbwheel.settings import Settings, settings

POD = "app.kubernetes.io/name"
BENTOML = {"BENTOML_HOME", "BENTOML_DO_NOT_TRACK"}
VLLM = Path(str(importlib.util.find_spec("vllm").submodule_search_locations[0]))  # type: ignore[union-attr, index]
BOTH = ("chat", "engine")
each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)
each_pod = pytest.mark.parametrize("pod", BOTH)


def fields(path: Path, *classes: str) -> set[str]:
    """Return the annotated fields of some classes, without importing what they are in."""
    found = {node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)}
    bodies = [node.body for node in found if node.name in classes]
    return {one.target.id for body in bodies for one in body
            if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)}  # fmt: skip


def queries(overlay: str) -> list[str]:
    triggers = [trigger for one in of(overlay, "ScaledObject") for trigger in one["spec"]["triggers"]]
    return [trigger["metadata"]["query"] for trigger in triggers]


@each_overlay
@each_pod
def test_every_variable_is_one_that_something_reads(overlay: str, pod: str) -> None:
    given = {**environment(overlay, pod), **secrets(overlay, pod)}
    ours = {f"THUMBWHEEL_{field.upper()}" for field in Settings.model_fields}
    theirs = {value for value in vars(otel).values() if isinstance(value, str)}
    engine = set(re.findall(r"\"(VLLM_\w+)\":", (VLLM / "envs.py").read_text())) | {"HF_HOME"}
    assert given.keys() - ours - theirs - BENTOML - (engine if pod == "engine" else set()) == set()


@each_overlay
@each_pod
def test_our_settings_can_be_read_from_the_variables(overlay: str, pod: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**environment(overlay, pod), **dict.fromkeys(secrets(overlay, pod), "x")}.items():
        monkeypatch.setenv(name, value)
    found = Settings()
    assert found.accelerator == ("cuda" if pod == "engine" and overlay != "base" else "cpu")
    assert str(found.state_dir) == "/var/lib/thumbwheel"


@each_overlay
def test_what_is_secret_is_a_reference_that_an_external_secret_fills(overlay: str) -> None:
    assert of(overlay, "Secret") == []
    filled = {one["spec"]["target"]["name"]: {entry["secretKey"] for entry in one["spec"]["data"]}
              for one in of(overlay, "ExternalSecret")}  # fmt: skip
    for reference in secrets(overlay, "chat").values():
        assert reference["key"] in filled[reference["name"]]
    hidden = {f"THUMBWHEEL_{name.upper()}" for name, field in Settings.model_fields.items()
              if "Secret" in str(field.annotation) or name.endswith(("_key", "password", "token"))} - {
        "THUMBWHEEL_USER_KEY"}  # fmt: skip
    for pod in BOTH:
        assert hidden & environment(overlay, pod).keys() == set()
        assert not any("@" in value or "://:" in value for value in environment(overlay, pod).values())


@each_overlay
def test_the_keys_of_users_and_callers_are_one_for_all_pods_and_mounted_where_they_are_read(overlay: str) -> None:
    mounts = {mount["name"]: mount for mount in container(overlay, "chat")["volumeMounts"]}
    (volume,) = [one for one in workloads(overlay)["chat"]["spec"]["volumes"] if one["name"] == "keys"]
    (filled,) = [one for one in of(overlay, "ExternalSecret")
                 if one["spec"]["target"]["name"] == volume["secret"]["secretName"]]  # fmt: skip
    files = {f"{mounts['keys']['mountPath']}/{entry['secretKey']}" for entry in filled["spec"]["data"]}
    given = environment(overlay, "chat")
    assert {given["THUMBWHEEL_USER_KEY"], given["THUMBWHEEL_API_KEYS"]} == files


@each_overlay
@each_pod
def test_pods_write_only_where_a_volume_is_mounted(overlay: str, pod: str) -> None:
    one, given = container(overlay, pod), environment(overlay, pod)
    assert one["securityContext"]["readOnlyRootFilesystem"] is True
    writable = [Path(mount["mountPath"]) for mount in one["volumeMounts"] if not mount.get("readOnly")]
    places = [given["THUMBWHEEL_STATE"], "/tmp", *(f"{given['BENTOML_HOME']}/{n}" for n in ("tmp", "bentos", "envs"))]
    places += [given[name] for name in ("THUMBWHEEL_OUTBOX", "HF_HOME", "VLLM_CACHE_ROOT") if name in given]
    for place in map(Path, places):
        assert any(place == mount or mount in place.parents for mount in writable), place


@each_overlay
def test_an_event_outlives_its_pod(overlay: str) -> None:
    chat = named(overlay, "StatefulSet", "chat")["spec"]
    (claim,) = chat["volumeClaimTemplates"]
    (mount,) = [m for m in container(overlay, "chat")["volumeMounts"] if m["name"] == claim["metadata"]["name"]]
    assert environment(overlay, "chat")["THUMBWHEEL_OUTBOX"].startswith(f"{mount['mountPath']}/")
    assert set(chat["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}


@each_overlay
@each_pod
def test_containers_may_do_nothing_that_they_need_not(overlay: str, pod: str) -> None:
    spec, one = workloads(overlay)[pod]["spec"], container(overlay, pod)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["automountServiceAccountToken"] is False
    assert one["securityContext"]["allowPrivilegeEscalation"] is False
    assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"cpu", "memory"} <= one["resources"]["requests"].keys()
    assert "memory" in one["resources"]["limits"]
    assert re.fullmatch(r"[\w./-]+@sha256:[0-9a-f]{64}", one["image"])


@each_overlay
@each_pod
def test_probes_ask_paths_that_are_answered(overlay: str, pod: str) -> None:
    answered = {getattr(route, "path", "") for route in create_app(lambda: None).routes}  # type: ignore[arg-type, return-value]
    if pod == "engine":
        answered = {"/health"}  # what `serving.upstream` asks, too
    one = container(overlay, pod)
    ports = {port["name"] for port in one["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert one[probe]["httpGet"]["path"] in answered
        assert one[probe]["httpGet"]["port"] in ports


@each_overlay
def test_the_engine_has_as_long_to_start_as_the_wheel_gives_it(overlay: str) -> None:
    probe = container(overlay, "engine")["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= Settings.model_fields["engine_start_seconds"].default


@each_overlay
@each_pod
def test_a_pod_that_stops_ends_its_longest_answer_first(overlay: str, pod: str) -> None:
    options = yaml.safe_load(next(iter(named(overlay, "ConfigMap", "serving")["data"].values())))
    longest = options["admission"]["answer_seconds"]
    sleep = container(overlay, pod)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert workloads(overlay)[pod]["spec"]["terminationGracePeriodSeconds"] > sleep + longest
    given = container(overlay, pod)["args"] + shlex.split(
        environment(overlay, pod).get("THUMBWHEEL_ENGINE_ARGUMENTS", "").replace(" 240", "=240")
    )
    (drain,) = [word for word in given if "shutdown" in word]
    assert int(drain.partition("=")[2]) >= longest


@each_overlay
def test_the_chat_listens_where_it_says_and_asks_the_engine_where_that_listens(overlay: str) -> None:
    ports = {pod: container(overlay, pod)["ports"][0]["containerPort"] for pod in BOTH}
    arguments = container(overlay, "chat")["args"]
    assert f"--port={ports['chat']}" in arguments
    (service,) = [one for one in of(overlay, "Service") if one["metadata"]["name"] == "engine"]
    assert f"--depends=Engine=http://engine:{service['spec']['ports'][0]['port']}" in arguments
    assert ports["engine"] == Settings.model_fields["engine_port"].default
    assert "--host=0.0.0.0" in arguments


@each_overlay
def test_the_engines_arguments_are_vllms_and_reach_it_last(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(overlay, "engine").items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    command = engine_command(Path("/bundle"), RELEASE.model, 8701, RELEASE.window, RELEASE.max_streams)
    settings.cache_clear()
    given = shlex.split(environment(overlay, "engine")["THUMBWHEEL_ENGINE_ARGUMENTS"])
    assert command[-len(given) :] == given
    assert command[len(command) - command[::-1].index("--host")] == "0.0.0.0"
    known = fields(VLLM / "engine/arg_utils.py", "EngineArgs", "AsyncEngineArgs")
    for path in (VLLM / "entrypoints").rglob("cli_args.py"):
        known |= fields(path, "BaseFrontendArgs", "FrontendArgs")
    assert {word[2:].replace("-", "_") for word in command if word.startswith("--")} <= known


@each_overlay
def test_every_selector_selects_a_pod_and_every_target_is_there(overlay: str) -> None:
    pods = [template["metadata"]["labels"] for template in workloads(overlay).values()]
    wanted = [one["spec"]["selector"] for one in of(overlay, "Service")]
    wanted += [one["spec"]["selector"]["matchLabels"] for one in of(overlay, "PodDisruptionBudget", "PodMonitor")]
    wanted += [one["spec"]["selector"]["matchLabels"] for one in of(overlay, "Deployment", "StatefulSet")]
    wanted += [one["spec"]["podSelector"].get("matchLabels", {}) for one in of(overlay, "NetworkPolicy")]
    wanted += [spread["labelSelector"]["matchLabels"] for template in workloads(overlay).values()
               for spread in template["spec"]["topologySpreadConstraints"]]  # fmt: skip
    assert len(wanted) > 12
    for labels in wanted:
        assert any(labels.items() <= pod.items() for pod in pods), labels
    there = {
        (one["apiVersion"], one["kind"], one["metadata"]["name"]) for one in of(overlay, "Deployment", "StatefulSet")
    }
    targets = [one["spec"]["scaleTargetRef"] for one in of(overlay, "ScaledObject")]
    assert {(one["apiVersion"], one["kind"], one["name"]) for one in targets} == there
    assert {one["metadata"]["name"] for one in of(overlay, "PodDisruptionBudget")} == {name for _, _, name in there}
    assert of(overlay, "HorizontalPodAutoscaler") == []


@each_overlay
def test_only_the_chat_is_reached_from_outside_and_only_it_reaches_the_engine(overlay: str) -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in of(overlay, "NetworkPolicy")}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    gateway = {"namespaceSelector": {"matchLabels": {"thumbwheel.gateway": "true"}}}
    entered = [name for name, spec in policies.items() for rule in spec.get("ingress", []) if gateway in rule["from"]]
    assert entered == ["chat"]
    (rule,) = policies["engine"]["ingress"]
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert rule["from"] == [{"podSelector": {"matchLabels": {POD: "chat"}}}, monitoring]


@each_overlay
def test_the_ways_that_are_open_lead_to_where_the_settings_point(overlay: str) -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in of(overlay, "NetworkPolicy")}
    opened = {rule["ports"][0]["port"] for rule in policies["chat"]["egress"]}
    text = json.dumps([environment(overlay, "chat"), container(overlay, "chat")["args"]])
    named_ports = {int(port) for port in re.findall(r"[a-z]:(\d{4,5})\b", text)}
    assert opened - named_ports == {6379, 9042}  # Redis' address is a secret, Cassandra's port its driver's own
    assert named_ports <= opened
    for pod in BOTH:
        (rule,) = policies[pod]["ingress"]
        assert rule["ports"] == [{"protocol": "TCP", "port": container(overlay, pod)["ports"][0]["containerPort"]}]


@each_overlay
def test_what_is_scaled_by_is_measured(overlay: str) -> None:
    engines = set(re.findall(r"name=\"(vllm:\w+)\"", (VLLM / "v1/metrics/loggers.py").read_text()))
    for query in queries(overlay):
        assert set(re.findall(r"thumbwheel_\w+", query)) <= names()
        assert set(re.findall(r"vllm:\w+", query)) <= engines
    assert any("thumbwheel_waiting" in query for query in queries(overlay))
    assert any("DCGM_FI_DEV_GPU_UTIL" in query for query in queries(overlay)) == (overlay != "base")


@each_overlay
def test_what_is_scaled_by_can_be_asked_of_prometheus(overlay: str, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    rules = [{"record": f"scale:{number}", "expr": query} for number, query in enumerate(queries(overlay))]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "scaling", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", str(tmp_path / "rules.yaml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@each_overlay
def test_pods_are_added_before_one_is_full_which_no_caller_can_do_and_answers_have_a_connection_each(
    overlay: str, tmp_path: Path
) -> None:
    (tmp_path / "serving.yaml").write_text(next(iter(named(overlay, "ConfigMap", "serving")["data"].values())))
    options = load_options(tmp_path / "serving.yaml")
    places = options.admission.answers
    (trigger,) = named(overlay, "ScaledObject", "chat")["spec"]["triggers"]
    assert places / 2 < float(trigger["metadata"]["threshold"]) < places
    assert places <= CONNECTIONS
    assert max(tier.at_once for tier in options.limits.tiers.values()) < places


def test_gpus_are_asked_for_where_they_are_and_nowhere_else() -> None:
    for overlay in OVERLAYS:
        spec, one = workloads(overlay)["engine"]["spec"], container(overlay, "engine")
        limits, requests = one["resources"]["limits"], one["resources"]["requests"]
        has = overlay != "base"
        assert (limits.get("nvidia.com/gpu"), requests.get("nvidia.com/gpu")) == (("1", "1") if has else (None, None))
        assert any(t["key"] == "nvidia.com/gpu" for t in spec.get("tolerations", [])) == has
        assert ("nvidia.com/gpu.present" in spec.get("nodeSelector", {})) == has
        assert "tolerations" not in workloads(overlay)["chat"]["spec"]


def test_every_file_of_the_folder_is_used() -> None:
    lists: dict[str, Any] = {str(p.parent): yaml.safe_load(p.read_text()) for p in FOLDER.rglob("kustomization.yaml")}
    for path in FOLDER.rglob("*"):
        if path.suffix in (".yaml", ".env") and path.name not in ("kustomization.yaml", "cluster.yaml"):
            assert path.name in json.dumps(lists[str(path.parent)]), path
