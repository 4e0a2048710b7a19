"""`benches/run million`: short connections through one forward; descriptors and memory before and after."""
import argparse, pathlib, time

from common import tables
from common.process import end_all, stop_politely

from . import peers
from .measures import Load
from .peers import PEERS, Running

# Before the first look: what is allocated once.
WARM = 20_000
LIMIT = 1200


def connections(running, count):
    with Load("connections", running, LIMIT, seconds=LIMIT - 60, count=count, concurrency=16) as load:
        return load.run()


def settled(running):
    """Descriptors and resident KiB, once all connections are gone."""
    end = time.monotonic() + 10
    while running.metric("netjobs_forward_connections_active") > 0:
        if time.monotonic() > end:
            raise RuntimeError("connections are still open")
        time.sleep(0.05)
    time.sleep(0.5)
    return running.process.descriptors(), running.process.status("VmRSS")


def main(words):
    parser = argparse.ArgumentParser(prog="benches/run million", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="so many (default: a million, which alone writes the table)")
    parser.add_argument("--binary", type=pathlib.Path, help="measure this netjobs and write no table")
    given = parser.parse_args(words)
    count = given.count
    peers.use(given.binary)
    stop_politely()
    peers.install()
    peer = next(peer for peer in PEERS if peer.name == "netjobs")
    try:
        with Running(peer) as running:
            fresh = settled(running)
            connections(running, WARM)
            before = settled(running)
            found = connections(running, count)
            after = settled(running)
            carried = running.metric("netjobs_forward_connections_total")
    finally:
        end_all()
    rows = [("connections that passed a byte each way, and that failed", f"{found['count']:,}, {found['errors']}", f"{count:,}, 0"),
            ("connections on the forward's own books", f"{carried:,.0f}", f"{count + WARM + 2:,}: all, those before the first look too"),
            ("a second", f"{found['per_second']:,.0f}", ""),
            (f"descriptors: fresh, after {WARM:,}, after all", f"{fresh[0]}, {before[0]}, {after[0]}", "back to what they were"),
            (f"resident MiB: fresh, after {WARM:,}, after all", ", ".join(f"{kib / 1024:.1f}" for _, kib in (fresh, before, after)), "no growth")]
    tables.write("million", f"{count:,} connections", ("what", "measured", "wanted"), rows, keep=count == 1_000_000 and not given.binary)
