"""Network namespaces without a name: the kernel drops one with its last process and descriptor, even when this is killed."""
import ctypes, os, subprocess, threading

from .process import LIBC

CLONE_NEWNET = 0x40000000


def check(result):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Namespace:
    """A network namespace with `lo` up."""

    def __init__(self):
        self.descriptor = in_thread(self.make)
        self.sh("ip link set lo up")

    @staticmethod
    def make():
        check(LIBC.unshare(CLONE_NEWNET))
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def enter(self):
        """Of this thread, or of a child before it runs."""
        check(LIBC.setns(self.descriptor, CLONE_NEWNET))

    def call(self, body):
        """Runs a function inside; what it opens belongs to the namespace."""
        def inside():
            self.enter()
            return body()
        return in_thread(inside)

    def sh(self, script):
        """Runs a shell script inside, which must succeed; gives what it printed."""
        done = subprocess.run(["sh", "-ec", script], preexec_fn=self.enter, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(f"{script}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def path(self):
        """As `ip link … netns` takes it."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def close(self):
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def in_thread(body):
    """A thread of its own, so that this one stays where it is."""
    found = []

    def run():
        try:
            found.append((body(), None))
        except BaseException as error:  # pylint: disable=broad-except
            found.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    value, error = found[0]
    if error:
        raise error
    return value
