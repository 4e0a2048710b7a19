"""The results as tables, one a measurement."""
from common.tables import Notes, cell, grid, headline

from .measures import DIRECTIONS, SIZES, TCP_ONLY

DIGITS = {"cpu_per_gib": 2, "gib_per_second": 2, "spliced": 1, "cpu_us": 1, "per_second": 0, "kib": 2, "descriptors": 2, "lost": 2}


def digits(figure, value):
    if figure in DIGITS:
        return DIGITS[figure]
    return 0 if value >= 1000 else 1


def tables():
    """Title and columns, each (head, measurement, figure)."""
    for title, figure in (("Bulk: CPU-seconds of the forwarder per GiB", "cpu_per_gib"), ("Bulk: GiB/s", "gib_per_second"),
                          ("Bulk: spliced bytes, %", "spliced")):
        for direction in DIRECTIONS:
            yield f"{title}, {direction}", [(f"{n} streams" if n > 1 else "1 stream", f"bulk {direction} {n}", figure) for n in (1, 8, 64)]
    yield ("Connections: connect, one byte each way, close; 16 at once",
           [("CPU µs each", "connections", "cpu_us"), ("a second", "connections", "per_second"), ("p50 µs", "connections", "p50"), ("p99 µs", "connections", "p99")])
    for count in (1, 64, 1000):
        yield (f"Round trips of 64 bytes, {count} connection{'s' * (count > 1)}",
               [("CPU µs each", f"rtt {count}", "cpu_us"), ("a second", f"rtt {count}", "per_second"), ("p50 µs", f"rtt {count}", "p50"),
                ("p99 µs", f"rtt {count}", "p99"), ("p99.9 µs", f"rtt {count}", "p999")])
    yield ("A mouse, 64 bytes each 2 ms, beside 8 elephants",
           [("p50 µs", "mice", "p50"), ("p99 µs", "mice", "p99"), ("elephants GiB/s", "mice", "gib_per_second")])
    yield ("Idle connections, after a byte each way",
           [("KiB each of 3,000", "idle", "kib"), ("descriptors each", "idle", "descriptors"),
            ("KiB each of 9,000", "idle-many", "kib"), ("descriptors each", "idle-many", "descriptors")])
    yield "UDP: datagrams a second, echoed without a loss", [(f"{size} B", f"udp {size}", "per_second") for size in SIZES]
    yield "UDP: CPU µs of an echoed datagram at 10,000 a second", [(f"{size} B", f"udp-cpu {size}", "cpu_us") for size in SIZES]
    yield "UDP: lost of these, %", [(f"{size} B", f"udp-cpu {size}", "lost") for size in SIZES]
    yield "UDP: 5,000 sessions", [("KiB each", "sessions", "kib"), ("descriptors each", "sessions", "descriptors")]


def table(results, title, columns, notes, chosen):
    rows, without = [], []
    for name in chosen:
        if TCP_ONLY in results.failures.get((columns[0][1], name), []):
            without.append(name)
            continue
        cells = []
        for _, measure, figure in columns:
            text = cell(results.values(measure, name, figure), lambda value, figure=figure: digits(figure, value))
            cells.append(notes.missing(text, results.failures.get((measure, name), [])))
        if any(not text == "-" for text in cells):
            rows.append([name, *cells])
    if not rows:
        return []
    only = [f"{TCP_ONLY}: {', '.join(without)}.", ""] if without else []
    return [f"## {title}", "", *grid(["", *(head for head, _, _ in columns)], rows), "", *only]


def page(results, verdicts, versions, runs, took, chosen):
    named = ", ".join(f"{name} ({text})" for name, text in versions.items() if name in chosen)
    lines = ["# Forwarding beside others", "",
             headline("forward", "loopback", took), "",
             ("One run." if runs == 1 else f"Medians of {runs} runs (of at most 3 for what is held open), with the lowest and the highest.")
             + " Each figure is of a forwarder that was started for it; the forwarders take turns "
             "within a measurement. CPU is that of all its processes and threads. Memory is the growth of its proportional set (what the kernel "
             "keeps for sockets and pipes is not in it). `direct` has no forwarder: the load's own ceiling. Clients and server share the cores with the forwarder.", "",
             f"Versions: {named}.", ""]
    if verdicts:
        lines += ["## Targets", "", *grid(["target", "measured", "verdict"], verdicts), ""]
    notes = Notes()
    for title, columns in tables():
        lines += table(results, title, columns, notes, chosen)
    lines += notes.lines()
    return "\n".join(lines).rstrip() + "\n"
