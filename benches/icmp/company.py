"""A forward beside two sweeps and a hundred pings in one process: does it feel them, and does each keep its rate?"""
import time

from forward import peers
from forward.measures import Load

from . import tools
from .daemon import Daemon
from .network import COMPANY

# Each longer than the measurement, at its own rate, over half of the living; and a hundred hosts of their own network.
SWEEPS, PINGS = {"10.99.0.0/17": 1000, "10.99.128.0/17": 3000}, 100
FORWARD = "  - {{ name: forward, forward: {{ listen: '127.0.0.1:{}', to: '127.0.0.1:{}' }} }}"
WARM = 2


class Between:
    """The ports of the forward, as the load wants them."""

    def __init__(self):
        self.listen, self.to = peers.free_port(), peers.free_port()


def alone(ports):
    return [FORWARD.format(ports.listen, ports.to)]


def together(ports):
    sweeps = [f"  - {{ name: s{rate}, every: 1s, sweep: {{ targets: [{half}], edges: include, rate: {rate}/s, report: none }} }}" for half, rate in SWEEPS.items()]
    pings = [f"  - {{ name: p{number}, every: 1s, ping: {{ host: 10.94.0.{number + 1}, count: 1 }} }}" for number in range(PINGS)]
    return alone(ports) + sweeps + pings


def beside(world, tool, measure):
    """Round trips through the forward; and what came to the peer meanwhile, by sender."""
    ports, seconds = Between(), measure.options["seconds"]
    world.network.count([*SWEEPS, COMPANY])
    try:
        with Daemon(world, tool.commands["company"](ports)) as daemon:
            load = Load("roundtrips", ports, 30, network=world.network.ours, connections=1, size=64, seconds=seconds)
            with load:
                time.sleep(WARM)
                before, start = world.network.requests(), time.monotonic()
                found = load.run()
                after, took = world.network.requests(), time.monotonic() - start
            receiving, sending = daemon.raw_sockets()
    finally:
        world.network.stop_counting()
    names = ("slow", "fast", "pings")
    rates = {name: (now - then) / took if tool.commands["company"] is together else None for name, now, then in zip(names, after, before)}
    return {"p50": found["p50_us"], "p99": found["p99_us"], **rates, "receiving": receiving, "sending": sending}


MORE = [tools.Tool("netjobs, the forward alone", None, {"company": alone})]
