"""How fast the simulated cloud is: `python -m tests.bench.bench_simcloud [--hubs 10000]`.

Prints figures and judges nothing. The load comes from raw sockets in processes of their own, so
that what is measured is the server; on a machine with few cores both share them.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import time
from pathlib import Path

from tests.support.simcloud_process import SimCloud


def sign_in(cloud: SimCloud) -> dict[str, str]:
    line = http.client.HTTPConnection("127.0.0.1", cloud.port)
    body = json.dumps({"user_name": cloud.email, "password": cloud.password})
    line.request("POST", "/v1/login2", body)
    return {"Authorization": json.load(line.getresponse())["accesstoken"]}


def ask_for(seconds: float, port: int, paths: list[str], headers: dict[str, str]) -> int:
    """Ask one path after the other on one connection; how many were answered with 200."""
    line = http.client.HTTPConnection("127.0.0.1", port)
    until, answered = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        line.request("GET", paths[answered % len(paths)], headers=headers)
        answer = line.getresponse()
        answer.read()
        answered += answer.status == 200
    line.close()
    return answered


def list_all(port: int, headers: dict[str, str]) -> tuple[int, int]:
    """(hubs, bytes) of one listing with all details in pages of 100."""
    line, start, hubs, size = http.client.HTTPConnection("127.0.0.1", port), "", 0, 0
    while True:
        path = f"/v1/user/nodes?node_details=true&num_records=100&start_id={start}"
        line.request("GET", path, headers=headers)
        text = line.getresponse().read()
        page = json.loads(text)
        hubs, size = hubs + len(page["node_details"]), size + len(text)
        start = page.get("next_id", "")
        if not start:
            return hubs, size


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def measure(hubs: int, seconds: float, connections: int, state: bool) -> None:
    began = time.monotonic()
    with SimCloud(hubs=hubs, offers=1, state=state) as cloud:
        print(f"--- {hubs} hubs, {'with' if state else 'without'} a state file")
        print(f"start-up: {time.monotonic() - began:.2f} s")
        headers = sign_in(cloud)
        nodes = [hub for hub in cloud.hubs() if hub["online"]]
        busy = nodes[:200]
        line = http.client.HTTPConnection("127.0.0.1", cloud.port)
        for hub in busy:
            body = {"node_id": hub["node_id"], "ota_job_id": hub["offer"]["ota_job_id"]}
            line.request("POST", "/v1/user/nodes/ota_update", json.dumps(body), headers)
            line.getresponse().read()
        paths = [
            f"/v1/user/nodes/ota_status?node_id={hub['node_id']}"
            f"&ota_job_id={hub['offer']['ota_job_id']}"
            for hub in busy
        ]
        with multiprocessing.Pool(connections) as pool:
            work = [(seconds, cloud.port, paths, headers)] * connections
            answered = sum(pool.starmap(ask_for, work))
        print(f"ota_status, {connections} connections: {answered / seconds:.0f} requests/s")
        began = time.monotonic()
        listed, size = list_all(cloud.port, headers)
        took = time.monotonic() - began
        print(f"listing of {listed} hubs in pages of 100: {took:.2f} s, {size / 1e6:.1f} MB")
        assert cloud.process
        print(f"memory: {resident_mb(cloud.process.pid):.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hubs", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=8)
    options = parser.parse_args()
    for state in (False, True):
        measure(options.hubs, options.seconds, options.connections, state)


if __name__ == "__main__":
    main()
