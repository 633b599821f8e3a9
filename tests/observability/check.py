#!/usr/bin/env python3
"""Real Envoy, controller and Prometheus: every panel and alert asked for what this has caused, every alert silent before, and every
metric that is served documented, and the other way round. The durations of rules are shortened here; `promtool test rules` has the real ones."""

import json
import re
import sqlite3
import sys
import time

from stack import CONFIG, ROOT, Stack

EXPERIMENT = """
apiVersion: weir.dev/v1alpha1
kind: Experiment
metadata: {{name: {name}}}
spec:
  service: {name}
  match: {{hosts: [{name}.example]}}
  versions: [{{name: v1, baseline: true}}, {{name: {candidate}}}]
  strategy: ab
  objectives: [{{name: errors, errorRate: {{max: 2%}}}}]
  reward: {{responseHeader: x-weir-reward, direction: maximize}}
  deadline: 2s
  bin: 1s
  minExposures: 100000
"""
RATE = 150


def values(found, label):
    return {labels.get(label): value for labels, value in found}


def between(low, high):
    return lambda found: bool(found) and all(low <= value <= high for _, value in found)


def by(label, names, low, high):
    """For each of these label values there is a value between those."""
    return lambda found: all(low <= values(found, label).get(name, low - 1) <= high for name in names)


# What each panel shows after `shop` has run a while and `broken` has been rolled back: experiment to ask for, and what must come.
BOTH = ["v1", "v2"]
PANELS = {
    "Running experiments": ("shop", between(2, 3)),
    "Live workers": ("shop", between(3, 3)),
    "Troubled workers": ("shop", between(0, 1)),
    "Alerts": ("shop", between(1, 9)),
    "Phase": ("broken", lambda found: values(found, "phase") == {"concluded": 1}),
    "Exposures follow the weights": ("skewed", between(0, 0)),
    "Weights": ("broken", lambda found: values(found, "version") == {"v1": 1, "v3": 0}),
    "Best of those that keep their limits?": ("shop", by("version", BOTH, 0, 1)),
    "Limits violated, by evidence": ("broken", lambda found: values(found, "version") == {"v1": 0, "v3": 1}),
    "Requests a second": ("shop", by("weir_version", BOTH, RATE / 2 * 0.6, RATE / 2 * 1.4)),
    "Errors": ("shop", by("weir_version", BOTH, 0, 0.04)),
    "Latency": ("shop", by("weir_version", BOTH, 3, 500)),
    "Settled exposures": ("shop", by("version", BOTH, RATE, 1e5)),
    "Decisions a minute": ("shop", by("action", ["hold"], 60, 1000)),
    "Telemetry faults": ("shop", between(0, 3)),
    "Reports a second": ("shop", lambda found: by("result", ["accepted"], 0.5, 4)(found) and "refused" in values(found, "result")),
    "Age of the plan in Envoy": ("shop", between(0, 6)),
    "Exposures not recorded": ("shop", lambda found: any(value > 0 for _, value in found)),
    "Ingest and commit, p99": ("shop", between(0.0002, 5)),
    "Answers of the controller a second": ("shop", by("class", ["2xx"], 1, 1000)),
}


def say(text):
    print(f"  {time.monotonic() - BEGAN:5.1f} s  {text}", flush=True)


def documented_names_are_those_served(stack):
    document = (ROOT / "docs" / "observability.md").read_text()
    tables = "\n".join(line.split("|")[1] for line in document.splitlines() if line.startswith("| `weir_"))
    documented = set(re.findall(r"`(weir_[a-z_0-9]+)", tables))
    served = set()
    for text in [stack.get(stack.controller, "/metrics", stack.tokens["viewer"]), stack.get(stack.admin, "/stats/prometheus")]:
        for kind, name in re.findall(r"^# TYPE (weir_\S+) (?:(?=counter)|)(\S+)", text, re.M):
            # OpenMetrics names a counter's family without the `_total` of its samples.
            served.add(f"{kind}_total" if name == "counter" and f"\n{kind}_total" in text else kind)
    assert served and documented == served, f"documented only: {sorted(documented - served)}; served only: {sorted(served - documented)}"
    say(f"{len(served)} metrics: all documented, all served")


def panels_show_what_was_caused(stack, dashboard):
    titles = [panel["title"] for panel in dashboard["panels"]]
    assert sorted(titles) == sorted(PANELS), set(titles) ^ set(PANELS)
    asked = 0
    for panel in dashboard["panels"]:
        experiment, holds = PANELS[panel["title"]]
        expressions = [target["expr"].replace("$experiment", experiment) for target in panel["targets"]]
        asked += len(expressions)
        found = []
        def answered():
            found.clear()
            answers = [stack.query(expression) for expression in expressions]
            found.extend(one for answer in answers for one in answer)
            return all(answers) and holds(found)
        try:
            stack.until(f"panel `{panel['title']}` shows what was caused", answered, 20)
        except AssertionError as error:
            raise AssertionError(f"{error}: {expressions} gave {found}") from None
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()
            assert {"shop", "broken"} <= set(values(stack.query(metric), label))
    say(f"{len(titles)} panels, {asked} queries: each shows what was caused")


def main():
    dashboard = json.loads((CONFIG / "grafana-dashboard.json").read_text())
    alerts = set(re.findall(r"- alert: (\w+)", (CONFIG / "alerts.yaml").read_text()))
    fired = set()
    with Stack() as stack:
        def fires(*names, limit=60):
            stack.until(f"{names} fire", lambda: set(names) <= stack.alerts(), limit)
            fired.update(names)
            say("fires: " + ", ".join(names))

        stack.users("shop.example", RATE)
        stack.apply(EXPERIMENT.format(name="shop", candidate="v2"))
        stack.until("exposures settle", lambda: sum(v for _, v in stack.query("weir_experiment_settled_exposures")) > 6 * RATE)
        # Longer than the longest range and pause of a shortened rule.
        time.sleep(10)
        ever = {labels["alertname"] for labels, _ in stack.query('max_over_time(ALERTS{alertstate="firing"}[5m])')}
        assert not ever, f"fired in a healthy run: {ever}"
        say("a healthy run: no alert has fired")
        documented_names_are_those_served(stack)

        # A version that breaks its objective; a fleet that prefers a version; counts that found no room; a report out of turn.
        stack.users("broken.example", RATE)
        stack.apply(EXPERIMENT.format(name="broken", candidate="v3"))
        stack.apply(EXPERIMENT.format(name="skewed", candidate="v2"))
        skewed = stack.experiment("skewed")
        time.sleep(4)
        now = int(time.time()) * 1000
        def cell(version, count):
            counts = {"assigned": count, "aborted": count, "abortAge": [[0, count]]}
            return {"epoch": skewed["state"]["epochs"][-1]["epoch"], "version": version, "bin": now - 4000, "counts": counts}
        worker = {"incarnation": "1" * 32}
        cells = [cell("v1", 3000), cell("v2", 2000)]
        assert stack.report(**worker, sequence=1, experiments=[{"id": skewed["id"], "watermark": now, "cells": cells}]) == 200
        assert stack.report(**worker, sequence=2, dropped=5) == 200
        assert stack.report(**worker, sequence=9) >= 400
        fires("WeirExposuresDropped", "WeirReportsRefused", "WeirSampleRatioMismatch", "WeirVerdictViolated")
        panels_show_what_was_caused(stack, dashboard)

        # Somebody else holds the ledger.
        other = sqlite3.connect(stack.folder / "weir.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        fires("WeirControllerFailing")
        other.close()

        stack.end("weir")
        fires("WeirControllerDown", "WeirPlanStale")
        stack.start_controller()
        stack.until("both are over", lambda: not {"WeirControllerDown", "WeirPlanStale"} & stack.alerts())
        say("over: WeirControllerDown, WeirPlanStale")

        stack.end("envoy")
        fires("WeirNoReports", "WeirTelemetryFaulty")
    assert fired == alerts, f"never caused: {alerts - fired}"


BEGAN = time.monotonic()
try:
    main()
except AssertionError as error:
    sys.exit(f"  failed: {error}")
say("ok")
