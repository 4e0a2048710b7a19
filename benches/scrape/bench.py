"""`benches/run scrape`: what a scrape of 10,000 and of 100,000 series costs, and what it costs the others."""
import argparse, json, math, pathlib, statistics, subprocess, tempfile, time, urllib.request

from common import install, tables
from common.process import Process, end_all, stop_politely, until
from forward.peers import free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = ROOT / "target/release/netjobs"
PLAIN = ROOT / "benches/scrape/plain"
BUILT = PLAIN / "target/release/netjobs-scrape-plain"
SIZES = (10_000, 100_000)
SCRAPES, TURNS = 20, 6
# Checks whose starts are looked at, ten a second each, and for how long a turn.
CHECKS, SECONDS = 100, 10


def jobs(folder, pings, checks=0):
    """Pings of as many hosts of this machine, each once; and checks that start again and again."""
    lines = ["jobs:"]
    for number in range(pings):
        host = f"127.{1 + number // 62500}.{number // 250 % 250}.{1 + number % 250}"
        lines.append(f"  - {{ name: ping-{number}, every: 1d, at: start, labels: {{ site: bench }}, ping: {{ host: {host}, count: 1 }} }}")
    lines += [f"  - {{ name: check-{number}, every: 100ms, interfaces: {{ select: [lo] }} }}" for number in range(checks)]
    (folder / "jobs.yaml").write_text("\n".join(lines) + "\n")
    return folder / "jobs.yaml"


class Daemon:
    def __init__(self, binary, pings, checks=0, series=10_000_000):
        self.folder = tempfile.TemporaryDirectory(prefix="netjobs-bench-")
        folder = pathlib.Path(self.folder.name)
        self.log, self.port = folder / "log", free_port()
        self.process = Process("netjobs", [binary, "run", jobs(folder, pings, checks), "--log.file", self.log, "--metrics.max-series", series,
                                           "--web.listen-address", f"127.0.0.1:{self.port}"])
        until("all pings are done", 120, lambda: self.log.exists() and self.log.read_text().count('"kind":"ping"') >= pings, 0.5)
        time.sleep(1)

    def page(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            return answer.read()

    def end(self):
        self.process.end()
        self.folder.cleanup()


def series(page):
    return sum(not line.startswith(b"#") for line in page.splitlines())


def scrapes(daemon):
    """CPU seconds of each scrape, what the daemon spends without them taken off."""
    account, spent = daemon.process.account, []
    for _ in range(TURNS):
        start, before = time.monotonic(), account.seconds()
        for _ in range(SCRAPES):
            daemon.page()
        took, cpu = time.monotonic() - start, account.seconds() - before
        before = account.seconds()
        time.sleep(took)
        spent.append((cpu - (account.seconds() - before)) / SCRAPES)
    return spent


def a_size(binary, size, each):
    """Our row and that of the plain registry of the same series."""
    bare = Daemon(binary, round(size / each), series=0)
    without = bare.process.status("VmRSS")
    bare.end()
    daemon = Daemon(binary, round(size / each))
    held = daemon.process.status("VmRSS") - without
    page = daemon.page()
    count = series(page)
    ours, theirs = [], []
    ours += scrapes(daemon)
    peak = daemon.process.status("VmHWM") - without - held
    daemon.end()
    for _ in range(TURNS):
        done = subprocess.run([BUILT, str(SCRAPES)], input=page, capture_output=True, check=True)
        theirs.append(json.loads(done.stdout))
    plain = statistics.median(found["memory_kib"] for found in theirs)
    return [[f"{count:,}", "netjobs, over HTTP", spread([seconds * 1e3 for seconds in ours]), f"{len(page) / 1e6:.2f}", f"{held * 1024 / count:.0f}",
             f"{peak / 1024:.1f}"],
            [f"{theirs[0]['series']:,}", "`prometheus` crate, encoding alone", spread([found["cpu_ns"] / 1e6 for found in theirs]),
             f"{theirs[0]['bytes'] / 1e6:.2f}", f"{plain * 1024 / theirs[0]['series']:.0f}", "-"]]


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def lags(binary, size, each):
    """How late the checks start, by turns without a scrape and with one a second."""
    daemon = Daemon(binary, round(size / each), CHECKS)
    found = {False: [], True: []}
    try:
        with open(daemon.log, encoding="utf-8") as log:
            for turn in range(2 * TURNS):
                log.read()
                end = time.monotonic() + SECONDS
                while time.monotonic() < end:
                    next_one = time.monotonic() + 1
                    if turn % 2:
                        daemon.page()
                    time.sleep(max(0, next_one - time.monotonic()))
                records = [json.loads(line) for line in log.read().splitlines() if '"run_finished"' in line and line.endswith("}")]
                found[turn % 2 == 1] += [record["start_lag_seconds"] * 1e3 for record in records]
    finally:
        daemon.end()
    return [["with a scrape a second" if scraped else "without scrapes", f"{len(all_of):,}", *(f"{quantile(all_of, part):.2f}" for part in (0.5, 0.99, 0.999)),
             f"{max(all_of):.2f}"] for scraped, all_of in found.items()]


def quantile(values, part):
    return sorted(values)[min(len(values) - 1, math.ceil(part * len(values)) - 1)]


def main(words):
    parser = argparse.ArgumentParser(prog="benches/run scrape", description=__doc__)
    parser.add_argument("--binary", type=pathlib.Path, default=BINARY, help="measure this netjobs and write no table")
    given = parser.parse_args(words)
    stop_politely()
    install.cargo(PLAIN)
    start = time.monotonic()
    try:
        one = Daemon(given.binary, 100)
        each = (series(one.page()) - 60) / 100
        one.end()
        costs = [row for size in SIZES for row in a_size(given.binary, size, each)]
        late = lags(given.binary, SIZES[-1], each)
    finally:
        end_all()
    lines = ["# Scrapes of many series", "", tables.headline("scrape", "shared machine", time.monotonic() - start), "",
             f"Pings of hosts of this machine, which ran once; medians, with the lowest and the highest of {TURNS} turns of {SCRAPES} scrapes. A histogram is as",
             "many series as it has lines. The plain registry holds the series of the same scrape, and sends them nowhere. Wanted: at most 50 ms of CPU for 100,000.", "",
             *tables.grid(("series", "who", "CPU of a scrape, ms", "MB", "memory of a series, bytes", "peak while scraped, MiB"), costs), "",
             f"How late {CHECKS} checks of `every: 100ms` start beside {SIZES[-1]:,} series, ms, in turns of {SECONDS} s:", "",
             *tables.grid(("", "starts", "median", "p99", "p99.9", "latest"), late)]
    text = "\n".join(lines) + "\n"
    if given.binary == BINARY:
        (tables.RESULTS / "scrape.md").write_text(text)
    print(text)
