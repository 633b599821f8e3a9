"""What the test of metrics runs: three versions, the controller, Envoy, users, Prometheus. Owns processes, files and ports."""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "envoy-config" / "observability"
ROLES = ["proxy", "viewer", "operator"]


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def replaced(text, *pairs):
    """The text with each of these instead of each of those, all of which must be there."""
    for there, instead in pairs:
        text, count = re.subn(there, instead, text)
        assert count, f"nothing matches `{there}`"
    return text


class Stack:
    """Everything, with tokens, on free ports of loopback. Ends with its `with` block."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="weir-observability-"))
        self.tokens = {role: secrets.token_hex(16) for role in ROLES}
        self.running = {}
        self.shop, self.admin, self.controller, self.prometheus, *self.versions = free_ports(7)
        self.weir = os.environ["WEIR_BIN"]

    def __enter__(self):
        try:
            self.start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(list(self.running.values())):
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name, *command, **environment):
        log = open(self.folder / f"{name}.log", "ab")
        environment = {**os.environ, **environment}
        self.running[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=self.folder)

    def end(self, name, how=signal.SIGKILL):
        process = self.running.pop(name)
        process.send_signal(how)
        process.wait()

    def start_controller(self):
        self.start("weir", self.weir, "serve", "--listen", f"127.0.0.1:{self.controller}", "--ledger", "weir.db",
                   "--token-file", "tokens", "--decision-interval", "500ms")  # fmt: skip

    def start_all(self):
        (self.folder / "tokens").write_text("".join(f"{role}={token}\n" for role, token in self.tokens.items()))
        (self.folder / "viewer-token").write_text(self.tokens["viewer"])
        for version, port in zip(["v1", "v2", "v3"], self.versions):
            self.start(version, os.environ["WEIR_DEMO"], "service", "--version", version, "--listen", f"127.0.0.1:{port}")
        self.start_controller()
        v1, v2, v3 = self.versions
        envoy = (ROOT / "envoy-config" / "standalone" / "envoy.yaml").read_text()
        envoy = replaced(envoy, ("port_value: 10000", f"port_value: {self.shop}"), ("port_value: 9901", f"port_value: {self.admin}"),
                         ("port_value: 8181", f"port_value: {self.controller}"), ("port_value: 8001", f"port_value: {v1}"),
                         ("port_value: 8002", f"port_value: {v2}"), ("port_value: 8003", f"port_value: {v3}"),
                         ("filename: target/weir-filter.wasm", f"filename: {os.environ['WEIR_FILTER']}"),
                         ('"cluster": "weir-controller"', f'"cluster": "weir-controller", "token": "{self.tokens["proxy"]}"'),
                         ('"stalenessLimit": "60s"', '"stalenessLimit": "6s"'))  # fmt: skip
        (self.folder / "envoy.yaml").write_text(envoy)
        self.start("envoy", os.environ["ENVOY"], "-c", "envoy.yaml", "--concurrency", "2", "--disable-hot-restart", "-l", "warning")
        # The very files that are shipped; only ports and durations are others.
        quick = [(r"\[[125]m\]", "[10s]")]
        (self.folder / "rules.yaml").write_text(replaced((CONFIG / "rules.yaml").read_text(), *quick))
        (self.folder / "alerts.yaml").write_text(replaced((CONFIG / "alerts.yaml").read_text(), *quick, (r"for: \w+", "for: 1s")))
        (self.folder / "prometheus.yaml").write_text(replaced(
            (CONFIG / "prometheus.yaml").read_text(), ("15s", "1s"), ("controller:8181", f"127.0.0.1:{self.controller}"),
            ("envoy:9901", f"127.0.0.1:{self.admin}")))  # fmt: skip
        self.start("prometheus", os.environ["PROMETHEUS"], "--config.file=prometheus.yaml", "--storage.tsdb.path=data",
                   f"--web.listen-address=127.0.0.1:{self.prometheus}")  # fmt: skip
        self.until("the controller is ready", lambda: self.get(self.controller, "/readyz"))
        self.until("Envoy is ready", lambda: self.get(self.admin, "/ready"))
        self.until("Prometheus is ready", lambda: self.get(self.prometheus, "/-/ready"))

    def users(self, host, rate):
        """Requests for that host, so many a second."""
        self.start(f"users-{host}", os.environ["WEIR_DEMO"], "load", "--target", f"127.0.0.1:{self.shop}", "--host", host,
                   "--rate", str(rate))  # fmt: skip

    def until(self, what, holds, limit=60):
        """Waits; what holds returns something true."""
        end = time.monotonic() + limit
        while True:
            for name, process in self.running.items():
                assert process.poll() is None, f"{name} has ended:\n{(self.folder / f'{name}.log').read_text()[-2000:]}"
            found = holds()
            if found:
                return found
            assert time.monotonic() < end, f"not within {limit} s: {what}"
            time.sleep(0.25)

    def call(self, port, path, body=None, token=None, content="application/json"):
        """Status and text; 0 where nobody answers."""
        headers = {"content-type": content}
        if token:
            headers["authorization"] = f"Bearer {token}"
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body and body.encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def get(self, port, path, token=None):
        """The text of a good answer, or nothing."""
        status, text = self.call(port, path, token=token)
        return text if status == 200 else ""

    def experiment(self, name):
        return json.loads(self.get(self.controller, f"/v1/experiments/{name}", self.tokens["operator"]) or "null")

    def apply(self, document):
        file = self.folder / "experiment.yaml"
        file.write_text(document)
        environment = {**os.environ, "WEIR_SERVER": f"http://127.0.0.1:{self.controller}", "WEIR_TOKEN": self.tokens["operator"]}
        subprocess.run([self.weir, "apply", "-f", file], env=environment, check=True)

    def report(self, **fields):
        """A report as a worker sends it; the status of its answer."""
        report = {"format": 1, "node": "test", "plan": "x", "experiments": [], **fields}
        return self.call(self.controller, "/v1/reports", json.dumps(report), self.tokens["proxy"])[0]

    def query(self, expression):
        """What Prometheus answers now: pairs of labels and value."""
        text = self.get(self.prometheus, "/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        assert text, f"Prometheus refuses: {expression}"
        return [(one["metric"], float(one["value"][1])) for one in json.loads(text)["data"]["result"]]

    def alerts(self, state="firing"):
        return {labels["alertname"] for labels, _ in self.query(f'ALERTS{{alertstate="{state}"}}')}
