"""What measure_cpu.py and measure_gpu.py share: shapes, timing, and the form of a result file.

`docs/baselines.md` describes the form; the crate `vitcod-baselines` reads it.
"""
import argparse
import datetime
import json
import pathlib
import statistics
import time

FORM = 1
HERE = pathlib.Path(__file__).resolve().parent

# Fewer runs make no median that a result may state.
FEWEST_RUNS = 10


def shapes() -> dict[str, list[dict]]:
    """The attention of each model: groups of equal layers."""
    return json.loads((HERE / "shapes.json").read_text())


def layers_of(groups: list[dict]) -> list[tuple[int, int, int, int, int]]:
    """(heads, queries, keys, key features, value features) of every layer."""
    keys = ("heads", "queries", "keys", "key_features", "value_features")
    return [tuple(group[key] for key in keys) for group in groups for _ in range(group["count"])]


def parser(description: str, output: str) -> argparse.ArgumentParser:
    """The arguments of both scripts."""
    known = shapes()
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--models", nargs="+", default=list(known), choices=known, metavar="MODEL",
                        help="models whose core attention is measured (default: all)")
    result.add_argument("--runs", type=int, default=50, help="default: %(default)s")
    result.add_argument("--warm-up", type=int, default=10,
                        help="runs before those that count (default: %(default)s)")
    result.add_argument("--processor", help="its name (default: what the system says)")
    result.add_argument("--output", type=pathlib.Path, default=pathlib.Path(output),
                        help="the result file (default: %(default)s)")
    return result


def check(arguments: argparse.Namespace, argument_parser: argparse.ArgumentParser) -> None:
    """Refuses numbers of runs that make no result."""
    if arguments.runs < FEWEST_RUNS:
        argument_parser.error(f"--runs {arguments.runs}: expected at least {FEWEST_RUNS}")
    if arguments.warm_up < 0:
        argument_parser.error(f"--warm-up {arguments.warm_up}: expected at least 0")


def timed(run, runs: int, warm_up: int, batch: int = 1) -> dict:
    """Calls `run` and returns median, fastest and slowest time, in milliseconds of one item."""
    for _ in range(warm_up):
        run()
    times = []
    for _ in range(runs):
        start = time.perf_counter_ns()
        run()
        times.append((time.perf_counter_ns() - start) / 1e6 / batch)
    return {
        "runs": runs,
        "milliseconds": round(statistics.median(times), 6),
        "fastest_milliseconds": round(min(times), 6),
        "slowest_milliseconds": round(max(times), 6),
    }


def result(model: str, part: str, groups: list[dict], times: dict) -> dict:
    """A result in the form of the file."""
    low, high = times["fastest_milliseconds"], times["slowest_milliseconds"]
    print(f"{model}, {part}: {times['milliseconds']:.3f} ms ({low:.3f} to {high:.3f})", flush=True)
    return {"model": model, "part": part, "layers": groups, **times}


def write(output: pathlib.Path, header: dict, results: list[dict]) -> None:
    """Writes the result file."""
    measurement = {
        "form": FORM,
        "label": "measured",
        **header,
        "date": datetime.date.today().isoformat(),
        "results": results,
    }
    output.write_text(json.dumps(measurement, indent=2) + "\n")
    print(f"wrote {output}")
