"""tokio-cron-scheduler and croner: lateness, lost starts, periods, zones, pauses, steps of the clock."""
import datetime, os, pathlib, re, tempfile, time

from common.process import Process, until
from common.turns import Unfit
from schedule import parts, subjects
from schedule.parts import Part
from schedule.subjects import Every, Netjobs, TokioCron

from .defect import card, defect, netjobs, run

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
FAKE = {"LD_PRELOAD": FAKETIME, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
SCHEDULER = "tokio-cron-scheduler"
# In Berlin the clocks go from 03:00 back to 02:00 at this Unix second.
AUTUMN = 1_792_890_000
DAY = 86_400


def both(key):
    """A part of the other benchmark for both, one after the other."""
    part = next(part for part in parts.PARTS if part.key == key)
    return part.sample(TokioCron), part.sample(Netjobs)


@defect(SCHEDULER, "10,000 jobs of `every: 1s`", "late")
def late():
    theirs, ours = both("10000 jobs")
    tell = lambda found: f"p50 {found.get('p50', 0):.3g} ms, p99 {found.get('p99', 0):.3g} ms late; {found['lost']:.1f} % of the starts never came"
    return tell(theirs), tell(ours), theirs.get("p50", 0) > 100 or theirs["lost"] > 1


@defect(SCHEDULER, "1,000 jobs of `every: 1s`, its usual channel", "lost")
def lost():
    theirs, ours = both("1000 jobs")
    tell = lambda found: f"{found['lost']:.1f} % of the starts never came"
    return tell(theirs), tell(ours), theirs["lost"] > 0


@defect(SCHEDULER, "a job each 1.5 s, for 9 s", "period")
def period():
    part = Part("period", 1, Every(1.5), 9, None)
    found = []
    for subject in (TokioCron, Netjobs):
        with subject(part.schedule, 1) as running:
            first, last, _ = parts.window(part, running)
            found.append(sum(1 for *_, started in running.starts().starts if first <= started < last))
    return f"{found[0]} starts", f"{found[1]} starts", abs(found[0] - 6) > 1


@defect(SCHEDULER, f"100 jobs of `every: 1s`, the process stopped for {parts.STOPPED} s", "pause")
def pause():
    theirs, ours = both("pause")
    tell = lambda found: f"{found['regular']:.0f} % of the later starts came"
    return tell(theirs), f"{tell(ours)}; {ours['missing']} left out, and it tells of {ours['skipped']}", theirs["regular"] < 99


def stepped(subject, schedule, step):
    """Starts in the 5 s after the wall clock was set, of those due."""
    with tempfile.TemporaryDirectory(prefix="netjobs-bench-") as folder:
        clock = pathlib.Path(folder) / "clock"
        clock.write_text("+0\n")
        before = dict(os.environ)
        os.environ.update(FAKE | {"FAKETIME_TIMESTAMP_FILE": str(clock)})
        try:
            running = subject(schedule, 10)
        finally:
            os.environ.clear()
            os.environ.update(before)
        with running:
            time.sleep(4)
            fresh = clock.with_name("fresh")
            fresh.write_text(f"{step:+d}\n")
            os.replace(fresh, clock)
            at = time.time() + step
            time.sleep(7.5)
            starts = running.starts().starts
    if not any(abs(started + step - at) < 5 for *_, started in starts):
        raise Unfit("it did not start before the step")
    return sum(1 for *_, started in starts if at + 2 <= started < at + 7) / 50 * 100


def step(schedule, seconds):
    found = [stepped(subject, schedule, seconds) for subject in (TokioCron, Netjobs)]
    tell = lambda share: f"{share:.0f} % of the starts from 2 to 7 s after"
    return tell(found[0]), tell(found[1]), found[0] < 90


@defect(SCHEDULER, "10 jobs of `every: 1s`, the wall clock set forward by an hour (libfaketime)", "forward")
def forward():
    return step(Every(1), 3600)


@defect(SCHEDULER, "10 cron jobs of each second, the wall clock set back by an hour (libfaketime)", "backward")
def backward():
    return step(subjects.Cron(1), -3600)


@defect(SCHEDULER, "noon of Berlin, planned on the day before the clocks change (libfaketime)", "zone")
def zone():
    noon = AUTUMN - DAY + 9 * 3600
    fake = FAKE | {"FAKETIME": datetime.datetime.fromtimestamp(noon - 3).strftime("@%Y-%m-%d %H:%M:%S")}
    first, second = map(int, card("zone", environment=fake))
    with tempfile.TemporaryDirectory(prefix="netjobs-bench-") as folder:
        file = pathlib.Path(folder) / "jobs.yaml"
        file.write_text("jobs: [{ name: noon, cron: '0 12 * * *', timezone: Europe/Berlin, ipv6: {} }]\n")
        process, log = None, pathlib.Path(folder) / "log"
        web = f"127.0.0.1:{subjects.free_port()}"
        process = Process("netjobs", [subjects.BINARY, "run", file, "--web.listen-address", web, "--log.file", log], env=os.environ | fake)
        try:
            until("noon has come", 20, lambda: log.exists() and "run_finished" in log.read_text())
            page, _ = run(["/usr/bin/env", "python3", "-c", f"import urllib.request as u; print(u.urlopen('http://{web}/metrics').read().decode())"])
        finally:
            process.end()
    ours = round(float(re.search(r"^netjobs_job_next_run_timestamp_seconds\{.*\} (\S+)$", page, re.M)[1]))
    tell = lambda next_one: f"then {(next_one - noon) / 3600:g} hours after noon: {12 + (next_one - noon) / 3600 - 25:02g}:00 of Berlin"
    return tell(second), tell(ours), first == noon and second - noon != 25 * 3600


def starts(*words):
    found = [int(word) for word in card("croner", *words)]
    gaps = [(after - before) // 60 for before, after in zip(found, found[1:])]
    return found, f"{len(found)} starts, pauses of {min(gaps)} to {max(gaps)} minutes, each once" if len(set(found)) == len(found) else f"{len(found)} starts, some twice"


def ours(expression, first, last):
    """The same question to netjobs."""
    with tempfile.TemporaryDirectory(prefix="netjobs-bench-") as folder:
        file = pathlib.Path(folder) / "jobs.yaml"
        file.write_text(f"jobs: [{{ name: a, cron: '{expression}', timezone: Europe/Berlin, ipv6: {{}} }}]\n")
        instant = lambda second: datetime.datetime.fromtimestamp(second, datetime.timezone.utc).isoformat()
        out, _ = netjobs("next", file, "--from", instant(first), "--until", instant(last), "--count", 100, "--json")
    found = [datetime.datetime.fromisoformat(text).timestamp() for text in re.findall(r'"start":"([^"]*)"', out)]
    return [round((after - before) / 60) for before, after in zip(found, found[1:])]


def gap(version):
    window = AUTUMN - 2 * 3600, AUTUMN + 3 * 3600
    found, told = starts(version, "*/30 * * * *", *map(str, window))
    mine = ours("*/30 * * * *", *window)
    tell = f"{len(mine) + 1} starts, pauses of {min(mine)} to {max(mine)} minutes"
    gaps = {after - before for before, after in zip(found, found[1:])}
    return told, tell, gaps != {1800}


@defect("croner", "`*/30 * * * *` in Berlin over the autumn change", "croner4", version="4.0.3", healed=True)
def croner_4():
    return gap("4")


@defect("croner", "the same with the croner that tokio-cron-scheduler has", "croner3", version="3.0.1")
def croner_3():
    return gap("3")


@defect("croner", "`0 0 31 2 *`", "february", version="4.0.3")
def february():
    with tempfile.TemporaryDirectory(prefix="netjobs-bench-") as folder:
        file = pathlib.Path(folder) / "jobs.yaml"
        file.write_text("jobs: [{ name: a, cron: '0 0 31 2 *', ipv6: {} }]\n")
        out, code = netjobs("check", file)
    parses = card("parses", "0 0 31 2 *") == ["true"]
    return "parses" if parses else "is refused", f"exit {code}: {out.splitlines()[0].split(': ', 1)[1]}", parses
