"""The results as tables, one a measurement: what each tool found, and what it took, beside the best."""
from common.judge import OWN
from common.tables import Notes, cell, grid, headline

HEADS = {
    "found": "found", "missed": "not found", "wall": "wall s", "cpu_us": "CPU µs/probe", "machine_us": "whole machine's CPU µs/probe",
    "peak_mib": "peak MiB", "over_mib": "over one host, MiB", "local_drops": "local drops", "packets": "packets a host",
    "neighbours": "neighbour entries", "overflows": "table overflows", "p50": "p50 µs", "low50": "true p50 at least", "high50": "at most",
    "off50": "p50 off %", "p99": "p99 µs", "low99": "true p99 at least", "high99": "at most", "off99": "p99 off %",
    "each": "each host off %, median", "least": "least µs", "told": "told %", "per_second": "probes a second",
    "slow": "sweep of 1,000/s", "fast": "sweep of 3,000/s", "pings": "100 pings of 1/s", "receiving": "raw sockets that receive",
    "sending": "that only send",
}
DIGITS = {"wall": 2, "least": 2, "packets": 3} | dict.fromkeys(
    ("found", "missed", "local_drops", "neighbours", "overflows", "per_second", "slow", "fast", "receiving", "sending"), 0)
# The lower the better, with the ratio to the lowest.
RATED = {"wall", "cpu_us", "packets"}
SWEPT = ["found", "missed", "wall", "cpu_us", "machine_us", "peak_mib", "over_mib", "local_drops"]
ROUND_TRIPS = [*(f"{what}{share}" for share in (50, 99) for what in ("p", "low", "high", "off")), "least", "told"]
TABLES = [
    ("A living /16, as fast as each can", "alive max", SWEPT),
    ("The same at 50,000 a second", "alive 50000", SWEPT),
    ("The same at 10,000 a second", "alive 10000", SWEPT),
    ("A silent /16, one pass, 500 ms to answer", "dead", [figure for figure in SWEPT if figure != "missed"]),
    ("A living /16, one packet of ten lost, 9 passes", "loss", ["found", "missed", "wall", "cpu_us", "packets"]),
    ("Round trips of one host, an echo each 10 ms", "rtt alone", ROUND_TRIPS),
    ("Round trips in a sweep of a living /16, as fast as each can", "rtt sweep", [*ROUND_TRIPS, "each"]),
    ("An on-link /20, of which 256 live", "link", ["found", "wall", "neighbours", "overflows"]),
    ("2,000 hosts, each once a second", "steady", ["per_second", "cpu_us", "peak_mib"]),
    ("A forward's round trips beside two sweeps and a hundred pings in one process", "company",
     ["p50", "p99", "slow", "fast", "pings", "receiving", "sending"]),
]
NOTES = """CPU is user and system time of the tool with all its threads and children (of what the kernel does for a packet,
it has what was done in its own calls: on a veth pair that is mostly also the peer's answer); the whole machine's is all that
was not idle meanwhile, interrupts included, divided by the hosts. In brackets: the ratio to the best. Memory is the peak of
what was resident, and what of it is more than for one host. Round trips are told by the tools; the truth lies between the kernel's own
stamps of the same packets, of one host in eight in a sweep: at most from a tap on the way out (what tcpdump sees), at least from
the entry into the peer, both to the answer's entry into our namespace. "Off" is 0 between these bounds.
fping is asked for two hosts fewer (it has sequence numbers for 65,535). A sweep of netjobs that lists no hosts counts them, and
measures no round trips; one that lists them has each packet stamped by the kernel as it leaves."""


def digits(figure):
    return lambda _: DIGITS.get(figure, 1)


def table(results, title, key, figures, names, notes):
    figures = [figure for figure in figures if any(results.values(key, name, figure) for name in names)]
    best = {figure: min(medians) for figure in RATED.intersection(figures)
            if (medians := [median for name in names if (median := results.median(key, name, figure)) and median > 0])}
    rows = []
    for name in names:
        failures, known = results.failures.get((key, name), []), (key, name) in results.samples
        if known or failures:
            # The note stands beside the name: one run of a tool gives all of a row, or nothing.
            label = notes.missing(name, failures) if known else f"{name} {notes.mark(failures[0])}"
            rows.append([label, *(figure_cell(results, key, name, figure, best) for figure in figures)])
    return [f"## {title}", "", *grid(["", *(HEADS[figure] for figure in figures)], rows), ""] if rows else []


def figure_cell(results, key, name, figure, best):
    text = cell(results.values(key, name, figure), digits(figure))
    if text is None:
        return "-"
    ratio = results.median(key, name, figure) / best[figure] if figure in best else None
    return text + (f" [{ratio:.2f}]" if ratio and ratio > 0 else "")


def page(results, verdicts, versions, runs, took, names):
    named = ", ".join(f"{name} {text}" for name, text in versions.items() if any(other.startswith(name) for other in names) and name != OWN)
    lines = ["# Pings and sweeps beside others", "", headline("icmp", "network namespaces joined by veth pairs", took), "",
             ("One run." if runs == 1 else f"Medians of {runs} runs (of what takes long, fewer), with the lowest and the highest.")
             + " The tools take turns within a measurement.", "", " ".join(NOTES.split()), "", f"Versions: netjobs {versions[OWN]}, {named}.", ""]
    if verdicts:
        lines += ["## Targets", "", *grid(["target", "measured", "verdict"], verdicts), ""]
    notes = Notes()
    for title, key, figures in TABLES:
        lines += table(results, title, key, figures, names, notes)
    return "\n".join(lines + notes.lines()).rstrip() + "\n"
