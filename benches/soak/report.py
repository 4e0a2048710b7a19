"""The page of the soak: verdicts, and the samples by tenths of the time."""
import math, statistics

from common.tables import grid, headline

from .faults import FAULTS
from .jobsets import ROUND
from .rig import BYTES, IDLERS, PER_SECOND, STREAMS

# The start is over after a sixth, at the latest after so many seconds; a round at least.
WARM = 600
# Wanted of memory, in percent an hour, and of descriptors that may be between two looks.
SLOPE, SLACK = 1, 3
TENTHS = 10


def warmed(samples):
    """Samples after the start, in whole rounds, so that each slot weighs the same."""
    warm = max(len(ROUND), sum(1 for sample in samples if sample["at"] < min(WARM, samples[-1]["at"] / 6)))
    warm = math.ceil(warm / len(ROUND)) * len(ROUND)
    return samples[min(warm, len(samples) - 2 * len(ROUND)):]


def slope(samples):
    """Growth of resident memory in percent an hour and its standard error: a line through all, each slot about its own mean."""
    means = {}
    for sample in samples:
        means.setdefault(sample["turn"], []).append((sample["at"], sample["resident"]))
    means = {turn: [statistics.mean(values) for values in zip(*pairs)] for turn, pairs in means.items()}
    points = [(sample["at"] - means[sample["turn"]][0], sample["resident"] - means[sample["turn"]][1]) for sample in samples]
    spread = sum(at * at for at, _ in points)
    if not spread:
        return math.nan, math.inf
    line = sum(at * value for at, value in points) / spread
    rest = sum((value - line * at) ** 2 for at, value in points) / max(1, len(points) - len(means) - 1)
    scale = 3600 / statistics.mean(sample["resident"] for sample in samples) * 100
    return line * scale, math.sqrt(rest / spread) * scale


def halves(samples, figure):
    """Slot by slot: the median of the first and of the second half."""
    middle = (samples[0]["at"] + samples[-1]["at"]) / 2
    for turn in range(len(ROUND)):
        of = [sample for sample in samples if sample["turn"] == turn]
        first, second = ([sample[figure] for sample in of if (sample["at"] <= middle) == early] for early in (True, False))
        if first and second:
            yield FAULTS[turn].__name__, statistics.median(first), statistics.median(second)


def flat(samples, figure, slack):
    found = list(halves(samples, figure))
    text = "; ".join(f"{name.replace('_', ' ')}: {first:g}, {second:g}" for name, first, second in found)
    return text, bool(found) and all(second <= first + slack for _, first, second in found)


def failures(samples, end):
    """Short connections that failed, by reason: those while hardly a descriptor was free, and all others."""
    scarce, others, before = {}, {}, {}
    for counts, slot in [*((sample, FAULTS[sample["turn"]].__name__) for sample in samples), (end, "end")]:
        for name, count in counts.items():
            if name.startswith("short failed") and count > before.get(name, 0):
                of = scarce if slot == "few_descriptors" else others
                reason = name.split(": ", 1)[1]
                of[reason] = of.get(reason, 0) + count - before.get(name, 0)
        before = counts
    return scarce, others


def verdicts(soak, end):
    """Rows: what, measured, wanted, met."""
    samples, counts, scraper = warmed(soak.samples), end["counts"], soak.rig.scraper
    growth, error = slope(samples)
    told = {name: count for name, count in counts.items() if "broken" in name}
    scarce, failed = failures(soak.samples, counts)
    short = soak.samples[-1]["at"] < 3 * WARM
    rows = [("resident memory, a line through the samples after the start", f"{growth:+.2f} ± {error:.2f} % an hour", f"less than {SLOPE} %",
             ("too short to tell" if growth < SLOPE + 2 * error else "grows; too short to tell whether it ends") if short else growth < SLOPE)]
    late = samples[len(samples) // 2 // len(ROUND) * len(ROUND):]
    growth, error = slope(late)
    rows.append(("of which the second half of them alone", f"{growth:+.2f} ± {error:.2f} % an hour", f"less than {SLOPE} %", "too short to tell" if short else growth < SLOPE))
    for figure, what, slack in (("own", "descriptors but those of connections and their pipes", SLACK), ("threads", "threads", 0)):
        text, met = flat(samples, figure, slack)
        rows.append((f"{what}, by slot, medians of the first and of the second half", text, f"at most {slack} more" if slack else "no more", met))
    rows += [(f"{STREAMS} streams of {BYTES / 1e6:g} MB/s, every byte compared", f"{counts.get('stream bytes', 0) / 1e9:.2f} GB; {told or 'none broken'}", "none broken",
              not told and counts.get("streams") == STREAMS),
             (f"{PER_SECOND} connections a second, every byte compared", f"{counts.get('short done', 0):,} whole; {failed or 'none failed'}; "
              f"{counts.get('short longer than a second', 0):,} took longer than a second", "none failed but while there are no descriptors", not failed and counts.get("short done", 0) > 0),
             ("of which failed while hardly a descriptor was free", f"{scarce or 'none'}", "", None),
             ("datagrams, and answers to them", f"{counts.get('datagrams', 0):,}, {counts.get('datagrams back', 0):,}", "", None),
             (f"clients that do nothing, {IDLERS} a second", f"{counts.get('idlers', 0):,}", "", None),
             ("connections while their upstream was killed again and again", f"{counts.get('flaky done', 0):,} whole of {counts.get('flaky', 0):,}", "", None),
             ("reloads that were taken, and sets that were refused", f"{soak.reloads}, {soak.refused}", "as they are right or wrong", not said(soak, "reload")),
             ("faults", f"{soak.faults}", "", None),
             ("health and metrics, once a second", f"{scraper.answers:,} answers, the slowest after {scraper.slowest:.2f} s; {len(scraper.failed)} without, "
              f"{scraper.failed[:3]}", "all answer", not scraper.failed and scraper.answers > 0),
             ("jobs that do not pass when all is well again", said(soak, "`") or "none", "none", not said(soak, "`")),
             ("lines of the log that do not belong there, such as panics", f"{len(soak.rig.log.bad)} of {soak.rig.log.lines:,} {soak.rig.log.bad[:2] or ''}", "none", not soak.rig.log.bad),
             ("said on standard error", end["said"] or "nothing", "nothing", not end["said"]),
             ("the end, once told", f"{end['ended']:.1f} s, exit {end['code']}", "exit 0", end["code"] == 0)]
    return rows


def said(soak, start):
    return "; ".join(text for text in soak.amiss if text.startswith(start))


def tenths(samples):
    """The samples of each tenth: what it held, and what it did."""
    rows = []
    for tenth in range(TENTHS):
        part = samples[len(samples) * tenth // TENTHS:len(samples) * (tenth + 1) // TENTHS]
        if not part:
            continue
        before = samples[len(samples) * tenth // TENTHS - 1] if tenth else None
        span = part[-1]["at"] - (before["at"] if before else 0)
        more = lambda name: part[-1].get(name, 0) - (before.get(name, 0) if before else 0)
        both = lambda name, digits: f"{min(one[name] for one in part):.{digits}f}–{max(one[name] for one in part):.{digits}f}"
        rows.append([f"{part[-1]['at'] / 60:.1f}", both("descriptors", 0), both("threads", 0), f"{statistics.median(one['resident'] for one in part):.1f}", both("resident", 1),
                     f"{part[-1]['peak']:.1f}", f"{more('cpu') / span * 100:.0f}", f"{more('short done') / span:.0f}", f"{more('stream bytes') / span / 1e6:.1f}",
                     f"{more('netjobs_run_duration_seconds_count'):,.0f}", f"{more('netjobs_run_failures_total'):,.0f}", f"{more('netjobs_runs_skipped_total'):,.0f}",
                     f"{more('lines'):,.0f}", f"{more('netjobs_log_dropped_total'):,.0f}",
                     f"{more('netjobs_events_dropped_total'):,.0f}", both("series", 0)])
    return rows


def page(soak, end, minutes, took):
    rows = verdicts(soak, end)
    word = {True: "met", False: "missed", None: ""}
    head = ["until minute", "descriptors", "threads", "resident MiB, median", "lowest–highest", "peak MiB", "CPU, % of a core", "connections a second",
            "streams MB/s", "runs", "failed", "left out", "log lines", "lines dropped", "events dropped", "series"]
    lines = [f"# Everything at once for {minutes:g} minutes", "", headline("soak", "network namespaces", took), "",
             "One daemon: forwards under load, echoes, checks of every kind once a second, sweeps, and all the while slots of 10 s. Each begins with a reload "
             "(jobs come, go and change; three of six sets are wrong and must be refused) and has a fault in its middle, in turn: none; an upstream killed and back; "
             "loss and rejects for pings; the log unread, to the end of the round; hardly a free descriptor, then the process stopped for 2 s; many scrapes at once and clients that never "
             "finish asking. At its end all is looked at. Runs fail while their target is at fault, as they should.", "",
             *grid(["what", "measured", "wanted", "verdict"], [[what, found, wanted, word.get(met, met)] for what, found, wanted, met in rows]), "",
             "## By tenths of the time", "", *grid(head, tenths(soak.samples))]
    return "\n".join(lines) + "\n", all(met is not False for *_, met in rows)
