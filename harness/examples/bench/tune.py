"""How long `highwater tune` takes for 1,000 settings on a day of traffic: `just bench-tune`.

tune.py BINARY TRACE|none PAGE ROUNDS: writes the page. The second day of TRACE (CSV of time and requests) is taken, or
without one a day that is made here: two humps, and noise of a fixed seed.
"""

import csv
import json
import math
import os
import pathlib
import platform
import random
import shutil
import statistics
import subprocess
import sys
import time

FOLDER = pathlib.Path("target/bench-tune")
POINTS = 288  # five minutes each
# 1,024 settings of the bundled spike, whose peak the trace is scaled to. With a limit, too few pods are felt.
ARGUMENTS = [
    "--param", "target=20..95:5",
    "--param", "min=1..8",
    "--param", "down-window=0,30,60,120,300,600,900,1200",
    "--settings", "1024",
    "--budget", "600s",
    "--set", "target.deployment.template.resources={requests: {cpu: 100m}, limits: {cpu: 200m}}",
    "--set", "objectives=[{failed: 0}, {latency.p99: <1s}]",
]


def rows(trace):
    if trace != "none":
        with open(trace, newline="") as file:
            head, *lines = csv.reader(file)
        day = lines[POINTS : 2 * POINTS]
        assert len(day) == POINTS, "the trace has no second day of five minutes each"
        return [head, *day]
    chance = random.Random(7)

    def rate(place):
        hour = place / 12
        humps = math.exp(-((hour - 11) ** 2) / 12) + 1.5 * math.exp(-((hour - 20) ** 2) / 6)
        return round(100 * (0.15 + humps) * chance.uniform(0.8, 1.2), 1)

    return [["seconds", "requests"], *([300 * place, rate(place)] for place in range(POINTS))]


def processor():
    try:
        for line in open("/proc/cpuinfo"):
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def main():
    binary, trace, page, rounds = sys.argv[1:]
    FOLDER.mkdir(parents=True, exist_ok=True)
    day = FOLDER / "day.csv"
    with open(day, "w", newline="") as file:
        csv.writer(file).writerows(rows(trace))
    took, texts = [], set()
    for _ in range(int(rounds)):
        out = FOLDER / "out"
        shutil.rmtree(out, ignore_errors=True)
        begun = time.monotonic()
        command = [binary, "tune", "spike", "--traces", str(day), *ARGUMENTS, "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        took.append(time.monotonic() - begun)
        if done.returncode not in (0, 1):
            sys.exit(done.stderr)
        texts.add((out / "tune.json").read_text())
    assert len(texts) == 1, "the same search has not given the same bytes"
    result = json.loads(texts.pop())
    search, settings = result["search"], result["settings"]
    assert not search["cut"], "the budget was too short"
    what = "a day that the benchmark makes" if trace == "none" else f"the second day of `{pathlib.Path(trace).name}`"
    lines = [
        "# How fast a search is",
        "",
        "<!-- Made by `just bench-tune`: do not edit. -->",
        "",
        f"`highwater tune spike --traces day.csv` with {search['settings']:,} settings (`target`, `min` and `down-window`, all of "
        f"them) on {what}, 86,400 seconds scaled to the scenario's peak of 80/s, on all cores. The bar is 60 s for 1,000 "
        "settings on two cores. It includes the full simulator's runs of the present setting, the default of Kubernetes and "
        "the finalists, and the writing of the result.",
        "",
        f"- machine: {processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        f"- load average of the machine at the end: {os.getloadavg()[0]:.2f}",
        f"- **{statistics.median(took):.1f} s**, median of {len(took)} (least {min(took):.1f}, most {max(took):.1f}), "
        "with the same bytes each time",
        "",
        "| on the full simulator | pod-hours | p99, ms | lost | objectives |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for place, one in enumerate(settings):
        totals = one["searched"]
        name = one["name"] + (" (recommended)" if place == result.get("recommended") else "")
        held = "held" if totals["met"] == totals["of"] else "missed"
        lines.append(f"| {name} | {totals['podHours']:.2f} | {totals['p99Ms']:.0f} | {totals['lost']:,} | {held} |")
    lines += [
        "",
        "The settings see the hardest quarter of the day first, and the better half of them all of it; "
        f"{search['simulated']} of these run on the full simulator. Whether rank is lost by this, or by the coarse model, is "
        "asked by `just rank`: it runs all settings of a space on the full simulator, and asserts that the "
        "ten best of the search hold the best of all. Smaller spaces are among the tests "
        "(`harness/src/tune/tests/rank.rs`).",
        "",
    ]
    pathlib.Path(page).write_text("\n".join(lines))


main()
