"""Measures the simulator beside SimPy and Ciw, in turn, and writes the page of it.

usage: page.py THROUGHPUT PYTHON|none PAGE NOTES [ROUNDS]

THROUGHPUT is the example's binary, PYTHON one that has the peers (none: PyPI could not be reached).
Only the standard library: it is run before anything is installed.
"""

import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
DAY = 86_400

# What is measured: name, who, which scenario, seconds of virtual time, further arguments.
ROWS = [
    ("mmc", "Highwater, counting", "own", "mmc", 6_000, []),
    ("mmc", "Highwater, with percentiles", "own", "mmc", 6_000, ["percentiles"]),
    ("mmc", "SimPy", "simpy_models.py", "mmc", 250, []),
    ("mmc", "Ciw", "ciw_models.py", "mmc", 60, []),
    ("full", "Highwater, counting", "own", "full", 4_000, []),
    ("full", "Highwater, with percentiles", "own", "full", 4_000, ["percentiles"]),
    ("full", "SimPy", "simpy_models.py", "full", 100, []),
]


def main():
    throughput, python, page, notes = sys.argv[1:5]
    rounds = int(sys.argv[5]) if len(sys.argv) > 5 else 3
    rows = [row for row in ROWS if row[2] == "own" or python != "none"]
    found = {(row[0], row[1]): [] for row in rows}
    for _ in range(rounds):
        for table, name, who, which, seconds, more in rows:
            command = [throughput] if who == "own" else [python, str(HERE / who)]
            found[table, name].append(measure(command + [which, str(seconds)] + more))
    day = [measure([throughput, "day", str(DAY)]) for _ in range(rounds)]
    text = write(found, day, python, rounds)
    text += "\n" + pathlib.Path(notes).read_text()
    pathlib.Path(page).write_text(text)


def measure(command):
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def write(found, day, python, rounds):
    lines = [
        "# How fast the simulator is",
        "",
        "<!-- Made by `just bench-sim`: do not edit. The words are those of performance-sim-notes.md. -->",
        "",
        "Each figure stands beside that of a peer which was measured in the same run, in turn with it, one process on"
        " one core. Another machine gives other figures; the ratios are what lasts.",
        "",
        f"- machine: {cpu()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        f"- load average of the machine at the end: {os.getloadavg()[0]:.2f}",
        f"- versions: {versions(python)}",
        "",
    ]
    for table, title, words in [
        ("mmc", "The queue M/M/4", "Poisson arrivals, exponential service, four servers at 80 %; the mean time in the"
                                  " system is 6.982 ms by Erlang's formula."),
        ("full", "Probes, proxy and autoscaler", "A wave between 400/s and 1,600/s through a proxy to pods of two cores"
                                                 " with a readiness probe each second and an autoscaler on their CPU."),
    ]:
        lines += [f"## {title}", "", f"{words} Medians of {rounds} rounds.", "",
                  "| | requests/s | least | most | mean | Highwater counting is |",
                  "| --- | ---: | ---: | ---: | ---: | ---: |"]
        ours = median(found[table, "Highwater, counting"], "perSecond")
        for (of, name), runs in found.items():
            if of != table:
                continue
            speeds = [run["perSecond"] for run in runs]
            middle = statistics.median(speeds)
            ratio = "" if name.startswith("Highwater") else f"{ours / middle:.0f} ×"
            lines.append(f"| {name} | {middle:,.0f} | {min(speeds):,.0f} | {max(speeds):,.0f} |"
                         f" {median(runs, 'meanMs'):.2f} ms | {ratio} |")
        lines.append("")
        if python == "none":
            lines += ["PyPI could not be reached from this machine: the peers were not measured.", ""]
    took = [run["seconds"] for run in day]
    lines += [
        "## A day",
        "",
        f"86,400 seconds around 1,000/s, {day[0]['requests'] / 1e6:.1f} million requests, with an autoscaler: "
        f"{statistics.median(took):.1f} s, median of {rounds} (least {min(took):.1f}, most {max(took):.1f}).",
    ]
    return "\n".join(lines) + "\n"


def cpu():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def versions(python):
    if python == "none":
        return "highwater of this checkout"
    script = "from importlib.metadata import version as v; import platform as p;" \
        "print(f\"SimPy {v('simpy')}, Ciw {v('ciw')} on CPython {p.python_version()}\")"
    done = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True)
    return "highwater of this checkout; " + done.stdout.strip()


if __name__ == "__main__":
    main()
