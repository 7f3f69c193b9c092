"""All benchmarks, under ten minutes on two idle cores; what they found in ratios comes first.

    python benchmarks/all.py [--peer PATH] [--data PATH] [--threads N]

PATH of --peer is a checkout of the published code, that of --data a folder of MNIST in parquet. A benchmark
that fails is reported and the others run; the exit code is then 1. How cost grows is drawn into
build/growth.png.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", type=Path, help="a checkout of the published code")
    parser.add_argument("--data", type=Path, help="a folder of MNIST in parquet")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    peer = ["--peer", str(options.peer)] if options.peer else []
    data = ["--data", str(options.data)] if options.data else []
    threads = ["--threads", str(options.threads)]
    plot = HERE.parent / "build" / "growth.png"
    benchmarks = {
        "train_step.py": [*peer, *data, *threads],
        "methods.py": ["--rounds", "2", *threads],
        "runs.py": [*data, *threads],
        "manifold_overhead.py": ["--width", "32", "--rounds", "3"],
        "metrics.py": peer,
        "growth.py": ["--out", str(plot)],
        "ranks.py": [],
        "gpu_step.py": peer,
    }
    if peer:
        benchmarks["side_by_side.py"] = [*peer, "--rounds", "4"]
    plot.parent.mkdir(exist_ok=True)
    texts, failed, began = {}, [], time.perf_counter()
    for name, words in benchmarks.items():
        if not (HERE / name).exists():
            continue
        start = time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        command = [sys.executable, str(HERE / name), *words]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        texts[name] = done.stdout
        if done.returncode:
            failed.append(name)
            texts[name] += f"failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}\n"
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    for name, text in texts.items():
        for line in text.splitlines():
            if line.strip().startswith(("ratio", "bf16 ratio")):
                print(
                    line.strip() if name == "train_step.py" else f"{name.removesuffix('.py')}: {line.strip()}"
                )
    for name, text in texts.items():
        print(f"\n## {name}\n{text.rstrip()}")
    print(f"\n{time.perf_counter() - began:.0f} s in all")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
