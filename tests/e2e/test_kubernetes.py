"""The manifests of deploy/k8s: the fields are Kubernetes' own, and what they say fits together and fits the program."""
import copy
import os
import re

import jsonschema
import pytest
import yaml

from lib import media
from lib.process import run_tool
from lib.sluice import ANY_PORTS, BINARY, Server

FOLDER = os.path.join(media.ROOT, "deploy", "k8s")
NAME = "app.kubernetes.io/name"


def load(path):
    with open(path) as file:
        return [d for d in yaml.safe_load_all(file) if d is not None]


SCHEMA = load(os.path.join(os.path.dirname(__file__), "lib", "kubernetes_schema.yaml"))[0]
FILES = sorted(f for f in os.listdir(FOLDER) if f.endswith(".yaml"))
DOCUMENTS = [(file, d) for file in FILES for d in load(os.path.join(FOLDER, file))]
OBJECTS = [d for _, d in DOCUMENTS if d["kind"] != "Kustomization"]
WORKLOADS = [d for d in OBJECTS if d["kind"] in ("Deployment", "StatefulSet")]


def of_kind(kind, name):
    return next(d for d in OBJECTS if d["kind"] == kind and d["metadata"]["name"] == name)


def pod(workload):
    return workload["spec"]["template"]["spec"]


def containers():
    """(workload, container) of all that run our program."""
    return [(w, c) for w in WORKLOADS for c in pod(w)["containers"] if c["image"].startswith("sluice")]


def variables(container):
    return {v["name"]: v.get("value") for v in container.get("env", [])}


def seconds(text):
    return {"s": 1, "m": 60, "h": 3600}[text[-1]] * float(text[:-1])


def settings(role):
    """The variables that the program knows, by its own help."""
    code, text = run_tool([BINARY, role, "--help"])
    assert code == 0, text
    prefix = {"proxy": "PROXY_", "origin": "SLUICE_ORIGIN_"}[role]
    return {prefix + flag.upper().replace("-", "_") for flag in re.findall(r"^\s+--([a-z][a-z0-9-]*)", text, re.MULTILINE)}


def validate(document):
    jsonschema.Draft202012Validator(SCHEMA).validate(document)


@pytest.mark.parametrize("file,document", DOCUMENTS, ids=[f"{f}-{d['kind']}-{d.get('metadata', {}).get('name', '')}" for f, d in DOCUMENTS])
def test_schema(file, document):
    # Of the kinds, that one: its errors are of use, those of oneOf are not.
    kind = {"$ref": f"#/$defs/{document['kind']}", "$defs": SCHEMA["$defs"]}
    jsonschema.Draft202012Validator(kind).validate(document)
    validate(document)


def test_the_schema_finds_what_is_wrong():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    good = of_kind("Deployment", "sluice-proxy")

    def broken(change):
        document = copy.deepcopy(good)
        change(document, pod(document)["containers"][0])
        with pytest.raises(jsonschema.ValidationError):
            validate(document)
    broken(lambda d, c: d.update(kind="Deploymnet"))
    broken(lambda d, c: d["spec"].update(replica=2))
    broken(lambda d, c: d["spec"].pop("selector"))
    broken(lambda d, c: pod(d).update(terminationGracePeriod=5))
    broken(lambda d, c: pod(d).update(terminationGracePeriodSeconds="5"))
    broken(lambda d, c: c["env"][0].update(value=1935))
    broken(lambda d, c: c["env"][0].pop("value"))
    broken(lambda d, c: c["ports"][0].update(containerPort=70000))
    broken(lambda d, c: c["resources"]["requests"].update(memory="512MB"))
    broken(lambda d, c: c["readinessProbe"].pop("httpGet"))


def test_every_file_is_part_of_the_whole():
    whole = next(d for _, d in DOCUMENTS if d["kind"] == "Kustomization")
    assert sorted(whole["resources"]) == [f for f in FILES if f != "kustomization.yaml"]
    assert whole["namespace"] == next(d for d in OBJECTS if d["kind"] == "Namespace")["metadata"]["name"]
    names = [(d["kind"], d["metadata"]["name"]) for d in OBJECTS]
    assert len(names) == len(set(names))


def test_selectors_and_labels():
    labels = [w["spec"]["template"]["metadata"]["labels"] for w in WORKLOADS]

    def hits(selector):
        return [w for w, have in zip(WORKLOADS, labels) if selector.items() <= have.items()]
    for workload in WORKLOADS:
        assert hits(workload["spec"]["selector"]["matchLabels"]) == [workload]
        for spread in pod(workload).get("topologySpreadConstraints", []):
            assert hits(spread["labelSelector"]["matchLabels"]) == [workload]
    for document in OBJECTS:
        if document["kind"] == "Service":
            chosen = hits(document["spec"]["selector"])
            assert len(chosen) == 1, document["metadata"]["name"]
            offered = {p["name"] for c in pod(chosen[0])["containers"] for p in c["ports"]}
            assert {p["targetPort"] for p in document["spec"]["ports"]} <= offered
        if document["kind"] == "PodDisruptionBudget":
            chosen = hits(document["spec"]["selector"]["matchLabels"])
            assert len(chosen) == 1 and chosen[0]["spec"]["replicas"] > document["spec"]["maxUnavailable"]
        if document["kind"] == "StatefulSet":
            assert of_kind("Service", document["spec"]["serviceName"])["spec"]["clusterIP"] == "None"


def test_secrets():
    for workload in WORKLOADS:
        for container in pod(workload)["containers"]:
            for variable in container.get("env", []):
                reference = variable.get("valueFrom", {}).get("secretKeyRef")
                if reference:
                    assert reference["key"] in of_kind("Secret", reference["name"])["stringData"]
                else:
                    assert "PASSWORD" not in variable["name"] and "TOKEN" not in variable["name"], "a secret in plain text"


@pytest.mark.parametrize("workload,container", containers(), ids=[c["name"] for _, c in containers()])
def test_variables_are_settings(workload, container):
    """Every variable is one that this very binary knows, and its value is taken."""
    role = container["args"][0]
    known = settings(role)
    ours = {name: value for name, value in variables(container).items() if name.startswith(("PROXY_", "SLUICE_"))}
    assert ours and set(ours) <= known, sorted(set(ours) - known)


@pytest.mark.parametrize("workload,container", containers(), ids=[c["name"] for _, c in containers()])
def test_ports_and_probes(workload, container):
    """What the settings say is what the container, its probes and the services say."""
    values = variables(container)
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    for name, variable in {"rtmp": ("PROXY_RTMP_SERVER", "SLUICE_ORIGIN_RTMP"), "http": ("PROXY_HTTP_SERVER", "SLUICE_ORIGIN_HTTP"),
                           "http-api": ("PROXY_HTTP_API",), "system-api": ("PROXY_SYSTEM_API",), "api": ("SLUICE_ORIGIN_API",)}.items():
        said = [int(values[v]) for v in variable if v in values]
        assert said == ([ports[name]] if name in ports else []), name
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    assert container["livenessProbe"]["httpGet"]["path"] == "/api/v1/versions", "a proxy that stops lives"
    assert int(workload["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"]) in ports.values()


def test_time_to_stop():
    """Kubernetes kills after the grace period, preStop included: no sooner than the program would end by itself."""
    proxy = of_kind("Deployment", "sluice-proxy")
    container = pod(proxy)["containers"][0]
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep", "the image has no other program that we need"
    force, grace = (seconds(variables(container)[f"PROXY_{n}_QUIT_TIMEOUT"]) for n in ("FORCE", "GRACE"))
    assert grace < force
    assert pod(proxy)["terminationGracePeriodSeconds"] > float(command[1]) + force
    origin = of_kind("StatefulSet", "sluice-origin")
    own = variables(pod(origin)["containers"][0])
    assert pod(origin)["terminationGracePeriodSeconds"] > seconds(own["SLUICE_ORIGIN_GRACE_QUIT_TIMEOUT"])


def test_addresses():
    """Who is named by name is there, and internal ports stay inside."""
    values = variables(pod(of_kind("Deployment", "sluice-proxy"))["containers"][0])
    redis = of_kind("Service", values["PROXY_REDIS_HOST"])
    assert [p["port"] for p in redis["spec"]["ports"]] == [int(values["PROXY_REDIS_PORT"])]
    values = variables(pod(of_kind("StatefulSet", "sluice-origin"))["containers"][0])
    host, port = re.fullmatch(r"http://([^:/]+):(\d+)/api/v1/srs/register", values["SLUICE_ORIGIN_REGISTER"]).groups()
    api = of_kind("Service", host)
    assert int(port) in [p["port"] for p in api["spec"]["ports"]]
    assert api["spec"]["publishNotReadyAddresses"], "proxies that wait for origins could never be told of them"
    for document in OBJECTS:
        if document["kind"] == "Service" and document["spec"].get("type") == "LoadBalancer":
            assert {p["name"] for p in document["spec"]["ports"]} <= {"rtmp", "http"}
            assert document["spec"]["externalTrafficPolicy"] == "Local"


def test_the_program_starts_with_these_settings(world):
    """Of both roles, with ports of the kernel's choice, and without a Redis: that is another test's."""
    here = {"PROXY_LOAD_BALANCER_TYPE": "memory", "PROXY_WAIT_ORIGINS": "0", "SLUICE_ORIGIN_ADVERTISE": "127.0.0.1",
            "SLUICE_ORIGIN_SERVER_ID": "sluice-origin-0"}
    for _, container in containers():
        role = container["args"][0]
        env = {k: here.get(k, v) for k, v in variables(container).items() if v is not None or k in here}
        local = ["--rtmp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--api", "127.0.0.1:0", "--register", ""]
        server = world.own(Server(role, ANY_PORTS if role == "proxy" else local, world.folder, env=env)).ready()
        assert not server.find("configuration"), "warnings about settings"
