"""Throughput, latency and memory of ``hilum serve`` on loopback, compared with the pipeline alone.

Run: python benchmarks/serve.py [SECONDS] (needs wrk; films are generated). Each number of clients gets a new
service. The pipeline alone is measured before it, on the same films.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

CLIENTS = (1, 8, 32, 128)  # the last number exceeds the queue
QUEUE = 64
FILMS = 8

MAIN = "import sys; sys.argv[0] = 'hilum'; from hilum.cli import main; main()"

BARE = """
import sys, time
from itertools import cycle
from pathlib import Path
import hilum
films = [path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir())]
pipeline = hilum.load()
for film in films[:4]:
    pipeline(film)
began, count = time.perf_counter(), 0
reports = map(pipeline, cycle(films)) if sys.argv[3] == "1" else pipeline.stream(cycle(films))
for report in reports:
    count += 1
    if time.perf_counter() - began > float(sys.argv[2]):
        break
print(count / (time.perf_counter() - began))
"""

LUA = """
local films, turn = {}, 0
function init(arguments)
  for _, path in ipairs(arguments) do
    local file = io.open(path, "rb")
    local headers = {["Content-Type"] = "image/png"}
    table.insert(films, wrk.format("POST", "/v1/predict", headers, file:read("*a")))
    file:close()
  end
end
function request()
  turn = turn % #films + 1
  return films[turn]
end
local busy, other = 0, 0
function response(status)
  if status == 503 then busy = busy + 1 elseif status ~= 200 then other = other + 1 end
  if status ~= 200 then
    counts = string.format("%d %d", busy, other)
  end
end
local threads = {}
function setup(thread) table.insert(threads, thread) end
function done(summary, latency)
  local refused, failed = 0, 0
  for _, thread in ipairs(threads) do
    local counts = thread:get("counts")
    if counts then
      local some, others = counts:match("(%d+) (%d+)")
      refused, failed = refused + some, failed + others
    end
  end
  local errors = summary.errors
  local form = '{"requests": %d, "seconds": %f, "refused": %d, "failed": %d, "p50": %f, "p95": %f, "p99": %f}'
  print("RESULT " .. string.format(form,
    summary.requests, summary.duration / 1e6, refused,
    failed + errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3))
end
"""


def main() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("needs wrk; install the Debian package of that name")
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    heads = (
        "clients",
        "pipeline alone, films/s",
        "service, films/s",
        "share",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "503",
    )
    print(*heads, "errors", "RSS MB, start", "end", sep="\t")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_films(folder / "films")
        (folder / "load.lua").write_text(LUA)
        for clients in CLIENTS:
            bare = alone(folder / "films", seconds, clients)
            found, start, end = served(folder, clients, seconds)
            answered = (found["requests"] - found["refused"] - found["failed"]) / found["seconds"]
            shown = [f"{bare:.1f}", f"{answered:.1f}", f"{answered / bare:.0%}"]
            shown += [f"{found[key]:.0f}" for key in ("p50", "p95", "p99", "refused", "failed")]
            print(clients, *shown, f"{start:.0f}", f"{end:.0f}", sep="\t", flush=True)


def draw_films(folder: Path) -> None:
    import cv2

    from hilum.data.phantom import draw

    folder.mkdir()
    for seed in range(FILMS):
        cv2.imwrite(str(folder / f"{seed}.png"), draw(seed, size=1024).pixels)


def alone(films: Path, seconds: float, clients: int) -> float:
    """Films a second without a service: one after the other for one client, decoded ahead for more."""
    command = [sys.executable, "-c", BARE, films, str(seconds), str(clients)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def served(folder: Path, clients: int, seconds: float) -> tuple[dict[str, float], float, float]:
    """The results of wrk, and the memory in MB of service and decoders before and after."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, data = f"http://127.0.0.1:{port}", folder / "data"
    options = ["--data", str(data), "--port", str(port), "--queue", str(QUEUE)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", MAIN, "serve", *options], stdout=log, stderr=log)
    try:
        wait(url)
        load(folder, url, min(clients, 8), 5)  # fills pools and caches
        start = memory(process.pid)
        found = load(folder, url, clients, seconds)
        return found, start, memory(process.pid)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(data)


def wait(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}/readyz").close()  # noqa: S310 - our own
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("the service does not start")


def load(folder: Path, url: str, clients: int, seconds: float) -> dict[str, float]:
    films = [str(path) for path in sorted((folder / "films").iterdir())]
    command = [
        "wrk",
        "-t1",
        f"-c{clients}",
        f"-d{seconds:.0f}s",
        "--timeout",
        "30s",
        "-s",
        folder / "load.lua",
        url,
    ]
    done = subprocess.run([*command, "--", *films], capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    found: dict[str, float] = json.loads(line.removeprefix("RESULT "))
    return found


def memory(process: int) -> float:
    """Resident memory of a process and its children, MB."""
    found = [path.read_text().split() for path in Path(f"/proc/{process}/task").glob("*/children")]
    total = 0
    for one in [process, *(int(child) for some in found for child in some)]:
        status = Path(f"/proc/{one}/status").read_text()
        total += int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    return total / 1024


if __name__ == "__main__":
    main()
