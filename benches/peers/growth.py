"""How encoding and dense search grow with the corpus, and that a killed encoding ends with the same bytes.

    python benches/peers/growth.py [--sizes 1000,10000,100000,1000000] [--plot FILE.svg] [--kills 10] [WORK_FOLDER]

The passages are twelve words each, drawn from those of the bundled collection; the encoder is an untrained one of width
64 and two layers (`nearmiss new-encoder`), so that a million passages take minutes. For each size a process encodes and
another searches for 100 queries; wall time and peak resident size are those of the whole process (Linux: with the mapped
files it touched). Then an encoding of 50,000 passages is killed with SIGKILL at random moments and started again, and
its file compared with that of one that nobody killed.
"""
import argparse
import json
import os
import pathlib
import plot
import random
import re
import shutil
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))


def words():
    with open(ROOT / "data/elements/corpus.jsonl", encoding="utf-8") as lines:
        return re.findall(r"[a-z]+", " ".join(json.loads(line)["text"].lower() for line in lines))


def make(folder, size, pool):
    draw = random.Random(size)
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    text = lambda: " ".join(draw.choices(pool, k=12))
    with open(folder / "corpus.jsonl", "w") as out:
        for row in range(size):
            out.write(f'{{"_id": "d{row}", "title": "", "text": "{text()}"}}\n')
    with open(folder / "queries.jsonl", "w") as queries, open(folder / "qrels/test.tsv", "w") as qrels:
        qrels.write("query-id\tcorpus-id\tscore\n")
        for row in range(100):
            queries.write(f'{{"_id": "q{row}", "text": "{text()}"}}\n')
            qrels.write(f"q{row}\td{row}\t1\n")


def run(command):
    """Seconds and peak MiB of a process."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", nargs="?", default=str(TARGET / "growth-work"))
    parser.add_argument("--sizes", default="1000,10000,100000,1000000")
    parser.add_argument("--plot")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--program", default=str(TARGET / "release/nearmiss"))
    arguments = parser.parse_args()
    work = pathlib.Path(arguments.work)
    shutil.rmtree(work, ignore_errors=True)
    pool = words()
    encoder = work / "encoder"
    run([arguments.program, "new-encoder", "--data", ROOT / "data/elements", "--out", encoder, "--width", 64, "--max-length", 64])
    lines = {name: {"encode": [], "search": []} for name in ("time", "memory")}
    print("| passages | encode s | its peak MiB | per passage | search of 100 queries s | its peak MiB |\n|---|---|---|---|---|---|")
    for size in map(int, arguments.sizes.split(",")):
        data = work / "data"
        make(data, size, pool)
        both = [arguments.program, "--store", work / "store"]
        seconds, peak = run([*both, "encode", "--data", data, "--encoder", encoder, "--out", work / "v"])
        search = [*both, "search", "--data", data, "--split", "test", "--retriever", "dense", "--encoder", encoder, "--out", work / "r.trec"]
        run(search)  # embeds the queries
        found, found_peak = run(search)
        for name, kind, value in [("time", "encode", seconds), ("time", "search", found), ("memory", "encode", peak), ("memory", "search", found_peak)]:
            lines[name][kind].append((size, value))
        print(f"| {size:,} | {seconds:.2f} | {peak:.0f} | {1e6 * seconds / size:.0f} µs | {found:.2f} | {found_peak:.0f} |", flush=True)
        shutil.rmtree(data)
        shutil.rmtree(work / "store")
    if arguments.plot:
        plot.write(arguments.plot, [("Time", "passages", "seconds", lines["time"]), ("Memory", "passages", "peak MiB", lines["memory"])])
    data = work / "data"
    make(data, 50_000, pool)
    encode = lambda name: [str(part) for part in (arguments.program, "--store", work / f"store-{name}", "encode", "--data", data, "--encoder", encoder, "--out", work / name)]
    whole, _ = run(encode("whole"))
    moments = random.Random(7)
    left = arguments.kills
    while left > 0:
        process = subprocess.Popen(encode("killed"), stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.05, 0.4 * whole))
        killed = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        if killed:
            left -= 1
        else:  # it ended before: begin anew
            shutil.rmtree(work / "store-killed")
    run(encode("killed"))
    same = (work / "whole").read_bytes() == (work / "killed").read_bytes()
    print(f"killed {arguments.kills} times: {'the same bytes' if same else 'OTHER BYTES'}")


if __name__ == "__main__":
    main()
