"""The page of results: what was wanted, what was measured."""
from common.judge import Judge
from common.tables import Notes, cell, grid, headline

from .parts import AFTER, STOPPED
from .subjects import versions

LATE = [("p50 ms", "p50"), ("p99 ms", "p99"), ("p99.9 ms", "p999"), ("latest ms", "max"), ("never came, %", "lost"), ("says it left out, in all", "skipped"),
        ("log lines lacking", "unlogged"), ("CPU, % of a core", "cpu")]
TITLES = {
    "10000 jobs": ("10,000 jobs of `every: 1s`", LATE),
    "1000 jobs": ("1,000 jobs of `every: 1s`", LATE),
    "1 job": ("One job of `every: 1s`", LATE),
    "cron": ("10,000 cron jobs, all in each fourth second", LATE),
    "idle": ("10,000 hourly jobs", [("CPU, % of a core", "cpu")]),
    "pause": (f"100 jobs of `every: 1s`, the process stopped for {STOPPED} s",
              [("jobs that start again", "again"), ("the last of them after s", "first"), ("starts of one job to make up", "at_once"),
               (f"starts that came in the {AFTER - 2} s from 2 s after, % of those due", "regular"), ("starts left out", "missing"),
               ("of which it tells", "skipped")]),
}


def digits(value):
    return 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 3 if value < 1 else 2


def targets(results):
    judge = Judge(results, ["bare timer"])
    every = ["10000 jobs", "1000 jobs", "1 job"]
    return [*judge.limit("lateness, p99, median of the runs: at most 5 ms", every, "p99", most=5, unit=" ms"),
            *judge.limit("lateness, p99.9, median of the runs: at most 20 ms", every, "p999", most=20, unit=" ms"),
            *judge.limit("starts that never came: none", [*every, "cron"], "lost", most=0, unit=" %", always=True),
            *judge.limit("10,000 cron jobs in one second: the last start within 1 s", ["cron"], "max", most=1000, unit=" ms", always=True),
            *judge.limit("CPU with 10,000 hourly jobs: at most 0.1 %", ["idle"], "cpu", most=0.1, unit=" %"),
            *judge.limit("after a pause the last job starts within its period", ["pause"], "first", most=1, unit=" s", always=True),
            *judge.limit("after a pause at most one start makes up for those left out", ["pause"], "at_once", most=1, always=True),
            *judge.limit("after a pause all starts come again", ["pause"], "regular", least=100, unit=" %", always=True)]


def page(results, parts, runs, took, names):
    lines = ["# When jobs start", "", headline("schedule", "loopback", took), "",
             f"Medians of up to {runs} runs, with the lowest and the highest; the subjects take turns. {versions()}. Late is the time from when a start was due "
             "until it took place, as its log says for netjobs, whose jobs read an interface and are logged; the others' jobs note the time and do nothing else. "
             "tokio-cron-scheduler plans whole seconds and does not tell which: the last one before the start is taken, so that it never seems later than "
             "a second. The bare timer is one thread that sleeps to each instant: what it is late is the machine's. CPU is that of the process with all its threads.", ""]
    verdicts = targets(results)
    if verdicts:
        lines += ["## Targets", "", *grid(["target", "measured", "verdict"], verdicts), ""]
    notes = Notes()
    for part in parts:
        title, columns = TITLES[part.key]
        rows = [[name, *(notes.missing(cell(results.values(part.key, name, figure), digits), results.failures.get((part.key, name), [])) for _, figure in columns)]
                for name in names if results.samples.get((part.key, name)) or results.failures.get((part.key, name))]
        if rows:
            lines += [f"## {title}", "", *grid(["", *(head for head, _ in columns)], rows), ""]
    return "\n".join(lines + notes.lines()).rstrip() + "\n"
