"""Run benchmarks, each in a process of its own; print a table and write JSON.

python -m benchmarks [NAME…] [--repeat 5] [--json out/benchmarks.json]
python -m benchmarks first        first result of a new process, with the compile cache empty and filled
python -m benchmarks calibrate    rates of this machine, for the cost model of `mrisim.encoding.cost`
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path

BEGIN = time.perf_counter()
SUBSET = 2000  # spins over which the error is measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("out/benchmarks.json"))
    parser.add_argument("--no-peers", action="store_true", help="nothing beside it")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.names[0], arguments.repeat, not arguments.no_peers)))
        return
    if arguments.names in (["first"], ["calibrate"]):
        {"first": first_results, "calibrate": calibrate}[arguments.names[0]]()
        return
    from benchmarks.workloads import WORKLOADS

    unknown = set(arguments.names) - set(WORKLOADS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    results = [run_child(name, arguments) for name in arguments.names or WORKLOADS]
    record = {"machine": machine(), "results": results}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(record, indent=1), encoding="utf-8")
    print(json.dumps(record["machine"]))


def run_child(name: str, arguments: argparse.Namespace) -> dict:
    command = [sys.executable, "-m", "benchmarks", name, "--child", "--repeat", str(arguments.repeat)]
    command += ["--no-peers"] if arguments.no_peers else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"{name:12s} failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}", flush=True)
        return {"name": name, "failed": done.stderr[-2000:]}
    result = json.loads(done.stdout.strip().splitlines()[-1])
    print_row(result)
    return result


def first_results(name: str = "W2a", repeat: int = 3) -> None:
    """Seconds of a whole process that imports, compiles and simulates: without a compile cache, and with one."""
    script = (
        "import mrisim as mr; from benchmarks.workloads import WORKLOADS; "
        f"w = WORKLOADS[{name!r}]; mr.simulate(w.load(), w.phantom(), **w.options)"
    )
    with tempfile.TemporaryDirectory() as folder:
        cached = {"JAX_COMPILATION_CACHE_DIR": folder, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        for what, environment in (("no cache", {}), ("fills it", cached), ("filled cache", cached)):
            seconds = []
            for _ in range(1 if what == "fills it" else repeat):
                begin = time.perf_counter()
                subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, **environment})
                seconds.append(time.perf_counter() - begin)
            print(f"{name} first result, {what:12s} {min(seconds):5.2f} s", flush=True)


def calibrate() -> None:
    """Rates of the cost model, those of this machine beside the ones in use."""
    from mrisim.encoding import cost

    measured = cost.calibrate()
    for rate in fields(cost.Rates):
        print(
            f"{rate.name:8s} {getattr(measured, rate.name):8.2e} s here, {getattr(cost.RATES, rate.name):8.2e} s in use"
        )


def print_row(r: dict) -> None:
    ratios = "  ".join(f"{r['warm'] / r[peer]:.3g} × {peer}" for peer in ("numpy", "c", "mrzero") if r.get(peer))
    print(
        f"{r['name']:12s} {r['spins']:>9,} spins {r['samples']:>9,} samples  first {r['first']:6.2f} s  "
        f"compile {r['compile']:5.2f} s  warm {r['warm']:8.4f} s  "
        f"{r['mib']:5.0f} MiB  error {r['error']:.1e}  {ratios}",
        flush=True,
    )


def measure(name: str, repeat: int, peers: bool) -> dict:
    """One workload: first result, compilation, warm runs in turn with the peers, memory, error."""
    import mrisim as mr
    from benchmarks.workloads import WORKLOADS

    work = WORKLOADS[name]
    seq, phantom = work.load(), work.phantom()
    options = {**work.options, "coils": work.coils}
    made = time.perf_counter()
    first = mr.simulate(seq, phantom, **options)
    result = {
        "name": name,
        "what": work.what,
        "spins": phantom.n_spins,
        "samples": first.signal.shape[1],
        "first": time.perf_counter() - BEGIN,
        "compile": first.provenance["seconds"]["compile"],
        "cold_simulate": time.perf_counter() - made,
    }
    runners = {"warm": lambda: mr.simulate(seq, phantom, **options)}
    if peers and work.coils is None:
        runners.update(peer_runners(work, seq, phantom))
    seconds: dict[str, list[float]] = {key: [] for key in runners}
    for turn in range(repeat):
        for key, runner in runners.items():
            if key in ("numpy", "mrzero") and turn > 0 and seconds[key][0] > 5:
                continue
            begin = time.perf_counter()
            runner()
            seconds[key].append(time.perf_counter() - begin)
    result.update({key: statistics.median(values) for key, values in seconds.items()})
    if "numpy" in result:
        result["numpy"] /= work.plain_share
        result["numpy_share"] = work.plain_share
    result["mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result["error"] = error(seq, phantom, options)
    return result


def peer_runners(work, seq, phantom) -> dict:
    import numpy as np

    import mrisim as mr
    from benchmarks.peers import c_runner, compiled_c, mrzero_runner
    from benchmarks.plain import plain_signal

    program = mr.lower(seq, work.options.get("pulses", "shaped"))
    some = subset(phantom, max(1, round(phantom.n_spins * work.plain_share)))
    runners = {"numpy": lambda: plain_signal(program, some, np.float32)}
    library = compiled_c()
    others = {
        "c": c_runner(library, program, phantom) if library is not None else None,
        "mrzero": mrzero_runner(seq, phantom) if work.options.get("pulses") == "ideal" else None,
    }
    return {**runners, **{name: runner for name, runner in others.items() if runner is not None}}


def subset(phantom, n: int):
    """Every so many-th spin."""
    import numpy as np

    return phantom.take(np.linspace(0, phantom.n_spins - 1, n).astype(int))


def neighbors(phantom, n: int, count: int = 8):
    """Some runs of spins that lie side by side, so that these are encoded as all of them are."""
    import numpy as np

    order = np.argsort(np.asarray(phantom.position)[:, 0], kind="stable")
    starts = np.linspace(0, phantom.n_spins - n // count, count).astype(int)
    return phantom.take(np.unique(order[starts[:, None] + np.arange(n // count)]))


def error(seq, phantom, options: dict) -> float:
    """Relative 2-norm against direct summation in float64, over some spins and the first readouts."""
    import numpy as np

    import mrisim as mr
    from benchmarks.plain import plain_signal

    n = min(SUBSET, phantom.n_spins)
    some = neighbors(phantom, n if seq.blocks.adc.size < 5000 else 100)
    options = {**options, "coils": None}
    found = mr.simulate(seq, some, **options).signal[0]
    program = mr.lower(seq, options.get("pulses", "shaped"))
    limit = None if program.n_steps < 5000 else 2000
    if limit is not None:
        program = _shortened(program, limit)
    exact = plain_signal(program, some)
    found = found[: len(exact)]
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def _shortened(program, n: int):
    """The first steps of a program."""
    from dataclasses import replace

    steps = replace(program.steps, **{key: values[:n] for key, values in vars(program.steps).items()})
    readouts = []
    for r in program.readouts:
        keep = r.step < n
        readouts.append(replace(r, step=r.step[keep], phase=r.phase[keep], first=r.first[keep]))
    return replace(program, steps=steps, readouts=tuple(readouts))


def machine() -> dict:
    from importlib.metadata import version

    about = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    model = next((line.split(":")[1].strip() for line in about.splitlines() if "model name" in line), "")
    return {
        "processor": model or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        **{name: version(name) for name in ("mrisim", "jax", "numpy")},
        "date": time.strftime("%Y-%m-%d"),
    }


if __name__ == "__main__":
    main()
