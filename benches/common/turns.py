"""Measurements in turns: within each, those who are compared follow each other, so that a noisy minute hits all."""
import statistics, sys, time

# Who fails so often is not asked again.
TRIES = 2


class Unfit(Exception):
    """Why somebody has no figure in a row."""


class Hopeless(Unfit):
    """The same of somebody who need not be asked again."""


class Results:
    """Samples by measurement and peer, and the reasons for those that are missing."""

    def __init__(self):
        self.samples, self.failures, self.hopeless = {}, {}, set()

    def add(self, measure, peer, sample):
        self.samples.setdefault((measure, peer), []).append(sample)

    def fail(self, measure, peer, reason):
        self.failures.setdefault((measure, peer), []).append(reason)

    def values(self, measure, peer, figure):
        found = [sample.get(figure) for sample in self.samples.get((measure, peer), [])]
        return [value for value in found if value is not None]

    def median(self, measure, peer, figure):
        values = self.values(measure, peer, figure)
        return statistics.median(values) if values else None

    def listing(self):
        return [{"measurement": measure, "peer": peer, "samples": samples} for (measure, peer), samples in self.samples.items()]


def choose(given, all_of, what, fits):
    """Those that a list of words, separated by commas, names; all without one."""
    if not given:
        return all_of
    for word in given.split(","):
        if not any(fits(item, word) for item in all_of):
            sys.exit(f"there is no {what} `{word}`")
    return [item for item in all_of if any(fits(item, word) for word in given.split(","))]


def run_all(measures, peers, runs, sample, end=None):
    """`measure.why_not(peer)`: whether it is left out, and the reason to print; `sample(measure, peer)` → figures."""
    results = Results()
    for measure in measures:
        for turn in range(min(runs, measure.runs or runs)):
            for peer in peers:
                if end and time.monotonic() > end:
                    results.fail(measure.key, peer.name, "no time was left")
                else:
                    take_turn(results, measure, peer, sample, turn)
    return results


def take_turn(results, measure, peer, sample, turn):
    key = measure.key, peer.name
    out, reason = measure.why_not(peer)
    if out:
        if turn == 0 and reason:
            results.fail(*key, reason)
        return
    if key in results.hopeless or len(results.failures.get(key, [])) >= TRIES:
        return
    start = time.monotonic()
    try:
        found = sample(measure, peer)
        results.add(*key, found)
        said = ", ".join(f"{name} {value:.5g}" for name, value in found.items() if value is not None)
    except (Unfit, RuntimeError) as error:
        results.fail(*key, str(error))
        if isinstance(error, Hopeless):
            results.hopeless.add(key)
        said = f"- ({error})"
    print(f"{turn + 1} {measure.key:18} {peer.name:22} {time.monotonic() - start:5.1f} s: {said}", file=sys.stderr, flush=True)
