"""Who is measured: how each is started with a number of jobs, and the starts that it tells of afterwards."""
import array, datetime, json, pathlib, re, select, signal, subprocess, tempfile, time, urllib.request

from common import install as installing
from common.process import Process, until
from common.tables import ROOT, locked
from common.turns import Unfit
from forward.peers import HOST, free_port

LOAD = ROOT / "benches/schedule/load"
BUILT = LOAD / "target/release"
BINARY = ROOT / "target/release/netjobs"
# Planning of all jobs takes so long at most.
READY = 60


class Every:
    """Jobs with a period, in seconds."""

    def __init__(self, seconds):
        self.seconds = seconds

    def yaml(self):
        return f"every: {self.seconds}s"

    def words(self):
        return ["every", self.seconds * 1000]


class Cron:
    """Jobs that all start in the seconds that are divisible by a number."""

    def __init__(self, seconds):
        self.seconds = seconds

    def yaml(self):
        return f"cron: '*/{self.seconds} * * * * *'"

    def words(self):
        return ["cron", self.seconds]


class Starts:
    """What took place: (job, due, started), in seconds of the wall clock; starts that the subject says it left out; and lines
    that its log lacks, each of which may be a start."""

    def __init__(self, starts, skipped=None, unlogged=None):
        self.starts, self.skipped, self.unlogged = starts, skipped, unlogged


class Subject:
    """Runs jobs until `starts` is asked for."""

    def __init__(self, schedule, jobs):
        self.schedule, self.jobs = schedule, jobs
        self.folder = tempfile.TemporaryDirectory(prefix="netjobs-bench-")
        self.file = pathlib.Path(self.folder.name) / "starts"
        try:
            self.process = self.start()
        except BaseException:
            self.__exit__()
            raise

    def end(self):
        if not self.process.alive():
            raise RuntimeError(f"it ended with {self.process.popen.returncode}")
        self.stop()
        try:
            self.process.popen.wait(20)
        except subprocess.TimeoutExpired:
            raise RuntimeError("it did not end within 20 s") from None

    def signal(self, number):
        self.process.popen.send_signal(number)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        process = getattr(self, "process", None)
        if process:
            process.end()
        self.folder.cleanup()


class Netjobs(Subject):
    """The daemon, with the cheapest check that there is; its log tells of the starts."""
    name = "netjobs"

    def start(self):
        folder, line = pathlib.Path(self.folder.name), f"{self.schedule.yaml()}, interfaces: {{ select: [lo] }} }}"
        (folder / "jobs.yaml").write_text("jobs:\n" + "".join(f"  - {{ name: j{job}, {line}\n" for job in range(self.jobs)))
        self.web = f"{HOST}:{free_port()}"
        process = Process("netjobs", [BINARY, "run", folder / "jobs.yaml", "--log.file", self.file, "--web.listen-address", self.web])
        until("the daemon starts", READY, lambda: self.file.exists() and self.file.stat().st_size or not process.alive())
        return process

    def stop(self):
        self.process.popen.terminate()

    def dropped(self):
        """Events and lines of the log that found no room."""
        with urllib.request.urlopen(f"http://{self.web}/metrics", timeout=10) as answer:
            found = re.findall(r"^netjobs_(?:log|events)_dropped_total(?:{[^}]*})? (\S+)$", answer.read().decode(), re.M)
        if len(found) < 2:
            raise RuntimeError("it does not tell what its log lacks")
        return int(sum(map(float, found)))

    def starts(self):
        unlogged = self.dropped()
        self.end()
        found, skipped = [], 0
        with open(self.file, encoding="utf-8") as log:
            for line in log:
                if '"event":"run_finished"' in line:
                    found.append((line.split('"job_name":"j', 1)[1].split('"', 1)[0], instant(line, "scheduled"), instant(line, "started")))
                elif '"event":"run_skipped"' in line:
                    skipped += json.loads(line)["count"]
        return Starts(found, skipped, unlogged)


class Load(Subject):
    """A program of the load; it writes its starts at the end of its stdin."""

    def start(self):
        command = [BUILT / self.program, *self.schedule.words(), self.jobs, self.file]
        process = Process(self.program, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        out = process.popen.stdout
        if not select.select([out], [], [], READY)[0]:
            process.end()
            raise Unfit(f"its {self.jobs:,} jobs were not planned within {READY} s")
        if out.readline() != b"ready\n":
            process.end()
            raise RuntimeError("the load ended")
        return process

    def stop(self):
        self.process.popen.stdin.close()

    def starts(self):
        self.end()
        numbers = array.array("Q", self.file.read_bytes())
        return Starts([(job, self.due(due, started), started / 1e9) for job, due, started in zip(numbers[0::3], numbers[1::3], numbers[2::3])])

    @staticmethod
    def due(due, _):
        return due / 1e9


class TokioCron(Load):
    """It plans whole seconds and does not tell which: the last one before the start is taken, which flatters it."""
    name, program = "tokio-cron-scheduler", "cron"

    def due(self, _, started):
        step = self.schedule.seconds if isinstance(self.schedule, Cron) else 1
        return started // (step * 1_000_000_000) * step


class Timer(Load):
    name, program = "bare timer", "timer"


class Tasks(Load):
    name, program = "tokio, a task a job", "tasks"


SUBJECTS = [Netjobs, TokioCron, Timer, Tasks]


def instant(line, key):
    """A time of a record, in seconds."""
    return datetime.datetime.fromisoformat(line.split(f'"{key}":"', 1)[1].split('"', 1)[0]).timestamp()


def use(binary):
    """Measures another netjobs than the one that is built here."""
    global BINARY
    BINARY = binary.resolve() if binary else BINARY


def install():
    installing.cargo(LOAD)


def versions():
    return f"tokio-cron-scheduler {locked('tokio-cron-scheduler', LOAD)}, tokio {locked('tokio', LOAD)}"


def pause(subject, seconds):
    """Stops a subject and lets it go on; gives when it went on."""
    subject.signal(signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        subject.signal(signal.SIGCONT)
    return time.time()
