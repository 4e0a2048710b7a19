"""`benches/run forward`: netjobs beside the forwarders of the field, in turns, on loopback."""
import argparse, json, pathlib, time

from common.process import end_all, stop_politely
from common.tables import RESULTS
from common.turns import choose, run_all

from . import peers, report, targets
from .measures import MEASURES
from .peers import PEERS

# What a table to keep is made of.
RUNS = 5


def arguments(words):
    parser = argparse.ArgumentParser(prog="benches/run forward", description=__doc__, epilog=f"Only {RUNS} runs or more of everything write benches/results/forward.md.")
    parser.add_argument("--only", help="measurements by the start of their names, separated by commas: " + ", ".join(sorted({m.refusal for m in MEASURES})))
    parser.add_argument("--peers", help="forwarders, separated by commas: " + ", ".join(peer.name for peer in PEERS))
    parser.add_argument("--runs", type=int, default=RUNS, help=f"runs of each measurement (default: {RUNS})")
    parser.add_argument("--seconds", type=float, default=0.7, help="usual length of one (default: 0.7)")
    parser.add_argument("--binary", type=pathlib.Path, help="measure this netjobs instead of the one that is built here")
    parser.add_argument("--json", type=pathlib.Path, help="write every sample here")
    return parser.parse_args(words)


def main(words):
    given = arguments(words)
    exact = lambda item, word: item.name == word
    begins = lambda item, word: item.key == word or item.refusal == word or item.key.startswith(word + " ")
    measures = choose(given.only, MEASURES, "measurement", begins)
    forwarders = choose(given.peers, PEERS, "forwarder", exact)
    peers.use(given.binary)
    stop_politely()
    peers.install()
    start = time.monotonic()
    try:
        results = run_all(measures, forwarders, given.runs, lambda measure, peer: measure.sample(peer, given.seconds))
    finally:
        end_all()
    names = [peer.name for peer in forwarders]
    verdicts = targets.rows(results, names)
    text = report.page(results, verdicts, peers.versions(), given.runs, time.monotonic() - start, names)
    if given.json:
        given.json.write_text(json.dumps(results.listing(), indent=1) + "\n")
    if not (given.only or given.peers or given.binary) and given.runs >= RUNS:
        (RESULTS / "forward.md").write_text(text)
    print(text)
