"""2,000 hosts, each asked once a second: what a probe costs."""
import ipaddress, itertools, pathlib, tempfile, time

from common.process import Process

from . import daemon, tools
from .network import ALIVE

HOSTS, WARM, SECONDS = 2000, 6, 10
# Longer than anybody is looked at.
LONG = 600


def hosts():
    return [str(host) for host in itertools.islice(ipaddress.ip_network(ALIVE), HOSTS)]


def jobs(folder):
    """A job a host."""
    return daemon.write(folder, [f"  - {{ name: p{number}, every: 1s, ping: {{ host: {host}, count: 1, timeout: 900ms }} }}" for number, host in enumerate(hosts())])


def long_pings(folder):
    """A job a host, each of five echoes."""
    return daemon.write(folder, [f"  - {{ name: p{number}, every: 5s, ping: {{ host: {host}, count: 5, interval: 1s, timeout: 900ms }} }}"
                                 for number, host in enumerate(hosts())])


def one_sweep(folder):
    return daemon.write(folder, [f"  - {{ name: s, every: 1s, sweep: {{ targets: [{hosts()[0]}-{hosts()[-1]}], rate: max, timeout: 500ms, report: none }} }}"])


def fping(folder):
    (folder / "hosts").write_text("\n".join(hosts()) + "\n")
    return ["/usr/bin/fping", "-q", "-l", "-i", f"{1000 / HOSTS:g}", "-p", 1000, "-f", folder / "hosts"]


def surge(_):
    return [tools.SURGE, "steady", hosts()[0], HOSTS, LONG]


def steady(world, tool, measure):
    """CPU of each probe that came to the peer, after a while to warm up."""
    world.network.count([ALIVE])
    try:
        with tempfile.TemporaryDirectory(prefix="netjobs-bench-") as folder:
            process = Process("steady", tool.commands["steady"](pathlib.Path(folder)), network=world.network.ours)
            try:
                time.sleep(WARM)
                cpu, (sent,), start = process.account.seconds(), world.network.requests(), time.monotonic()
                time.sleep(measure.options["seconds"])
                cpu, (sent_then,), took = process.account.seconds() - cpu, world.network.requests(), time.monotonic() - start
                if not process.alive():
                    raise RuntimeError(f"it ended with {process.popen.returncode}")
                probes = sent_then - sent
                return {"per_second": probes / took, "cpu_us": cpu / max(probes, 1) * 1e6, "peak_mib": process.status("VmHWM") / 1024}
            finally:
                process.end()
    finally:
        world.network.stop_counting()


MORE = [
    tools.Tool("netjobs, 5 echoes a run", None, {"steady": long_pings}),
    tools.Tool("netjobs, one sweep", None, {"steady": one_sweep}),
]
COMMANDS = {"netjobs": jobs, "fping": fping, "surge-ping": surge}
