"""`benches/run soak`: everything at once on one daemon, with faults and reloads, in network namespaces of its own (as root)."""
import argparse, json, pathlib, re, subprocess, sys, time

from common.process import end_all, stop_politely
from common.tables import ROOT

from . import report
from .faults import FAULTS
from .jobsets import ROUND
from .rig import Rig, install

BINARY = ROOT / "target/release/netjobs"
# A slot: a reload at its begin, a fault in its middle, a look at its end.
SLOT, BEGIN, FAULT, LOOK = 10, 1, 5, 8.5
LOOKS, BETWEEN = 10, 0.1
# What goes on while faults are healed, and how long the end may take.
HEAL, END = 20, 40
# Counters that are summed over their series; jobs go with their series, so it is their growth from look to look.
SUMS = ("netjobs_run_duration_seconds_count", "netjobs_run_failures_total", "netjobs_runs_skipped_total", "netjobs_log_dropped_total",
        "netjobs_events_dropped_total")
ROUNDS = 3


class Soak:
    """One run: samples, and all that was amiss."""

    def __init__(self, rig):
        self.rig, self.samples, self.amiss, self.reloads, self.refused, self.faults = rig, [], [], 0, 0, 0
        self.sums, self.last = dict.fromkeys(SUMS, 0.0), {}
        self.start, self.cpu = time.monotonic(), rig.daemon.account.seconds()

    def slot(self, number):
        begin, turn = time.monotonic(), number % len(ROUND)
        self.reload(*ROUND[turn])
        sleep_to(begin + BEGIN)
        self.faults += FAULTS[turn].__name__ != "nothing"
        FAULTS[turn](self.rig, FAULT)
        sleep_to(begin + LOOK)
        self.look(turn)
        sleep_to(begin + SLOT)

    def reload(self, make, right):
        self.rig.put(make(self.rig.path))
        status, text = self.rig.page("/-/reload", "POST", 30)
        self.reloads += right
        self.refused += not right
        if (status == 200) != right:
            self.amiss.append(f"reload {self.reloads + self.refused}: {status} {text.strip()[:200]}")

    def look(self, turn):
        daemon = self.rig.daemon
        if not daemon.alive():
            raise RuntimeError(f"the daemon ended with {daemon.popen.returncode}")
        # The least of some looks: what a connection or a child holds for a moment is none of it.
        few = []
        for _ in range(LOOKS):
            few.append((daemon.descriptors(), daemon.status("Threads"), daemon.status("VmRSS")))
            time.sleep(BETWEEN)
        descriptors, threads, resident = (min(one) for one in zip(*few))
        cpu, series = daemon.account.seconds(), self.count(self.rig.page("/metrics")[1])
        sample = {"turn": turn, "at": time.monotonic() - self.start, "descriptors": descriptors, "threads": threads, "resident": resident / 1024,
                  "peak": daemon.status("VmHWM") / 1024, "cpu": cpu - self.cpu, "lines": self.rig.log.lines, "series": series} | self.sums | self.rig.counts()
        self.samples.append(sample)
        shown = ", ".join(f"{name} {sample.get(name, 0):.6g}" for name in ("descriptors", "threads", "resident", "peak", "short", SUMS[0]))
        print(f"{sample['at']:6.0f} s {FAULTS[turn].__name__:17} {shown}", file=sys.stderr, flush=True)

    def count(self, page):
        """Takes in what the counters say; gives how many series there are."""
        samples = dict(line.rsplit(" ", 1) for line in page.splitlines() if line and not line.startswith("#"))
        for series, value in samples.items():
            name, value = series.split("{")[0], float(value)
            if name in self.sums:
                before = self.last.get(series, 0)
                self.sums[name] += value - before if value >= before else value
                self.last[series] = value
        return len(samples)

    def heal(self):
        """All is well again: every job must pass, and the streams must come to their end; then the daemon is told to end."""
        self.rig.log.goes_on.set()
        self.reload(*ROUND[0])
        time.sleep(HEAL)
        down = re.findall(r'^netjobs_job_up\{job_name="([^"]*)"[^}]*\} 0$', self.rig.page("/metrics")[1], re.M)
        self.amiss += [f"`{name}` does not pass at the end" for name in down]
        counts = self.rig.counts(last=True)
        self.rig.scraper.stop.set()
        start = time.monotonic()
        self.rig.daemon.popen.terminate()
        try:
            code = self.rig.daemon.popen.wait(END)
        except subprocess.TimeoutExpired:
            code = None
        self.rig.errors.seek(0)
        said = [line for line in self.rig.errors.read().splitlines() if not line.startswith("netjobs ")]
        return {"counts": counts, "code": code, "ended": time.monotonic() - start, "said": "; ".join(said)[:300]}


def sleep_to(moment):
    time.sleep(max(0, moment - time.monotonic()))


def main(words):
    parser = argparse.ArgumentParser(prog="benches/run soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="how long (default: 60, at least 3; what is shorter than 30 writes no table)")
    parser.add_argument("--binary", type=pathlib.Path, help="take this netjobs instead of the one that is built here")
    parser.add_argument("--json", type=pathlib.Path, help="write every sample here")
    given = parser.parse_args(words)
    stop_politely()
    install()
    try:
        with Rig((given.binary or BINARY).resolve()) as rig:
            soak = Soak(rig)
            slots = max(ROUNDS * len(ROUND), round(given.minutes * 60 / SLOT))
            for number in range(slots):
                soak.slot(number)
            end = soak.heal()
            text, met = report.page(soak, end, given.minutes, time.monotonic() - soak.start)
    finally:
        end_all()
    if given.json:
        given.json.write_text(json.dumps(soak.samples, indent=1) + "\n")
    if given.minutes >= 30:
        (ROOT / "benches/results/soak.md").write_text(text)
    print(text)
    sys.exit(0 if met else 1)
