"""Who may talk to whom in the rendered manifests: Services, network policies, and the way in on GKE."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from scripts.manifests import rendering
from tests.support.rendered_manifests import deployed, everything, full, overlay, variables
from tests.support.server import IRIS, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.rendered_manifests import Manifest, Pod, Rendering

NAME = "app.kubernetes.io/name"


class Arrow(NamedTuple):
    """One way that traffic may take."""

    source: str
    target: str
    port: int


def selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    """Return whether a LabelSelector takes these labels; only the forms that are used here are known."""
    assert selector.keys() <= {"matchLabels", "matchExpressions"}, selector
    wanted = {key: [value] for key, value in selector.get("matchLabels", {}).items()}
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In", expression
        wanted[expression["key"]] = expression["values"]
    return all(labels.get(key) in values for key, values in wanted.items())


def arrows(made: Rendering, direction: str) -> Iterator[Arrow]:
    """Yield the ways between our pods that the policies of one direction (ingress, egress) open."""
    peers = {"ingress": "from", "egress": "to"}[direction]
    for policy in made.kind("NetworkPolicy"):
        spec = policy["spec"]
        assert direction not in spec or direction.capitalize() in spec["policyTypes"], rendering.name_of(policy)
        for rule in spec.get(direction, []):
            for peer in rule.get(peers, []):
                if peer.keys() != {"podSelector"}:
                    continue  # outside of the namespace
                for own in made.pods():
                    if not selects(spec["podSelector"], own.labels):
                        continue
                    for other in made.pods():
                        if selects(peer["podSelector"], other.labels):
                            ends = (other, own) if direction == "ingress" else (own, other)
                            for port in rule["ports"]:
                                yield Arrow(ends[0].labels[NAME], ends[1].labels[NAME], port["port"])


def outside(made: Rendering, pod: Pod, direction: str) -> Iterator[tuple[Manifest, Manifest]]:
    """Yield each (peer, port) beyond the namespace that a policy opens for a pod; no peer at all is {}."""
    peers = {"ingress": "from", "egress": "to"}[direction]
    for policy in made.kind("NetworkPolicy"):
        if selects(policy["spec"]["podSelector"], pod.labels):
            for rule in policy["spec"].get(direction, []):
                for peer in rule.get(peers, [{}]):
                    if peer.keys() != {"podSelector"}:
                        for port in rule["ports"]:
                            yield peer, port


def test_services_reach_pods() -> None:
    """Every Service selects the pods of exactly one workload, at a port that its containers name."""
    for made in everything():
        for service in made.kind("Service"):
            spec = service["spec"]
            assert spec.get("type", "ClusterIP") == "ClusterIP"
            (pod,) = [pod for pod in made.pods() if selects({"matchLabels": spec["selector"]}, pod.labels)]
            for port in spec["ports"]:
                assert pod.ports()[port["targetPort"]] == port["port"], f"{made.name}: {rendering.name_of(service)}"


def test_workloads_and_budgets_select_their_pods() -> None:
    """Workloads select their own pods and no others, and every disruption budget is somebody's."""
    for made in everything():
        for pod in made.pods():
            if pod.workload["kind"] == "CronJob":
                continue  # it makes its pods' selector itself
            selected = [one for one in made.pods() if selects(pod.workload["spec"]["selector"], one.labels)]
            assert [one.name for one in selected] == [pod.name], made.name
        for budget in made.kind("PodDisruptionBudget"):
            assert any(selects(budget["spec"]["selector"], pod.labels) for pod in made.pods()), made.name


def test_nothing_is_open_by_default() -> None:
    """One policy denies every pod all traffic in both directions; the others only open arrows."""
    for made in everything():
        spec = made.one("NetworkPolicy", "default-deny")["spec"]
        assert spec == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        for policy in made.kind("NetworkPolicy"):
            for direction in ("ingress", "egress"):
                for rule in policy["spec"].get(direction, []):
                    assert rule["ports"], f"{rendering.name_of(policy)}: ports are named"


def test_exactly_these_arrows_exist() -> None:
    """With all components: who calls whom is this list, and so Loki and Tempo hear the Collector and Grafana alone."""
    wanted = {
        Arrow("client", "predictor", 8000),
        Arrow("client", "predictor", 8001),
        Arrow("predictor", "collector", 4318),
        Arrow("collector", "loki", 3100),
        Arrow("collector", "tempo", 4318),
        Arrow("grafana", "loki", 3100),
        Arrow("table", "loki", 3100),
        Arrow("verify", "loki", 3100),
        Arrow("grafana", "tempo", 3200),
    }
    for name in rendering.overlays():
        assert set(arrows(full(name), "ingress")) == set(arrows(full(name), "egress")) == wanted


def test_every_arrow_has_both_ends() -> None:
    """In every combination: what one side may send the other may receive, at a port on which it listens."""
    for made in everything():
        assert set(arrows(made, "ingress")) == set(arrows(made, "egress")), made.name
        for arrow in arrows(made, "egress"):
            assert arrow.port in made.pod(arrow.target).ports().values(), f"{made.name}: {arrow}"


def test_addresses_lead_along_arrows() -> None:
    """The server's endpoint is a Service that is there, at its port, and the policies let the server reach it."""
    for made in everything():
        address = urlsplit(variables(made.pod("predictor").spec["containers"][0])["OTEL_EXPORTER_OTLP_ENDPOINT"])
        service = made.one("Service", str(address.hostname))
        assert service["spec"]["internalTrafficPolicy"] == "Local"
        assert address.port in [port["port"] for port in service["spec"]["ports"]]
        assert Arrow("predictor", str(address.hostname), int(address.port or 0)) in set(arrows(made, "egress"))


def test_what_leaves_the_namespace() -> None:
    """Pods ask DNS, with tempo the Collector the API server, with model-download the server a store; no more leaves."""
    for made in deployed():
        for pod in made.pods():
            ports = {(port["protocol"], port["port"]) for _, port in outside(made, pod, "egress")}
            name = pod.labels[NAME]
            dns = {("UDP", 53), ("TCP", 53)} if name not in {"loki", "tempo"} else set()
            api = {("TCP", 443), ("TCP", 6443), ("TCP", 8443)} if name == "collector" else set()
            store = {("TCP", 443)} if any("rclone" in one["image"] for one in pod.containers) else set()
            assert ports == dns | api | store, f"{made.name}: {pod.name}"


def test_who_comes_from_outside() -> None:
    """On GKE Google's front ends and health checks reach the server, a Prometheus its metrics; nobody else comes."""
    google = {"35.191.0.0/16", "130.211.0.0/22"}
    for name, wanted in {"minikube": set[str](), "gke": google}.items():
        for pod in full(name).pods():
            peers = [(peer, port["port"]) for peer, port in outside(full(name), pod, "ingress")]
            scrapes = [(peer, port) for peer, port in peers if "ipBlock" not in peer]
            prometheus = {"namespaceSelector": {}, "podSelector": {"matchLabels": {NAME: "prometheus"}}}
            assert scrapes == ([(prometheus, 9464)] if pod.labels[NAME] == "predictor" else [])
            came = [(peer["ipBlock"]["cidr"], port) for peer, port in peers if "ipBlock" in peer]
            assert {cidr for cidr, _ in came} == (wanted if pod.labels[NAME] == "predictor" else set())
            assert {port for _, port in came} <= {8000}


def public_paths() -> set[str]:
    """Return the paths of docs/http.md that are for everybody: no probes, no feedback, no page, no control of models.

    Of the calls that name a model, those of the model that is deployed, without a version.
    """
    private = {"/livez", "/readyz", "/feedback", "/feedback/{job_id}", "/", "/page/events", "/page/{file}"}
    calls = re.findall(r"^\| `(?:GET|POST) (/\S*)` \|", (ROOT / "docs" / "http.md").read_text(), re.MULTILINE)
    assert private < set(calls)
    inside = re.compile(r"/v2/(?:health|repository)/.*|.*/ready|.*/\{version\}.*|/v1/models/\{model\}")
    return {path.replace("{model}", IRIS.name) for path in set(calls) - private if not inside.fullmatch(path)}


def test_the_gateway_routes_the_public_calls_only() -> None:
    """On GKE exactly the documented calls are reached from outside, over HTTPS, and never a probe."""
    made = overlay("gke")
    (route,), (gateway,) = made.kind("HTTPRoute"), made.kind("Gateway")
    (rule,) = route["spec"]["rules"]
    matches: list[dict[str, Any]] = rule["matches"]
    assert all(match.keys() == {"path"} and match["path"]["type"] == "Exact" for match in matches)
    assert sorted(match["path"]["value"] for match in matches) == sorted(public_paths())
    (backend,) = rule["backendRefs"]
    service = made.one("Service", backend["name"])
    assert backend["port"] in [port["port"] for port in service["spec"]["ports"]]
    (listener,) = gateway["spec"]["listeners"]
    assert (listener["protocol"], listener["port"]) == ("HTTPS", 443)
    assert route["spec"]["parentRefs"] == [{"name": gateway["metadata"]["name"], "sectionName": listener["name"]}]


def test_the_load_balancer_asks_what_the_kubelet_asks() -> None:
    """Google's health check asks the readiness probe's path and port, and gives up before the server has gone."""
    made = overlay("gke")
    (policy,) = made.kind("HealthCheckPolicy")
    check = policy["spec"]["default"]
    asked = check["config"]["httpHealthCheck"]
    pod = made.pod("predictor")
    (container,) = pod.spec["containers"]
    probe = container["readinessProbe"]["httpGet"]
    assert (asked["requestPath"], asked["port"]) == (probe["path"], pod.ports()[probe["port"]])
    assert policy["spec"]["targetRef"] == {"group": "", "kind": "Service", "name": "api"}
    gives_up = check["checkIntervalSec"] * check["unhealthyThreshold"] + check["timeoutSec"]
    assert gives_up < container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert check["timeoutSec"] <= check["checkIntervalSec"], "as the API server wants it"
