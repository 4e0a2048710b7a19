"""`benches/run icmp`: netjobs beside the tools that ping and sweep, in turns, in network namespaces of its own (as root)."""
import argparse, json, pathlib, sys, time

from common import install as installing
from common.process import end_all, stop_politely
from common.tables import RESULTS
from common.turns import choose, run_all
from forward import peers as forwarders

from . import company, measures, report, soak, steady, targets, tools
from .measures import Measure, World
from .network import ALIVE, DEAD

# What a table to keep is made of, and how long that may take.
RUNS, BUDGET = 5, 12 * 60

# What matters most comes first: where time runs out, the last have holes.
MEASURES = [
    Measure("alive max", "alive", measures.swept, network=ALIVE),
    Measure("dead", "dead", measures.swept, runs=3, network=DEAD),
    Measure("rtt alone", "ping", measures.pinged, count=200, pause=10),
    Measure("rtt sweep", "sweep rtt", measures.swept_rtts),
    Measure("link", "link", measures.linked, runs=3),
    Measure("company", "company", company.beside, runs=3, seconds=3),
    Measure("steady", "steady", steady.steady, runs=1, seconds=steady.SECONDS),
    Measure("loss", "loss", measures.lossy, runs=3, limit=12),
    Measure("alive 50000", "rate", measures.swept, runs=3, network=ALIVE, rate=50_000),
    Measure("alive 10000", "rate", measures.swept, runs=1, network=ALIVE, rate=10_000),
]
# One run, of the short ones only a part of their time.
QUICK = {"steady": {"seconds": 5}, "rtt alone": {"count": 50, "pause": 10}, "company": {"seconds": 1}}
WORDS = list(dict.fromkeys(measure.word for measure in MEASURES))


def arguments(words):
    parser = argparse.ArgumentParser(prog="benches/run icmp", description=__doc__,
                                     epilog=f"Only {RUNS} runs or more of everything write benches/results/icmp.md; they take at most {BUDGET // 60} minutes.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(WORDS)} (default: all), or soak")
    plain = ", ".join(tool.name for tool in tools.TOOLS if "," not in tool.name)
    parser.add_argument("--tools", help=f"tools by the first words of their names, separated by commas: {plain}")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"runs of each measurement, of the long ones fewer (default: {RUNS})")
    parser.add_argument("--quick", action="store_true", help="one run of each, and shorter ones")
    parser.add_argument("--binary", type=pathlib.Path, help="measure this netjobs instead of the one that is built here")
    parser.add_argument("--minutes", type=float, default=5, help="how long `soak` takes (default: 5)")
    parser.add_argument("--json", type=pathlib.Path, help="write every sample here")
    given = parser.parse_args(words)
    for part in given.parts:
        if part not in [*WORDS, "soak"]:
            parser.error(f"there is no part `{part}`")
    return given


def participants():
    """All tools, with those that take part in one measurement only."""
    for tool in tools.TOOLS:
        if tool.name in steady.COMMANDS:
            tool.commands["steady"] = steady.COMMANDS[tool.name]
        if tool.name == "netjobs":
            tool.commands["company"] = company.together
    return tools.TOOLS + steady.MORE + company.MORE


def measure_all(chosen, taking, runs):
    """In the order of the list; a table that takes too long has holes, and says so."""
    world = World()
    try:
        return run_all(chosen, taking, runs, lambda measure, tool: measure.sample(world, tool), time.monotonic() + BUDGET - 30)
    finally:
        end_all()
        world.close()


def main(words):
    given = arguments(words)
    tools.use(given.binary)
    stop_politely()
    if given.parts == ["soak"]:
        tools.install(small=False)
        met = soak.run(given.minutes, keep=not given.binary)
        sys.exit(0 if met else 1)
    if "soak" in given.parts:
        sys.exit("`soak` goes alone")
    chosen = [measure for measure in MEASURES if not given.parts or measure.word in given.parts]
    taking = choose(given.tools, participants(), "tool", lambda tool, word: tool.name == word or tool.name.startswith((word + ",", word + " ")))
    if given.quick:
        for measure in chosen:
            measure.options |= QUICK.get(measure.key, {})
    parts = {measure.part for measure in chosen}
    tools.install(small="alive" in parts and any("8 KiB" in tool.name for tool in taking))
    if "company" in parts:
        installing.cargo(forwarders.LOAD)
    runs, start = 1 if given.quick else given.runs, time.monotonic()
    results = measure_all(chosen, taking, runs)
    text = report.page(results, targets.rows(results, taking), tools.versions(), runs, time.monotonic() - start, [tool.name for tool in taking])
    if given.json:
        given.json.write_text(json.dumps(results.listing(), indent=1) + "\n")
    if not (given.parts or given.tools or given.binary or given.quick) and given.runs >= RUNS:
        (RESULTS / "icmp.md").write_text(text)
    print(text)
