"""The daemon of the soak with its log's reader, its load, and who asks for its pages."""
import json, os, pathlib, select, subprocess, sys, tempfile, threading, time, urllib.error, urllib.request

from common import install as installing
from common.process import Process, until
from common.tables import ROOT
from icmp.network import Network

from . import jobsets
from .jobsets import WEB

LOAD = ROOT / "benches/soak/load"
BUILT = LOAD / "target/release/netjobs-soak-load"
STREAMS, BYTES, PER_SECOND, FLAKY, IDLERS = 20, 500_000, 400, 20, 5
PAGES = ("/-/healthy", "/metrics")


class Rig:
    """All that runs while the soak lasts; what was started is ended when it is left."""

    def __init__(self, binary):
        self.network, self.folder = Network(), tempfile.TemporaryDirectory(prefix="netjobs-soak-")
        self.path = pathlib.Path(self.folder.name)
        self.jobs = self.path / "jobs/jobs.yaml"
        self.jobs.parent.mkdir()
        self.started = []
        try:
            self.stays, self.killed = self.upstream(jobsets.UPSTREAM), self.upstream(jobsets.KILLED)
            self.put(jobsets.ROUND[0][0](self.path))
            self.errors = open(self.path / "errors", "w+", encoding="utf-8")
            command = [binary, "run", self.jobs.parent, "--web.listen-address", WEB, "--web.enable-lifecycle", "--state", self.path / "state", "--log.format", "json"]
            self.daemon = self.start("netjobs", command, stdout=subprocess.PIPE, stderr=self.errors)
            self.log = Reader(self.daemon.popen.stdout)
            until("the daemon is ready", 30, self.ready, 0.1)
            words = {"steady": jobsets.STEADY, "streams": STREAMS, "bytes_per_second": BYTES, "short": jobsets.SHORT, "flaky": jobsets.FLAKY,
                     "per_second": PER_SECOND, "flaky_per_second": FLAKY, "idlers": IDLERS, "datagrams": jobsets.DATAGRAMS}
            self.load = self.start("load", [BUILT, "clients", *(f"{key}={value}" for key, value in words.items())], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=sys.stderr)
            self.scraper = Scraper(self)
        except BaseException:
            self.__exit__()
            raise

    def ready(self):
        if not self.daemon.alive():
            raise RuntimeError(f"the daemon ended with {self.daemon.popen.returncode}: {(self.path / 'errors').read_text()}")
        return self.page("/-/ready")[0] == 200

    def start(self, name, command, **options):
        process = Process(name, command, network=self.network.ours, **options)
        self.started.append(process)
        return process

    def upstream(self, address):
        return self.start("upstream", [BUILT, "upstream", address])

    def put(self, text):
        """Job files are whole or not there."""
        fresh = self.path / "fresh"
        fresh.write_text(text)
        os.replace(fresh, self.jobs)

    def page(self, path, method="GET", timeout=10):
        """Status and text of a page; status 0: none came."""
        return self.network.ours.call(lambda: fetch(path, method, timeout))

    def counts(self, last=False):
        """What came of the load so far; `last`: it ends its streams first."""
        pipe = self.load.popen.stdin
        if last:
            pipe.close()
        else:
            pipe.write(b"\n")
            pipe.flush()
        out = self.load.popen.stdout
        if not select.select([out], [], [], 60)[0]:
            raise RuntimeError("the load gave no answer")
        return json.loads(out.readline() or "{}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if hasattr(self, "scraper"):
            self.scraper.stop.set()
        for process in reversed(self.started):
            process.end()
        if hasattr(self, "errors"):
            self.errors.close()
        self.folder.cleanup()
        self.network.close()


def fetch(path, method="GET", timeout=10):
    request = urllib.request.Request(f"http://{WEB}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


class Reader:
    """Reads the log, unless it is held; keeps what must not be there, and counts the rest."""

    def __init__(self, pipe):
        self.pipe, self.lines, self.bad, self.goes_on = pipe, 0, [], threading.Event()
        self.goes_on.set()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.pipe:
            self.goes_on.wait()
            self.lines += 1
            if not line.startswith(b'{"time":"') or b'"reason":"panic' in line:
                self.bad.append(line.decode(errors="replace")[:300])


class Scraper:
    """Asks for the pages once a second, and says what did not come; who stops the daemon tells it so."""

    def __init__(self, rig):
        self.rig, self.stop, self.stopped = rig, threading.Event(), threading.Event()
        self.answers, self.failed, self.slowest = 0, [], 0.0
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        self.rig.network.ours.enter()
        while not self.stop.wait(1):
            for path in PAGES:
                start = time.monotonic()
                status, text = fetch(path)
                took = time.monotonic() - start
                if self.stopped.is_set():
                    continue
                self.answers += 1
                self.slowest = max(self.slowest, took)
                if status != 200:
                    self.failed.append(f"{path}: {status} {text[:80]}")


def install():
    installing.packages({"/usr/sbin/nft": "nftables", "/usr/sbin/ip": "iproute2", "/usr/bin/ping": "iputils-ping"})
    installing.cargo(LOAD)
