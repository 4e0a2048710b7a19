"""Processes that are measured: started in a group and an accounting of their own, ended whole, never by name."""
import ctypes, os, pathlib, resource, signal, subprocess, sys, time

ACCOUNTS = pathlib.Path("/sys/fs/cgroup")
LIVE = []
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LIBC = ctypes.CDLL(None, use_errno=True)
# Children whose parent is gone come to this program, which buries them.
LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)


class Account:
    """CPU time of a group of processes: those that live, those that ended, and all their threads.

    A control group of its own where that can be had (version 1: nanoseconds; version 2: microseconds); else the sum over
    the scheduler's figures of the living and, at the clock's coarse step, of the children that were waited for."""

    def __init__(self, name):
        self.folder, self.usage, self.process = None, None, None
        for parent, file, of in ((ACCOUNTS / "cpuacct", "cpuacct.usage", self.nanoseconds), (ACCOUNTS / "unified", "cpu.stat", self.stat),
                                 (ACCOUNTS, "cpu.stat", self.stat)):
            try:
                folder = parent / f"netjobs-bench-{os.getpid()}-{name}"
                folder.mkdir()
            except OSError:
                continue
            if (folder / file).exists():
                self.folder, self.usage = folder, lambda: of((folder / file).read_text())
                break
            folder.rmdir()

    @staticmethod
    def nanoseconds(text):
        return int(text) / 1e9

    @staticmethod
    def stat(text):
        return int(dict(line.split() for line in text.splitlines())["usage_usec"]) / 1e6

    def enter(self):
        """In the child, before it runs."""
        if self.folder:
            (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def seconds(self):
        return self.usage() if self.usage else sum(scheduled(pid) for pid in group(self.process))

    def members(self):
        if not self.folder:
            return group(self.process)
        return [int(pid) for pid in (self.folder / "cgroup.procs").read_text().split()]

    def close(self):
        end = time.monotonic() + 5
        while self.folder:
            try:
                self.folder.rmdir()
                self.folder = None
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.002)


def group(leader):
    """The living processes of a process group."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getpgid(int(entry.name)) == leader:
                    found.append(int(entry.name))
            except OSError:
                pass
    return found


def scheduled(pid):
    folder, total = pathlib.Path(f"/proc/{pid}"), 0
    try:
        total = sum(int((task / "schedstat").read_text().split()[0]) for task in (folder / "task").iterdir()) / 1e9
        waited = (folder / "stat").read_text().rsplit(")", 1)[1].split()[13:15]
        total += sum(map(int, waited)) / os.sysconf("SC_CLK_TCK")
    except OSError:
        pass
    return total


class Process:
    """A program in a process group and an account of its own, and in a namespace where one is given."""

    def __init__(self, name, command, descriptors=None, network=None, **options):
        self.account = Account(name)

        def prepare():
            os.setpgid(0, 0)
            # Nothing outlives this program, even where that is killed.
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors or hard, descriptors or hard))
            self.account.enter()
            if network:
                network.enter()

        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        LIVE.append(self)
        try:
            self.popen = subprocess.Popen([str(word) for word in command], preexec_fn=prepare, **(quiet | options))
        except BaseException:
            LIVE.remove(self)
            self.account.close()
            raise
        self.pid = self.account.process = self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def memory_kib(self):
        """Proportional memory: what is shared is counted once."""
        total = 0
        for pid in self.account.members():
            try:
                for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
            except OSError:
                pass
        return total

    def status(self, name):
        """A number of its status: `VmRSS` and `VmHWM` in KiB, `Threads`."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
        raise RuntimeError(f"no {name}")

    def descriptors(self):
        total = 0
        for pid in self.account.members():
            try:
                total += len(os.listdir(f"/proc/{pid}/fd"))
            except OSError:
                pass
        return total

    def end(self):
        """Ends the whole group, and what left the group but not the account."""
        if self not in LIVE:
            return
        end = time.monotonic() + 5
        while True:
            for kill, target in [(os.killpg, self.pid)] + [(os.kill, pid) for pid in self.account.members()]:
                try:
                    kill(target, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.popen.poll()
            if not self.account.members() or time.monotonic() > end:
                break
            time.sleep(0.002)
        self.popen.wait(5)
        self.bury()
        self.account.close()
        LIVE.remove(self)

    def bury(self):
        """Waits for those of the group whose parent is gone."""
        end = time.monotonic() + 2
        try:
            while time.monotonic() < end:
                if os.waitpid(-self.pid, os.WNOHANG)[0] == 0:
                    time.sleep(0.002)
        except ChildProcessError:
            pass


def stop_politely():
    """A signal to end goes the way of an exception, so that all that was started is ended."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def end_all():
    for process in reversed(LIVE.copy()):
        process.end()


def until(what, seconds, condition, pause=0.005):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"not within {seconds} s: {what}")
        time.sleep(pause)


def listens(port, protocol="tcp"):
    """Whether somebody listens, without a connection that would be counted."""
    options = "-Hltn" if protocol == "tcp" else "-Hlun"
    return bool(subprocess.run(["ss", options, f"sport = :{port}"], capture_output=True, text=True).stdout.strip())
