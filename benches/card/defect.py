"""One defect: who has it, how it is shown, what came of it there and here; and how the shows run their programs."""
import os, re, subprocess

from common import turns
from common.process import Process
from common.tables import ROOT, locked
from schedule import subjects

LOAD = ROOT / "benches/card/load"
BUILT = LOAD / "target/release/netjobs-card-load"
DEFECTS = []


class Defect:
    """`version`: where more than one is locked; `healed`: it was once seen, and is not there."""

    def __init__(self, package, title, only, show, version=None, healed=False):
        self.package, self.title, self.only, self.show, self.given, self.healed = package, title, only, show, version, healed

    def version(self):
        """Of the locked package; and what netjobs has locked, where that is another one."""
        here, there = self.given or locked(self.package, LOAD), versions(self.package)
        return here if here in there else f"{here} (netjobs has {', '.join(there)})"

    def word(self, there):
        if there != self.healed:
            return "yes" if there else "no, as before"
        return "**yes**: judge it anew" if there else "**no**: judge it anew"


def versions(package):
    return re.findall(rf'name = "{package}"\nversion = "([^"]*)"', (ROOT / "Cargo.lock").read_text())


def defect(package, title, only, **more):
    """Marks a show: it gives what the package did, what netjobs did, and whether the defect is there."""
    def mark(show):
        DEFECTS.append(Defect(package, title, only, show, **more))
        return show
    return mark


def run(command, network=None, limit=60, environment=None):
    """What a program prints, with its exit code."""
    process = Process("card", command, network=network, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=os.environ | (environment or {}))
    try:
        out, _ = process.popen.communicate(timeout=limit)
        return out.decode(errors="replace"), process.popen.returncode
    except subprocess.TimeoutExpired:
        raise turns.Unfit(f"not within {limit} s") from None
    finally:
        process.end()


def card(*words, **options):
    out, code = run([BUILT, *words], **options)
    if code:
        raise turns.Unfit(f"`{words[0]}` ended with {code}: {out.strip()[-200:]}")
    return out.split()


def netjobs(*words, **options):
    return run([subjects.BINARY, *words], **options)
