"""`benches/run reload`: a hundred reloads under short connections and long streams; nobody is refused, reset or given a wrong byte."""
import argparse, os, pathlib, signal, socket, threading, time, urllib.request

from common import tables
from common.process import end_all, stop_politely

from . import peers
from .measures import Load
from .peers import HOST, PEERS, Running, free_port

RELOADS = 100
STREAMS = 4
BLOCK = 64 << 10
LIMIT = 1200


def echo(server):
    """Sends back what it gets, one thread a stream."""
    def serve(stream):
        while block := stream.recv(BLOCK):
            stream.sendall(block)
    while True:
        try:
            stream = server.accept()[0]
        except OSError:
            return
        threading.Thread(target=serve, args=(stream,), daemon=True).start()


class Stream(threading.Thread):
    """A connection that lives as long as all reloads, and compares each byte that comes back."""

    def __init__(self, port, over):
        super().__init__(daemon=True)
        self.stream, self.over, self.bytes, self.wrong = socket.create_connection((HOST, port), timeout=30), over, 0, None

    def run(self):
        try:
            while not self.over.is_set():
                block, back = os.urandom(BLOCK), b""
                self.stream.sendall(block)
                while len(back) < BLOCK:
                    part = self.stream.recv(BLOCK)
                    if not part:
                        raise EOFError("ended early")
                    back += part
                if back != block:
                    raise ValueError("other bytes came back")
                self.bytes += BLOCK
                time.sleep(0.01)
        except (OSError, EOFError, ValueError) as error:
            self.wrong = error


def write(running, streams, upstream, number):
    """Both forwards are other jobs each time, and a third comes and goes. Written beside and renamed: never half a file."""
    jobs = (f"jobs:\n  - name: bench\n    forward: {{ listen: '{HOST}:{running.listen}', to: '{HOST}:{running.to}', idle_timeout: {60 + number}s }}\n"
            f"  - name: streams\n    forward: {{ listen: '{HOST}:{streams}', to: '{HOST}:{upstream}', idle_timeout: {60 + number}s }}\n")
    if number % 2:
        jobs += f"  - name: other\n    echo: {{ listen: '{HOST}:0' }}\n"
    folder = pathlib.Path(running.folder.name)
    (folder / "next").write_text(jobs)
    os.replace(folder / "next", folder / "jobs.yaml")


def reloads_taken(running):
    with urllib.request.urlopen(f"http://{HOST}:{running.web}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    value = lambda name: next(float(line.split()[1]) for line in lines if line.startswith(name + " "))
    return value("netjobs_config_last_reload_success_timestamp_seconds"), value("netjobs_config_last_reload_successful")


def reload(running, streams, upstream, number):
    """Asks by signal and waits until it is taken."""
    before = reloads_taken(running)[0]
    write(running, streams, upstream, number)
    running.process.popen.send_signal(signal.SIGHUP)
    end = time.monotonic() + 30
    while (state := reloads_taken(running))[0] == before:
        if not state[1] or time.monotonic() > end:
            raise RuntimeError(f"reload {number} was not taken")
        time.sleep(0.005)


def main(words):
    parser = argparse.ArgumentParser(prog="benches/run reload", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="so many connections (default: a million)")
    parser.add_argument("--binary", type=pathlib.Path, help="measure this netjobs")
    parser.add_argument("--note", default="", help="what a reader of the table should know of the machine")
    given = parser.parse_args(words)
    peers.use(given.binary)
    stop_politely()
    peers.install()
    peer = next(peer for peer in PEERS if peer.name == "netjobs")
    over, found = threading.Event(), {}
    with socket.create_server((HOST, 0)) as server:
        threading.Thread(target=echo, args=(server,), daemon=True).start()
        upstream, port = server.getsockname()[1], free_port()
        try:
            with Running(peer) as running:
                reload(running, port, upstream, 0)
                streams = [Stream(port, over) for _ in range(STREAMS)]
                with Load("connections", running, LIMIT, seconds=LIMIT - 60, count=given.count, concurrency=16) as load:
                    [stream.start() for stream in streams]
                    working = threading.Thread(target=lambda: found.update(load.run()), daemon=True)
                    working.start()
                    done, under_load = 0, 0
                    while done < RELOADS or working.is_alive():
                        if done < RELOADS:
                            done += 1
                            reload(running, port, upstream, done)
                            under_load += working.is_alive()
                        # Spread over the whole load, as far as its length is known.
                        time.sleep(given.count / 10_000 / RELOADS / 2)
                    working.join()
                over.set()
                [stream.join(30) for stream in streams]
                closes = running.metric("netjobs_forward_closes_total")
                carried = running.metric("netjobs_forward_connections_total")
        finally:
            end_all()
    wrong = [str(stream.wrong) for stream in streams if stream.wrong]
    mebibytes = sum(stream.bytes for stream in streams) >> 20
    rows = [("reloads, each with both forwards changed; under load", f"{done}, {under_load}", f"{RELOADS}, {RELOADS}"),
            ("connections that passed a byte each way; refused, reset or failed otherwise", f"{found.get('count', 0):,}; {found.get('errors')}", f"{given.count:,}; 0"),
            ("connections a second", f"{found.get('per_second', 0):,.0f}", "≥ 5,000"),
            ("connections on the forwards' books, and closes of them", f"{carried:,.0f}, {closes:,.0f}", f"all; {STREAMS} streams may still be open"),
            (f"{STREAMS} streams through all reloads: MiB compared, and what went wrong", f"{mebibytes:,}; {', '.join(wrong) or 'nothing'}", "bit-exact; nothing")]
    if given.note:
        rows.append(("of the machine", given.note, ""))
    tables.write("reload", f"{RELOADS} reloads under {given.count:,} connections", ("what", "measured", "wanted"), rows, keep=given.count == 1_000_000)
