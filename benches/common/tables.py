"""Results as tables: medians with the lowest and the highest, and a note for each figure that is not there."""
import datetime, os, pathlib, platform, re, statistics, subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benches/results"


def cell(values, digits):
    """Median, lowest and highest; `digits(value)`: how many after the point."""
    if not values:
        return None
    median = statistics.median(values)
    text = lambda value: f"{value:,.{digits(median)}f}"
    return text(median) + (f" ({text(min(values))}–{text(max(values))})" if len(values) > 1 else "")


class Notes:
    """Footnotes: each reason once."""

    def __init__(self):
        self.texts = []

    def mark(self, text):
        if text not in self.texts:
            self.texts.append(text)
        return f"[{self.texts.index(text) + 1}]"

    def missing(self, text, failures):
        """A cell with the reason for what is not there."""
        if text is None:
            return "-" + (" " + self.mark(failures[0]) if failures else "")
        return text + (" " + self.mark(f"failed in {len(failures)} of the runs: {failures[0]}") if failures else "")

    def lines(self):
        return [f"[{number}] {text}  " for number, text in enumerate(self.texts, 1)]


def grid(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows)]


def headline(name, where, took):
    """What was measured when, and on what."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty", "--exclude=*"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return (f"`benches/run {name}` at {commit or 'no commit'}, {datetime.date.today()}: Linux {platform.release()}, {os.cpu_count()} cores, {cpu_model()}, "
            f"{where}, {took / 60:.0f} minutes.")


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        return next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), platform.machine())


def version(command):
    """The first number that looks like one in what a program says of itself."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
    numbers = re.findall(r"(?<![\w.])v?(\d+\.\d[\w.+~-]*)", (done.stdout + done.stderr).replace("/", " "))
    return (numbers or re.findall(r"\d{8}", done.stdout) or ["?"])[0]


def locked(package, folder):
    """The version of a crate in a package's lock file."""
    return (folder / "Cargo.lock").read_text().split(f'name = "{package}"\nversion = "')[1].split('"')[0]


def write(name, title, head, rows, keep=True):
    """A small table of its own; a name of two words is a command and its part."""
    lines = [f"# {title}", "", f"`benches/run {name}` on Linux {platform.release()}, {os.cpu_count()} cores, {datetime.date.today()}.", "", *grid(head, rows)]
    text = "\n".join(lines) + "\n"
    if keep:
        (RESULTS / f"{name.replace(' ', '-')}.md").write_text(text)
    print(text)
