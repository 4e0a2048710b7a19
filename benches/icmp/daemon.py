"""A daemon of netjobs in our namespace, its pages, and what it holds open."""
import os, pathlib, tempfile, urllib.request

from common.process import Process, until

from . import tools

WEB = "127.0.0.1:9750"


class Daemon:
    """Runs jobs until it is left; `jobs`: lines of a job file below `jobs:`."""

    def __init__(self, world, jobs):
        self.world, self.folder = world, tempfile.TemporaryDirectory(prefix="netjobs-bench-")
        try:
            command = write(pathlib.Path(self.folder.name), jobs)
            self.process = Process("netjobs", command, network=world.network.ours)
            until("the daemon answers", 20, self.answers, 0.05)
        except BaseException:
            self.__exit__()
            raise

    def page(self, path="metrics"):
        def fetch():
            with urllib.request.urlopen(f"http://{WEB}/{path}", timeout=5) as answer:
                return answer.read().decode()
        return self.world.network.ours.call(fetch)

    def answers(self):
        if not self.process.alive():
            raise RuntimeError(f"the daemon ended with {self.process.popen.returncode}")
        try:
            return bool(self.page())
        except OSError:
            return False

    def raw_sockets(self):
        """Raw sockets that receive ICMP, and those that only send (protocol 255)."""
        held = {os.readlink(f"/proc/{self.process.pid}/fd/{number}") for number in os.listdir(f"/proc/{self.process.pid}/fd")}
        protocols = [row.split()[1].split(":")[1] for name in ("raw", "raw6")
                     for row in pathlib.Path(f"/proc/{self.process.pid}/net/{name}").read_text().splitlines()[1:] if f"socket:[{row.split()[9]}]" in held]
        sending = protocols.count("00FF")
        return len(protocols) - sending, sending

    def __enter__(self):
        return self

    def __exit__(self, *_):
        process = getattr(self, "process", None)
        if process:
            process.end()
        self.folder.cleanup()


def write(folder, jobs):
    """A job file; gives the command that runs it."""
    (folder / "jobs.yaml").write_text("jobs:\n" + "\n".join(jobs) + "\n")
    return [tools.BINARY, "run", folder / "jobs.yaml", "--web.listen-address", WEB, "--log.file", "/dev/null"]
