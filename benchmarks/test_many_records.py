"""What commands that judge take with 5,000 records, in seconds of CPU: at most ten times as much as reading them."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
from many_records import many_records, write

RECORDS, MOST_LOADS, REPORT_SECONDS, PAGE_BYTES = 5000, 10, 25, 10 * 2**20
READ = (
    "-c",
    "import sys; from pathlib import Path; from awbench.records import Records; Records.read(Path(sys.argv[2]))",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    write(folder, many_records(RECORDS))
    return folder


def cpu_seconds(*argv) -> float:
    def used():
        of = resource.getrusage(resource.RUSAGE_CHILDREN)
        return of.ru_utime + of.ru_stime

    before = used()
    subprocess.run([sys.executable, *argv], check=True, stdout=subprocess.DEVNULL)
    return used() - before


@pytest.fixture(scope="module")
def load(folder) -> float:
    return cpu_seconds(*READ, "--results", str(folder))


@pytest.mark.parametrize("command", [("table", "accuracy"), ("table", "claims"), ("table", "complexity"), ("plan",)])
def test_a_command_takes_a_few_loads(command, folder, load):
    taken = cpu_seconds("-m", "awbench", *command, "--results", str(folder))
    print(f"{' '.join(command)}: {taken:.2f} s of CPU, reading alone {load:.2f} s")
    assert taken <= MOST_LOADS * load


def test_the_report_with_its_figures(folder, load):
    taken = cpu_seconds("-m", "awbench", "report", "--results", str(folder))
    size = (folder / "report.html").stat().st_size
    print(f"report: {taken:.2f} s of CPU, {size / 2**20:.1f} MiB, reading alone {load:.2f} s")
    assert taken <= REPORT_SECONDS and size <= PAGE_BYTES
