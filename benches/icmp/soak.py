"""`benches/run icmp soak`: pings and sweeps for minutes: memory, descriptors and threads stay what they were."""
import statistics, sys, time

from common import tables

from .daemon import Daemon
from .measures import World

# Reload, start-up and the first of everything are over by then.
WARM, STEP = 20, 1
JOBS = [*(f"  - {{ name: p{number}, every: 1s, ping: {{ host: 10.99.0.{number + 1}, count: 1 }} }}" for number in range(200)),
        "  - { name: alive, every: 5s, sweep: { targets: [10.99.0.0/18], rate: max, timeout: 300ms } }",
        "  - { name: dead, every: 7s, sweep: { targets: [10.98.0.0/20], rate: max, timeout: 300ms, passes: 1 } }",
        "  - { name: dead-ping, every: 1s, ping: { host: 10.98.0.1, count: 1, timeout: 500ms } }"]
# What a reader may call flat.
GROWTH = 2


def run(minutes, keep):
    world, looks = World(), []
    try:
        with Daemon(world, JOBS) as daemon:
            time.sleep(WARM)
            end = time.monotonic() + minutes * 60
            while time.monotonic() < end:
                if not daemon.process.alive():
                    raise RuntimeError(f"the daemon ended with {daemon.process.popen.returncode}")
                looks.append((daemon.process.status("VmRSS") / 1024, daemon.process.descriptors(), daemon.process.status("Threads")))
                time.sleep(STEP)
            page = daemon.page()
    finally:
        world.close()
    pings, packets = (total(page, name) for name in ("netjobs_ping_sent_packets_total", "netjobs_sweep_packets_total"))
    found = rows(looks) + [("echoes sent by pings, by sweeps", f"{pings:,.0f}, {packets:,.0f}", "", "")]
    tables.write("icmp soak", f"Pings and sweeps for {minutes:g} minutes", ("what", "measured", "wanted", "verdict"), found, keep)
    return all(row[3] != "missed" for row in found)


def total(page, family):
    return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.split("{")[0].split(" ")[0] == family)


def rows(looks):
    """The second third beside the last: what grows only at the start is a cache."""
    if len(looks) < 30:
        sys.exit("too short to say anything")
    third = len(looks) // 3
    middle, last = looks[third:2 * third], looks[2 * third:]
    resident = [statistics.median(look[0] for look in part) for part in (middle, last)]
    growth = (resident[1] / resident[0] - 1) * 100
    judged = [("resident MiB: lowest, highest; medians of the second and the last third",
               f"{min(look[0] for look in looks):.1f}, {max(look[0] for look in looks):.1f}; {resident[0]:.2f}, {resident[1]:.2f}",
               f"grows by at most {GROWTH} %", verdict(growth <= GROWTH))]
    for at, what in ((1, "descriptors"), (2, "threads")):
        seen = [[look[at] for look in part] for part in (middle, last)]
        judged.append((f"{what}: lowest, highest of the second and of the last third", "; ".join(f"{min(part)}, {max(part)}" for part in seen),
                       "no more than before", verdict(max(seen[1]) <= max(seen[0]))))
    return judged


def verdict(met):
    return "met" if met else "missed"
