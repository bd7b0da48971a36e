"""What an installation takes that does nothing: processes, memory, CPU, and how long it starts.

python -m tests.bench.bench_rest [--seconds 60]

`manage.py start` in an empty data folder, and once more when that has stopped. Memory is the PSS of
each process (/proc/PID/smaps_rollup): what it shares with others counts for each of them in part,
so that the sum is what all of them take. CPU is the time that all of them used, of one core.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import requests

from tests.support.product import ROOT, free_port

LIMIT_S = 120
SETTLE_S = 30
KEPT = ("PATH", "HOME", "LANG", "DATABASE_URL", "WEB_PROCESSES", "WORKER_PROCESSES")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="rest-") as folder:
        for which in ("first", "second"):
            started = Started(Path(folder))
            try:
                print(f"{which} start: {started.took_s:.1f} s, {started.cpu_s:.1f} s of CPU")
                if which == "second":
                    report(started.process.pid, seconds)
                    print(f"one page: {started.page_ms():.0f} ms")
            finally:
                started.stop()


class Started:
    """A running installation."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "start", "--port", str(self.port)],
            cwd=ROOT,
            env=environment | {"ENV_FILE": "", "DATA_DIR": str(folder)},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "Ctrl-C stops everything" in line:
                break
        self.took_s = time.monotonic() - began
        self.cpu_s = sum(cpu_of(one) for one in family(self.process.pid))

    def page_ms(self) -> float:
        """Return how long the sign-in page took, when it was asked for the third time."""
        for _ in range(3):
            began = time.monotonic()
            requests.get(f"http://localhost:{self.port}/account/login/", timeout=20)
        return (time.monotonic() - began) * 1000

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(LIMIT_S)


def family(pid: int) -> list[psutil.Process]:
    start = psutil.Process(pid)
    return [start, *start.children(recursive=True)]


def cpu_of(process: psutil.Process) -> float:
    """Return the seconds of CPU that a process and its children that have ended used."""
    return sum(process.cpu_times()[:4])


def report(pid: int, seconds: float) -> None:
    time.sleep(SETTLE_S)
    before = {one.pid: cpu_of(one) for one in family(pid)}
    time.sleep(seconds)
    processes = family(pid)
    print(f"{'process':<18} {'PSS':>7} {'own':>7}  CPU in {seconds:.0f} s")
    total_mb = total_s = 0.0
    for process in processes:
        pss_mb, own_mb = memory_mb(process.pid)
        used_s = cpu_of(process) - before.get(process.pid, 0.0)
        total_mb, total_s = total_mb + pss_mb, total_s + used_s
        print(f"{name_of(process):<18} {pss_mb:5.1f}MB {own_mb:5.1f}MB  {used_s:.2f} s")
    share = total_s / seconds
    print(f"{len(processes)} processes, {total_mb:.0f} MB, {share:.2%} of a core")


def memory_mb(pid: int) -> tuple[float, float]:
    """Return a process's share of the memory, and what is its own alone."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {name: int(kb) for name, kb in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    return found["Pss"] / 1024, (found["Private_Dirty"] + found["Private_Clean"]) / 1024


def name_of(process: psutil.Process) -> str:
    name = process.name()
    if not name.startswith("python"):
        return name
    return next((word for word in process.cmdline()[1:] if not word.startswith("-")), name)[-18:]


if __name__ == "__main__":
    main()
