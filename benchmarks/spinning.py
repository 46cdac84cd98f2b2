"""What a training step on two threads costs as its threads spin for longer or shorter while they wait for work, on an
idle machine and beside one busy process.

    python benchmarks/spinning.py [--networks resnet20 aw_resnet20] [--rounds 3] [--seconds 4]

A process of its own per case, for torch reads the variables once; the cases interleaved, the median over rounds. Batch
128 at 28 pixels, channels_last. Run it where nothing else runs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from awbench.system import SPINS, WAITING

# How the threads wait: as OpenMP has it, as `awbench train` has it and shorter, asleep at once.
POLICIES: dict[str, dict[str, str]] = {
    "default": {},
    **{f"{spins:,} spins": {"GOMP_SPINCOUNT": str(spins)} for spins in (SPINS, SPINS // 3, SPINS // 10)},
    "passive": {"OMP_WAIT_POLICY": "passive"},
}


def time_steps(name: str, seconds: float) -> float:
    """Milliseconds of a training step, the median."""
    import torch

    import awbench

    torch.set_num_threads(2)
    torch.manual_seed(0)
    model = awbench.build(name, num_classes=10).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    images = torch.randn(128, 3, 28, 28).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (128,))
    times, began = list[float](), time.perf_counter()
    while len(times) < 4 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[1:])


@contextlib.contextmanager
def busy_process() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet20", "aw_resnet20"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of each case in each round")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(time_steps(args.case, args.seconds))
        return
    surroundings = {name: value for name, value in os.environ.items() if name not in (*WAITING, "OMP_NUM_THREADS")}
    times: dict[tuple[str, bool, str], list[float]] = {}
    for _ in range(args.rounds):
        for busy in (False, True):
            with busy_process() if busy else contextlib.nullcontext():
                for name in args.networks:
                    for policy, variables in POLICIES.items():
                        command = [sys.executable, __file__, "--case", name, "--seconds", str(args.seconds)]
                        printed = subprocess.check_output(command, env={**surroundings, **variables})
                        times.setdefault((name, busy, policy), []).append(float(printed))
    print("| network | threads wait | idle: ms a step | beside a busy process: ms | idle: ratio | beside: ratio |")
    print("|---|---|---|---|---|---|")
    for name in args.networks:
        base = statistics.median(times[name, False, "default"])
        for policy in POLICIES:
            idle, beside = (statistics.median(times[name, busy, policy]) for busy in (False, True))
            print(f"| {name} | {policy} | {idle:.0f} | {beside:.0f} | {idle / base:.2f} | {beside / base:.2f} |")


if __name__ == "__main__":
    main()
