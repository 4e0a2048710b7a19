"""`benches/run stuck`: connections through a forward while nobody reads its log, beside the same with a log that is read."""
import argparse, fcntl, os, pathlib, re, socket, struct, tempfile, threading, time, urllib.request

from common import tables
from common.process import Process, end_all, listens, stop_politely, until

from . import peers
from .peers import HOST, free_port

CLIENTS, SECONDS, TURNS = 8, 3, 10
F_SETPIPE_SZ = 1031


class Forward:
    """A daemon with a forward to an echo of its own, and where its log goes."""

    def __init__(self, folder, name, log):
        self.port, self.echo, self.web = free_port(), free_port(), free_port()
        file = folder / f"{name}.yaml"
        file.write_text(f"jobs:\n  - {{ name: echo, echo: {{ listen: '{HOST}:{self.echo}' }} }}\n"
                        f"  - {{ name: way, forward: {{ listen: '{HOST}:{self.port}', to: '{HOST}:{self.echo}' }} }}\n")
        self.process = Process(name, [peers.BINARY, "run", file, "--log.format", "json", "--web.listen-address", f"{HOST}:{self.web}"], stdout=log)
        until("the forward listens", 20, lambda: listens(self.port))

    def dropped(self):
        with urllib.request.urlopen(f"http://{HOST}:{self.web}/metrics", timeout=10) as answer:
            return int(re.search(r"^netjobs_log_dropped_total (\d+)", answer.read().decode(), re.M)[1])

    def load(self, seconds):
        """Connections a second, and the daemon's CPU of each in µs."""
        counts, end = [0] * CLIENTS, time.monotonic() + seconds

        def client(number):
            while time.monotonic() < end:
                with socket.create_connection((HOST, self.port)) as stream:
                    # A reset leaves no port waiting: there are too few for a minute of this.
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    stream.sendall(b"x")
                    if stream.recv(1) == b"x":
                        counts[number] += 1

        threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
        cpu, start = self.process.account.seconds(), time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - start
        return sum(counts) / took, (self.process.account.seconds() - cpu) / max(sum(counts), 1) * 1e6


def main(words):
    parser = argparse.ArgumentParser(prog="benches/run stuck", description=__doc__)
    parser.add_argument("--binary", type=pathlib.Path, help="measure this netjobs and write no table")
    given = parser.parse_args(words)
    peers.use(given.binary)
    stop_politely()
    unread, log = os.pipe()
    fcntl.fcntl(log, F_SETPIPE_SZ, 4096)
    found = {"read": [], "stuck": []}
    with tempfile.TemporaryDirectory() as folder:
        try:
            with open("/dev/null", "wb") as null:
                forwards = {"read": Forward(pathlib.Path(folder), "read", null), "stuck": Forward(pathlib.Path(folder), "stuck", log)}
            end = time.monotonic() + 300
            while not forwards["stuck"].dropped():
                if time.monotonic() > end:
                    raise RuntimeError("no line was dropped")
                forwards["stuck"].load(SECONDS)
            forwards["read"].load(SECONDS)
            before = forwards["stuck"].dropped()
            for turn in range(TURNS):
                for name in ("read", "stuck") if turn % 2 else ("stuck", "read"):
                    found[name].append(forwards[name].load(SECONDS))
            dropped = [forwards["stuck"].dropped() - before, forwards["read"].dropped()]
        finally:
            end_all()
            os.close(unread)
    rates, costs = ({name: [sample[at] for sample in samples] for name, samples in found.items()} for at in (0, 1))
    ratio = [stuck / read for stuck, read in zip(rates["stuck"], rates["read"])]
    cost = [stuck / read for stuck, read in zip(costs["stuck"], costs["read"])]
    shown = lambda values, digits: tables.cell(values, lambda _: digits)
    rows = [("connections a second: log read, log stuck", f"{shown(rates['read'], 0)}; {shown(rates['stuck'], 0)}", ""),
            ("the second to the first, turn by turn", shown(ratio, 3), "at least 0.99"),
            ("CPU of a connection, µs: log read, log stuck", f"{shown(costs['read'], 1)}; {shown(costs['stuck'], 1)}", ""),
            ("the second to the first, turn by turn", shown(cost, 3), ""),
            ("lines dropped meanwhile: stuck, read", f"{dropped[0]:,}; {dropped[1]:,}", "all; none")]
    tables.write("stuck", "A log that nobody reads", ("what", "measured", "wanted"), rows, keep=not given.binary)
