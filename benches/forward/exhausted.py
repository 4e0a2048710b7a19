"""`benches/run exhausted`: a forward that is out of descriptors: live streams, CPU, metrics, recovery."""
import argparse, asyncio, contextlib, math, os, pathlib, statistics, tempfile, time, urllib.request

from common import tables
from common.process import Process, end_all, listens, stop_politely, until

from . import peers
from .peers import HOST, free_port

DESCRIPTORS = 128
LIVE, CLIENTS = 20, 100
SECONDS = 10
# Nobody more is served for so long: those who are left wait.
QUIET = 0.5
PATIENCE = 10


class Echo:
    """The server behind, which counts the connections whose first byte came."""

    def __init__(self):
        self.served, self.came = 0, asyncio.Condition()

    async def serve(self, reader, writer):
        first = True
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if first:
                    first = False
                    async with self.came:
                        self.served += 1
                        self.came.notify_all()
                writer.write(data)
                await writer.drain()
        writer.close()

    async def quiet(self):
        before = None
        while before != self.served:
            before = self.served
            await asyncio.sleep(QUIET)


class Live:
    """A stream that now and then sends random bytes and wants them back."""

    def __init__(self):
        self.spans, self.stop = [], asyncio.Event()

    async def run(self, port):
        reader, writer = await asyncio.open_connection(HOST, port)
        while not self.stop.is_set():
            sent, start = os.urandom(1024), time.monotonic()
            writer.write(sent)
            if await asyncio.wait_for(reader.readexactly(len(sent)), PATIENCE) != sent:
                raise RuntimeError("other bytes came back")
            self.spans.append(time.monotonic() - start)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.stop.wait(), 0.5)
        writer.close()


async def client(port, answers, enough):
    """Sends a byte and waits for it to come back; stays until there is enough."""
    writer = None
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(b"x")
        answers.append("served" if await reader.read(1) else "ended")
        await enough.wait()
    except OSError:
        answers.append("reset")
    finally:
        if writer:
            writer.close()


def page(web):
    with urllib.request.urlopen(f"http://{HOST}:{web}/metrics", timeout=PATIENCE) as answer:
        return answer.read().decode()


def timed_page(web):
    start = time.monotonic()
    page(web)
    return time.monotonic() - start


def closes(web):
    """The forwards' own reasons for the ends of connections, once all have ended."""
    end, counts = time.monotonic() + PATIENCE, {}
    while sum(counts.values()) < LIVE + CLIENTS and time.monotonic() < end:
        counts = {}
        for line in page(web).splitlines():
            if line.startswith("netjobs_forward_closes_total{") and not line.endswith(" 0"):
                reason = line.split('reason="')[1].split('"')[0]
                counts[reason] = counts.get(reason, 0) + int(float(line.rsplit(" ", 1)[1]))
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))


async def measure(process, ports):
    echo = Echo()
    server = await asyncio.start_server(echo.serve, HOST, ports["echo"], backlog=200)
    streams = [Live() for _ in range(LIVE)]
    tasks = [asyncio.create_task(stream.run(ports["live"])) for stream in streams]
    await echo.quiet()
    answers, enough = [], asyncio.Event()
    clients = [asyncio.create_task(client(ports["late"], answers, enough)) for _ in range(CLIENTS)]
    await echo.quiet()
    at_once, descriptors = told(answers), process.descriptors()
    cpu = process.account.seconds()
    await asyncio.sleep(SECONDS)
    share = (process.account.seconds() - cpu) / SECONDS
    pages, failed = [], []
    for _ in range(10):
        try:
            pages.append(await asyncio.to_thread(timed_page, ports["web"]))
        except OSError as error:
            failed.append(str(error))
    harmed = [task for task in tasks if task.done()]
    freed = []
    for stream in streams[: LIVE // 2]:
        if len(answers) < CLIENTS and math.inf not in freed:
            freed.append(await until_next(echo, stream))
    # Each that is served makes room for the next.
    enough.set()
    for stream in streams:
        stream.stop.set()
    _, waiting = await asyncio.wait(tasks + clients, timeout=30)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*tasks, *clients, return_exceptions=True)
    server.close()
    ends = await asyncio.to_thread(closes, ports["web"])
    spans = [span for stream in streams for span in stream.spans]
    return at_once, descriptors, share, pages, failed, harmed, freed, told(answers), ends, spans


def told(answers):
    return ", ".join(f"{answers.count(word)} {word}" for word in sorted(set(answers)))


async def until_next(echo, stream):
    """Closes a stream; how long until the server behind has the next client's byte."""
    before = echo.served
    stream.stop.set()
    start = time.monotonic()
    try:
        async with echo.came:
            await asyncio.wait_for(echo.came.wait_for(lambda: echo.served > before), PATIENCE)
    except asyncio.TimeoutError:
        return math.inf
    return time.monotonic() - start


def rows(at_once, descriptors, share, pages, failed, harmed, freed, in_the_end, ends, spans):
    def milliseconds(values):
        if math.inf in values:
            return f"not within {PATIENCE} s"
        return f"median {statistics.median(values) * 1e3:.1f} ms, longest {max(values) * 1e3:.1f} ms" if values else "none"

    return [("descriptors open, of those allowed", f"{descriptors} of {DESCRIPTORS}", ""),
            ("live streams harmed", f"{len(harmed)} of {LIVE}", "none"),
            ("their exchanges meanwhile", f"{len(spans)}, {milliseconds(spans)}", ""),
            (f"of {CLIENTS} clients", f"at once {at_once}; in the end {in_the_end}", "the others wait, and all are served in the end"),
            ("how their connections and the streams ended, as the forwards tell", ends, ""),
            (f"CPU during {SECONDS} s", f"{share * 100:.2f} % of a core", "under 2 %"),
            ("`/metrics`, 10 times", f"{len(pages)} answers, {milliseconds(pages)}" + (f"; {failed[0]}" if failed else ""), "answers"),
            (f"from a stream's end to the next client at the server, {len(freed)} times", milliseconds(freed), "within 100 ms")]


def main(words):
    parser = argparse.ArgumentParser(prog="benches/run exhausted", description=__doc__)
    parser.add_argument("--binary", type=pathlib.Path, help="measure this netjobs and write no table")
    given = parser.parse_args(words)
    peers.use(given.binary)
    stop_politely()
    ports = {name: free_port() for name in ("live", "late", "web", "echo")}
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "jobs.yaml"
        # Two forwards: each counts on all descriptors, so that they really run out.
        job = "  - name: {}\n    forward: {{ listen: '{}:{}', to: '{}:{}' }}\n"
        file.write_text("jobs:\n" + "".join(job.format(name, HOST, ports[name], HOST, ports["echo"]) for name in ("live", "late")))
        try:
            process = Process("netjobs", [peers.BINARY, "run", file, "--web.listen-address", f"{HOST}:{ports['web']}"], descriptors=DESCRIPTORS)
            until("the forwards listen", 10, lambda: listens(ports["live"]) and listens(ports["late"]))
            found = asyncio.run(measure(process, ports))
        finally:
            end_all()
    tables.write("exhausted", "A forward out of descriptors", ("what", "measured", "wanted"), rows(*found), keep=not given.binary)
