"""`benches/run schedule`: how punctually jobs start, beside tokio-cron-scheduler and the bare timer, in turns."""
import argparse, json, pathlib, time

from common.process import end_all, stop_politely
from common.tables import RESULTS
from common.turns import choose, run_all

from . import report, subjects
from .parts import PARTS
from .subjects import SUBJECTS

# What a table to keep is made of.
RUNS = 5


def arguments(words):
    names = list(dict.fromkeys(part.word for part in PARTS))
    parser = argparse.ArgumentParser(prog="benches/run schedule", description=__doc__,
                                     epilog=f"Only {RUNS} runs or more of everything write benches/results/schedule.md; they take 11 minutes.")
    parser.add_argument("--parts", help="separated by commas: " + ", ".join(names))
    parser.add_argument("--only", help="subjects by the start of their names, separated by commas: " + "; ".join(subject.name for subject in SUBJECTS))
    parser.add_argument("--runs", type=int, default=RUNS, help=f"runs of each part, of some fewer (default: {RUNS})")
    parser.add_argument("--binary", type=pathlib.Path, help="measure this netjobs instead of the one that is built here")
    parser.add_argument("--json", type=pathlib.Path, help="write every sample here")
    return parser.parse_args(words)


def main(words):
    given = arguments(words)
    chosen = choose(given.parts, PARTS, "part", lambda part, word: part.word == word)
    taking = choose(given.only, SUBJECTS, "subject", lambda subject, word: subject.name.startswith(word))
    subjects.use(given.binary)
    stop_politely()
    subjects.install()
    start = time.monotonic()
    try:
        results = run_all(chosen, taking, given.runs, lambda part, subject: part.sample(subject))
    finally:
        end_all()
    text = report.page(results, chosen, given.runs, time.monotonic() - start, [subject.name for subject in taking])
    if given.json:
        given.json.write_text(json.dumps(results.listing(), indent=1) + "\n")
    if not (given.parts or given.only or given.binary) and given.runs >= RUNS:
        (RESULTS / "schedule.md").write_text(text)
    print(text)
