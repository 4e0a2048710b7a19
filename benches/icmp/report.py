"""The results as tables, one a measurement: what each tool found, and what it took, beside the best."""
from common.judge import OWN
from common.tables import Notes, cell, grid, headline

# Figure → head, digits, and whether the lowest is the best (`None`: there is no best).
FIGURES = {
    "found": ("found", 0, None), "missed": ("not found", 0, None), "wall": ("wall s", 2, True), "cpu_us": ("CPU µs/probe", 1, True),
    "machine_us": ("whole machine's CPU µs/probe", 1, None), "peak_mib": ("peak MiB", 1, None), "over_mib": ("over one host, MiB", 1, True),
    "local_drops": ("local drops", 0, None), "packets": ("packets a host", 3, True), "neighbours": ("neighbour entries", 0, None),
    "overflows": ("table overflows", 0, None), "p50": ("p50 µs", 1, None), "low50": ("true p50 at least", 1, None), "high50": ("at most", 1, None), "off50": ("p50 off %", 1, None),
    "p99": ("p99 µs", 1, None), "low99": ("true p99 at least", 1, None), "high99": ("at most", 1, None), "off99": ("p99 off %", 1, None), "each": ("each host off %, median", 1, None),
    "least": ("least µs", 2, None), "told": ("told %", 1, None), "per_second": ("probes a second", 0, None),
    "slow": ("sweep of 1,000/s", 0, None), "fast": ("sweep of 3,000/s", 0, None), "pings": ("100 pings of 1/s", 1, None),
    "receiving": ("raw sockets that receive", 0, None), "sending": ("that only send", 0, None),
}
SWEPT = ["found", "missed", "wall", "cpu_us", "machine_us", "peak_mib", "over_mib", "local_drops"]
TABLES = [
    ("A living /16, as fast as each can", "alive max", SWEPT),
    ("The same at 50,000 a second", "alive 50000", SWEPT),
    ("The same at 10,000 a second", "alive 10000", SWEPT),
    ("A silent /16, one pass, 500 ms to answer", "dead", [figure for figure in SWEPT if figure != "missed"]),
    ("A living /16, one packet of ten lost, 9 passes", "loss", ["found", "missed", "wall", "cpu_us", "packets"]),
    ("Round trips of one host, an echo each 10 ms", "rtt alone", ["p50", "low50", "high50", "off50", "p99", "low99", "high99", "off99", "least", "told"]),
    ("Round trips in a sweep of a living /16, as fast as each can", "rtt sweep", ["p50", "low50", "high50", "off50", "p99", "low99", "high99", "off99", "each", "least", "told"]),
    ("An on-link /20, of which 256 live", "link", ["found", "wall", "neighbours", "overflows"]),
    ("2,000 hosts, each once a second", "steady", ["per_second", "cpu_us", "peak_mib"]),
    ("A forward's round trips beside two sweeps and a hundred pings in one process", "company",
     ["p50", "p99", "slow", "fast", "pings", "receiving", "sending"]),
]
NOTES = """CPU is user and system time of the tool with all its threads and children (of what the kernel does for a packet,
it has what was done in its own calls: on a veth pair that is mostly also the peer's answer); the whole machine's is all that
was not idle meanwhile, interrupts included, divided by the hosts. In brackets: the ratio to the best. Memory is the peak of
what was resident, and what of it is more than for one host. Round trips are told by the tools; the truth are the kernel's own
stamps of the same packets, of one host in eight in a sweep: at most from a tap on the way out (what tcpdump sees), at least from
the entry into the peer, both to the answer's entry into our namespace. "Off" is 0 between these bounds.
fping is asked for two hosts fewer (it has sequence numbers for 65,535). A sweep of netjobs that lists no hosts counts them."""


def digits(figure):
    return lambda _: FIGURES[figure][1]


def table(results, title, key, figures, names, notes):
    figures = [figure for figure in figures if any(results.values(key, name, figure) for name in names)]
    best = {figure: min(medians) for figure in figures if FIGURES[figure][2]
            and (medians := [median for name in names if (median := results.median(key, name, figure)) and median > 0])}
    rows = []
    for name in names:
        failures = results.failures.get((key, name), [])
        if (key, name) not in results.samples and not failures:
            continue
        cells = [figure_cell(results, key, name, figure, best) for figure in figures]
        label = notes.missing(None if (key, name) not in results.samples else name, failures).replace("-", name, 1) if failures else name
        rows.append([label, *cells])
    return [f"## {title}", "", *grid(["", *(FIGURES[figure][0] for figure in figures)], rows), ""] if rows else []


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
