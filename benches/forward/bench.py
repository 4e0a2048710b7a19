"""`benches/run forward`: netjobs beside the forwarders of the field, in turns, on loopback."""
import argparse, json, pathlib, sys, time

from . import peers, report, targets
from .measures import MEASURES, Unfit
from .peers import PEERS, ROOT
from .process import end_all, stop_politely

# A forwarder that fails so often is not asked again.
TRIES = 2
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


def choose(given, all_of, what, fits):
    if not given:
        return all_of
    for word in given.split(","):
        if not any(fits(item, word) for item in all_of):
            sys.exit(f"there is no {what} `{word}`")
    return [item for item in all_of if any(fits(item, word) for word in given.split(","))]


def run_all(measures, forwarders, runs, seconds):
    results = report.Results()
    for measure in measures:
        for turn in range(min(runs, measure.runs or runs)):
            for peer in forwarders:
                take_turn(results, measure, peer, seconds, turn)
    return results


def take_turn(results, measure, peer, seconds, turn):
    key = measure.key, peer.name
    if not measure.takes(peer):
        if turn == 0:
            results.fail(*key, report.TCP_ONLY)
        return
    if measure.refusal in peer.refuses:
        if turn == 0 and peer.refuses[measure.refusal]:
            results.fail(*key, peer.refuses[measure.refusal])
        return
    if len(results.failures.get(key, [])) >= TRIES:
        return
    start = time.monotonic()
    try:
        sample = measure.sample(peer, seconds)
        results.add(*key, sample)
        said = ", ".join(f"{name} {value:.5g}" for name, value in sample.items() if value is not None)
    except (Unfit, RuntimeError) as error:
        results.fail(*key, str(error))
        said = f"- ({error})"
    print(f"{turn + 1} {measure.key:18} {peer.name:22} {time.monotonic() - start:5.1f} s: {said}", file=sys.stderr, flush=True)


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
        results = run_all(measures, forwarders, given.runs, given.seconds)
    finally:
        end_all()
    names = [peer.name for peer in forwarders]
    verdicts = targets.Judge(results, names).rows()
    text = report.page(results, verdicts, peers.versions(), given.runs, time.monotonic() - start, names)
    if given.json:
        given.json.write_text(json.dumps([{"measurement": measure, "forwarder": peer, "samples": samples}
                                          for (measure, peer), samples in results.samples.items()], indent=1) + "\n")
    if not (given.only or given.peers or given.binary) and given.runs >= RUNS:
        (ROOT / "benches/results/forward.md").write_text(text)
    print(text)
