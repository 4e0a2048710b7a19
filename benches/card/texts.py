"""serde_yaml and prometheus: a file that is a bomb, a page with many series."""
import pathlib, tempfile, time, urllib.request

from common.process import Process, until
from schedule import subjects

from .defect import card, defect, netjobs

JOBS = 10_000


@defect("yaml_serde", "1.6 MB of `[`", "brackets")
def brackets():
    with tempfile.TemporaryDirectory(prefix="netjobs-bench-") as folder:
        file = pathlib.Path(folder) / "jobs.yaml"
        file.write_text("[" * 1_600_000)
        _, took, peak = card("yaml", file)
        start = time.monotonic()
        out, code = netjobs("check", file)
        ours = time.monotonic() - start
    message = out.splitlines()[0].rsplit(": ", 1)[-1][:90]
    return f"refused after {float(took):.2f} s with {float(peak):.0f} MiB", f"exit {code} after {ours:.3f} s, process start included: {message}", float(took) > 0.5


def own_page():
    """Seconds and series of the daemon's second page with many jobs."""
    with tempfile.TemporaryDirectory(prefix="netjobs-bench-") as folder:
        file, web = pathlib.Path(folder) / "jobs.yaml", f"127.0.0.1:{subjects.free_port()}"
        file.write_text("jobs:\n" + "".join(f"  - {{ name: j{number}, every: 1h, at: start, interfaces: {{ select: [lo] }} }}\n" for number in range(JOBS)))

        def page():
            start = time.monotonic()
            with urllib.request.urlopen(f"http://{web}/metrics", timeout=30) as answer:
                text = answer.read().decode()
            return time.monotonic() - start, sum(1 for line in text.splitlines() if line and line[0] != "#")

        process = Process("netjobs", [subjects.BINARY, "run", file, "--web.listen-address", web, "--log.file", "/dev/null"])
        try:
            until("all have run", 60, lambda: settled(page), 0.5)
            return page()
        finally:
            process.end()


def settled(page):
    try:
        return page()[1] >= JOBS * 5
    except OSError:
        return False


@defect("prometheus", "a page of 10,000 and of 100,000 series", "page")
def pages():
    few, many = (float(card("prometheus", series)[0]) for series in ("10000", "100000"))
    took, series = own_page()
    each = took / series * 1e6
    return (f"{few * 1e3:.0f} ms, {many * 1e3:.0f} ms: {many * 10:.1f} µs a series", f"{took * 1e3:.0f} ms for {series:,} series over HTTP: {each:.1f} µs a series",
            many > 0.1 and many * 10 > each)
