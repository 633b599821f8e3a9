#!/usr/bin/env python3
"""docker compose from up to down: what is published, the split, exact counts through the controller's death, the winner, nothing left."""

import base64
import collections
import http.client
import json
import os
import secrets
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "envoy-config" / "compose"
PORTS = ["SHOP_PORT", "WEIR_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT"]
BEGAN = time.monotonic()


def say(text):
    print(f"  {time.monotonic() - BEGAN:5.1f} s  {text}", flush=True)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def run(*command):
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
    return done.stdout


def until(what, holds, limit=60):
    end = time.monotonic() + limit
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < end, f"not within {limit} s: {what}"
        time.sleep(0.5)


class Project:
    def __init__(self):
        self.name = f"weirtest{secrets.token_hex(3)}"
        self.ports = {name: free_port() for name in PORTS}
        os.environ.update({name: str(port) for name, port in self.ports.items()})
        self.compose = [*shlex.split(os.environ["COMPOSE"]), "-p", self.name]

    def do(self, *arguments):
        return run(*self.compose, *arguments)

    def container(self, service):
        return self.do("ps", "-q", service).strip()

    def inspect(self, service, field):
        return run("docker", "inspect", "-f", "{{" + field + "}}", self.container(service)).strip()

    def left(self):
        label = f"label=com.docker.compose.project={self.name}"
        kinds = [("docker", "ps", "-aq"), ("docker", "volume", "ls", "-q"), ("docker", "network", "ls", "-q")]
        return "".join(run(*kind, "--filter", label) for kind in kinds)

    def visit(self, connection):
        connection.request("GET", "/", headers={"host": "shop.example"})
        answer = connection.getresponse()
        answer.read()
        return answer.headers.get("x-served-by")

    def visits(self, count):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["SHOP_PORT"], timeout=10)
        return collections.Counter(self.visit(connection) for _ in range(count))

    def experiment(self):
        return json.loads(self.do("run", "--rm", "weir", "get", "shop", "-o", "json"))

    def counted(self):
        """Exposures that the controller knows of, by version."""
        versions = (self.experiment().get("assessment") or {"versions": []})["versions"]
        return {version["name"]: version["live"]["assigned"] for version in versions}

    def metric(self, query):
        url = f"http://127.0.0.1:{self.ports['PROMETHEUS_PORT']}/api/v1/query?" + urllib.parse.urlencode({"query": query})
        with urllib.request.urlopen(url, timeout=10) as answer:
            return [float(one["value"][1]) for one in json.load(answer)["data"]["result"]]


def what_is_published(project):
    ports = run("docker", "ps", "--filter", f"label=com.docker.compose.project={project.name}", "--format", "{{.Ports}}")
    published = [one for line in ports.splitlines() for one in line.split(", ") if "->" in one]
    assert sorted(one.partition("->")[0] for one in published) == sorted(f"127.0.0.1:{port}" for port in project.ports.values()), published
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{project.ports['WEIR_PORT']}/v1/experiments", timeout=5)
        raise AssertionError("the controller answers without a token")
    except urllib.error.HTTPError as error:
        assert error.code == 401, error
    for service, path, part in [("WEIR_PORT", "/", "<html"), ("GRAFANA_PORT", "/api/health", "ok")]:
        with urllib.request.urlopen(f"http://127.0.0.1:{project.ports[service]}{path}", timeout=5) as answer:
            assert part in answer.read().decode(), path
    # Grafana's first administrator has a password that everybody knows. A stand-in has no users: there, what it is told counts.
    known = {"authorization": "Basic " + base64.b64encode(b"admin:admin").decode()}
    request = urllib.request.Request(f"http://127.0.0.1:{project.ports['GRAFANA_PORT']}/api/user", headers=known)
    try:
        urllib.request.urlopen(request, timeout=5)
        raise AssertionError("Grafana knows admin:admin")
    except urllib.error.HTTPError as error:
        assert error.code in (401, 403, 404), error
    told = json.loads(project.inspect("grafana", "json .Config.Env"))
    assert {"GF_AUTH_BASIC_ENABLED=false", "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION=true"} <= set(told), told
    token = project.do("run", "--rm", "--entrypoint", "cat", "prepare", "/operator/token").strip()
    request = urllib.request.Request(f"http://127.0.0.1:{project.ports['WEIR_PORT']}/v1/experiments", headers={"authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert json.load(answer), "no experiment"


def command_line_is_quiet(project):
    """As an operator sees it: nothing warns of what cannot be otherwise here."""
    done = subprocess.run([*project.compose, "run", "--rm", "weir", "get"], cwd=FOLDER, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "shop" in done.stdout and "warning" not in said, said
    assert "warning" not in project.do("logs", "--no-color", "experiment")


def crash(project):
    """Kills the controller's process, as the kernel would: Docker brings it back. Without the right to, its container."""
    pid, restarts = int(project.inspect("controller", ".State.Pid")), int(project.inspect("controller", ".RestartCount"))
    if os.geteuid() == 0:
        os.kill(pid, 9)
        return lambda: int(project.inspect("controller", ".RestartCount")) > restarts
    project.do("kill", "controller")
    return lambda: project.do("start", "controller") is not None


def main(project):
    project.do("up", "-d", "--scale", "users=0")
    say("up: each part was healthy before the next began")
    for service in ["controller", "envoy", "shop-v1", "shop-v2", "shop-v3"]:
        assert project.inspect(service, ".State.Health.Status") == "healthy", service
    for service in ["prometheus", "grafana"]:
        until(f"{service} is healthy", lambda: project.inspect(service, ".State.Health.Status") == "healthy")
    what_is_published(project)
    command_line_is_quiet(project)
    say("published: the shop and the dashboards, on loopback, the controller for those with a token")

    until("the split begins", lambda: set(project.visits(40)) >= {"v1", "v2", "v3"})
    before = until("all is counted", lambda: (lambda one, two: one == two and sum(one.values()))(project.counted(), (time.sleep(3), project.counted())[1]))
    sent = project.visits(400)
    # v3 is bad: a few failures among its first visitors roll it back, sometimes while these are sent.
    out = {version["name"] for version in project.experiment()["assessment"]["versions"] if version["out"]}
    assert out <= {"v3"} and min(sent[version] for version in {"v1", "v2", "v3"} - out) > 60, (sent, out)
    say(f"the split: {dict(sent)}")
    back = crash(project)
    sent += project.visits(400)
    until("the controller is back", back)
    sent += project.visits(200)
    until("the controller is healthy", lambda: project.inspect("controller", ".State.Health.Status") == "healthy")
    until("every request is counted", lambda: sum(project.counted().values()) >= before + 1000)
    time.sleep(4)
    counted = project.counted()
    assert sum(counted.values()) == before + 1000, (counted, before)
    say(f"killed amid 1,000 requests: the controller is back, and has counted each once: {counted}")

    project.do("up", "-d")
    def concluded():
        phase = project.experiment()["state"]["phase"]
        return phase if "concluded" in json.dumps(phase).lower() else None
    phase = until("the experiment concludes", concluded, 150)
    until("the winner has all traffic", lambda: set(project.visits(50)) == {"v2"}, 15)
    say(f"v2 has won and all traffic: {phase}")
    until("Prometheus has seen it", lambda: project.metric('weir_experiment_weight{experiment="shop",version="v2"}') == [1.0], 30)
    assert project.metric("min(up)") == [1.0]
    assert project.metric('sum(weir_assigned_total{weir_experiment="shop"})')[0] > 1000
    say("Prometheus has it from the controller and from Envoy")
    # Compose kills after 10 s what does not end.
    asked = time.monotonic()
    project.do("stop", "shop-v2", "users")
    assert time.monotonic() - asked < 8, "whoever breaks a version waits for it"


if __name__ == "__main__":
    project = Project()
    try:
        main(project)
    except (AssertionError, OSError) as error:
        sys.stderr.write(subprocess.run([*project.compose, "logs", "--tail", "30"], cwd=FOLDER, capture_output=True, text=True).stdout[-8000:])
        subprocess.run([*project.compose, "down", "-v", "-t", "2"], cwd=FOLDER, capture_output=True)
        sys.exit(f"  failed: {error}")
    project.do("down", "-v", "-t", "5")
    if project.left():
        sys.exit(f"  failed: down has left {project.left()}")
    say("down: no container, volume or network is left")
