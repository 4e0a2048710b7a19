"""`benches/run card`: reproduces the defects of packages of the design card on the locked versions, each beside netjobs in the same run (as root)."""
import argparse, pathlib, sys, time

from common import install as installing
from common.process import end_all, stop_politely
from common.tables import RESULTS, grid, headline
from common.turns import Unfit, choose
from icmp import tools
from schedule import subjects

# Each of these adds its defects to the list.
from . import scheduler, network, texts, worlds
from .defect import DEFECTS, LOAD


def rows(chosen):
    for defect in chosen:
        start = time.monotonic()
        try:
            theirs, ours, there = defect.show()
            yield [f"{defect.package} {defect.version()}", defect.title, theirs, ours, defect.word(there)]
        except (Unfit, RuntimeError, OSError) as error:
            yield [f"{defect.package} {defect.version()}", defect.title, f"not shown: {error}", "", "?"]
        print(f"{defect.only:12} {time.monotonic() - start:5.1f} s", file=sys.stderr, flush=True)


def main(words):
    parser = argparse.ArgumentParser(prog="benches/run card", description=__doc__, epilog="Only all of it writes benches/results/card.md; it takes 4 minutes.")
    parser.add_argument("--only", help="separated by commas: " + ", ".join(defect.only for defect in DEFECTS))
    parser.add_argument("--binary", type=pathlib.Path, help="take this netjobs instead of the one that is built here")
    given = parser.parse_args(words)
    chosen = choose(given.only, DEFECTS, "defect", lambda defect, word: defect.only == word)
    subjects.use(given.binary)
    tools.use(given.binary)
    stop_politely()
    installing.packages({scheduler.FAKETIME: "libfaketime"})
    tools.install(small=False)
    for folder in (LOAD, subjects.LOAD):
        installing.cargo(folder)
    start = time.monotonic()
    try:
        found = list(rows(chosen))
    finally:
        end_all()
        worlds.close()
    lines = ["# Defects of packages of the design card", "", headline("card", "loopback and network namespaces", time.monotonic() - start), "",
             "Why these packages stand where they do (README, What it is built on). Each is shown on the locked version, and netjobs beside it in the same run; "
             "a defect that is gone is a reason to judge anew. `benches/run schedule` and `benches/run icmp` measure more of the first and the second.", "",
             *grid(["package", "what was done", "what it did", "what netjobs does", "still there"], found)]
    text = "\n".join(lines) + "\n"
    if not given.only and not given.binary:
        (RESULTS / "card.md").write_text(text)
    print(text)
    sys.exit(0 if all(row[-1] in ("yes", "no, as before") for row in found) else 1)
