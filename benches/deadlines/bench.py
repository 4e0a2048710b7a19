"""`benches/run deadlines`: silent, mute, slow and refusing services and name servers; how far runs go past their deadlines."""
import argparse, asyncio, ctypes, json, os, pathlib, statistics, subprocess, sys, tempfile, threading, time

from common import tables

TIMEOUT = 1.2
WANTED = "at most 50 ms"
SPAN = f"{int(TIMEOUT * 1000)}ms"
RELEASE = tables.ROOT / "target/release/netjobs"
# Ports: 7001 drops what comes, 7002 accepts and says nothing, 7003 refuses, 7004 says a byte a second. Whoever is asked
# for names never answers.
DROPS, MUTE, REFUSES, DRIPS = (f"127.0.0.1:{port}" for port in (7001, 7002, 7003, 7004))
NAME = "absent.example.com"
KINDS = {
    "exchange, dropped": {"exchange": {"to": DROPS, "send": "x"}},
    "exchange, mute": {"exchange": {"to": MUTE, "send": "x"}},
    "exchange, a byte a second": {"exchange": {"to": DRIPS, "send": "x", "want": "/never/"}},
    "exchange, UDP, dropped": {"exchange": {"to": f"udp://{DROPS}", "send": "x"}},
    "exchange, no name server": {"exchange": {"to": f"{NAME}:80", "send": "x"}},
    "wait tcp, dropped": {"wait": {"for": f"tcp://{DROPS}"}},
    "wait tcp, refused": {"wait": {"for": f"tcp://{REFUSES}"}},
    "wait tcp, no name server": {"wait": {"for": f"tcp://{NAME}:80"}},
    "wait http, dropped": {"wait": {"for": f"http://{DROPS}/"}},
    "wait http, mute": {"wait": {"for": f"http://{MUTE}/"}},
    "wait http, a byte a second": {"wait": {"for": f"http://{DRIPS}/"}},
    "wait http, no name server": {"wait": {"for": f"http://{NAME}/"}},
    "ping, dropped": {"ping": {"host": "127.0.0.9", "count": 1}},
}
RULES = """
ip link set lo up
nft add table inet t
nft add chain inet t i '{ type filter hook input priority 0 ; }'
nft add rule inet t i tcp dport 7001 drop
nft add rule inet t i udp dport '{ 53, 7001 }' drop
nft add rule inet t i ip daddr 127.0.0.9 icmp type echo-request drop
"""


async def mute(reader, writer):
    try:
        while await reader.read(4096):
            pass
    except OSError:
        pass
    writer.close()


async def drip(_, writer):
    try:
        for byte in b"HTTP/1.1 200 OK\r\nServer: slow":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(1)
    except OSError:
        pass
    writer.close()


def serve():
    """Both services, until this process ends."""
    async def both():
        for answer, address in ((mute, MUTE), (drip, DRIPS)):
            await asyncio.start_server(answer, *address.split(":"), backlog=4096)
        ready.set()
        await asyncio.Event().wait()

    ready = threading.Event()
    threading.Thread(target=asyncio.run, args=(both(),), daemon=True).start()
    if not ready.wait(10):
        raise RuntimeError("the services did not start")


def entries(jobs, more):
    """So many jobs of each kind; a job's name begins with the number of its kind."""
    return {"jobs": [{"name": f"{index}-{number}", kind: keys | {"timeout": SPAN}} | more
                     for index, body in enumerate(KINDS.values()) for kind, keys in body.items() for number in range(jobs)]}


def read(log, over, reasons):
    """Adds of each kind the runs' seconds past their deadlines, and the reasons they gave."""
    for line in log.read_text().splitlines(keepends=True):
        if not line.endswith("\n") or (record := json.loads(line))["event"] != "run_finished":
            continue
        title = list(KINDS)[int(record["job_name"].split("-")[0])]
        # An exchange has its time for the connection, and then again for the answer.
        before = record["samples"].get("connect_time") or 0
        over[title].append(record["duration_seconds"] - before - TIMEOUT)
        reasons[title].add(record["reason"])


def empty():
    return {title: [] for title in KINDS}, {title: set() for title in KINDS}


def spread(binary, jobs, count):
    """A daemon whose jobs start all the time, each every two seconds."""
    found = empty()
    with tempfile.TemporaryDirectory() as folder:
        file, log = pathlib.Path(folder) / "jobs.yaml", pathlib.Path(folder) / "log"
        file.write_text(json.dumps(entries(jobs, {"every": "2s"})))
        daemon = subprocess.Popen([binary, "run", file, "--log.file", log, "--web.listen-address", "127.0.0.1:0"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(2 * count + 2)
            # What ends with the daemon is no measurement.
            read(log, *found)
        finally:
            daemon.terminate()
            daemon.wait(40)
    return found


def burst(binary, jobs):
    """All jobs at the same moment, once."""
    found = empty()
    with tempfile.TemporaryDirectory() as folder:
        file, log = pathlib.Path(folder) / "jobs.yaml", pathlib.Path(folder) / "log"
        file.write_text(json.dumps(entries(jobs, {})))
        subprocess.run([binary, "once", file, "--json", log], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
        read(log, *found)
    return found


def cell(values):
    """Median, the one that 999 of 1,000 do not pass, and the worst."""
    values = sorted(values)
    high = values[min(len(values) - 1, len(values) * 999 // 1000)]
    return f"median {statistics.median(values) * 1e3:.1f}, p99.9 {high * 1e3:.1f}, worst {values[-1] * 1e3:.1f} ms"


def inside():
    """Whether this process has network and mounts of its own; else a child that has does the work."""
    if "NETJOBS_BENCH_INSIDE" in os.environ:
        return True
    command = ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, *sys.argv]
    sys.exit(subprocess.run(command, env=os.environ | {"NETJOBS_BENCH_INSIDE": "1"}).returncode)


def main(words):
    parser = argparse.ArgumentParser(prog="benches/run deadlines", description=__doc__)
    parser.add_argument("--jobs", type=int, default=40, metavar="N", help="so many of each kind, every two seconds (default: 40)")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="so many times (default: 20; fewer write no table)")
    parser.add_argument("--binary", type=pathlib.Path, default=RELEASE, help="measure this netjobs and not a fresh one")
    given = parser.parse_args(words)
    inside()
    subprocess.run(["sh", "-ec", RULES], check=True)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as names:
        names.write("nameserver 127.0.0.1\n")
        names.flush()
        subprocess.run(["mount", "--bind", names.name, "/etc/resolv.conf"], check=True)
        serve()
        over, reasons = spread(given.binary, given.jobs, given.rounds)
        bursts = [value for values in burst(given.binary, given.jobs)[0].values() for value in values]
    total = [value for values in over.values() for value in values]
    early = [f"{sum(value < -0.001 for value in values)} of {title}" for title, values in over.items() if min(values, default=0) < -0.001]
    rows = [(f"{title}: {len(over[title]):,} runs, {', '.join(sorted(reasons[title]))}", cell(over[title]), WANTED) for title in KINDS if over[title]]
    rows.append((f"all: {len(total):,} runs of {given.jobs * len(KINDS):,} jobs", cell(total), WANTED))
    rows.append(("of these past it by more than 50 ms", str(sum(value > 0.05 for value in total)), "none"))
    # One look-up serves all who wait for its name, and they share its failure, which may come before a run's own deadline.
    rows.append(("of these over before it", ", ".join(early) or "none", "none but by a shared look-up that failed"))
    rows.append((f"{len(bursts):,} runs that `netjobs once` starts at the same moment", cell(bursts), ""))
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    rows.append(("load of the machine, which was shared, in the last 1, 5 and 15 minutes", load, ""))
    tables.write("deadlines", f"Past a deadline of {SPAN}", ("what", "past the deadline", "wanted"), rows, keep=given.rounds >= 20)
