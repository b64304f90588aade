"""How mining grows with the number of queries, and that a killed mining ends with the same bytes.

    python benches/peers/mine_growth.py [--sizes 1000,10000,100000] [--plot FILE.svg] [--kills 10] [WORK_FOLDER]

20,000 passages and as many queries as a size says, twelve words each, drawn from those of the bundled collection; every
query is judged to be answered by one passage. Sources: bm25, dense (exact; an untrained encoder of width 64, whose
vectors are made before and kept) and both with random, at most 4 of a query. Time and peak resident size are those of the
whole process (Linux: with the mapped files it touched). Then a mining of the middle size is killed with SIGKILL at
random moments until it ends, and candidates and ledger are compared with those of one that nobody killed.
"""
import argparse
import pathlib
import random
import shutil
import signal
import subprocess
import time

import growth
import plot

PASSAGES = 20_000
JOBS = {"bm25": ["bm25"], "dense": ["dense"], "three sources": ["bm25=2,dense=2,random=2", "--num-negatives", "4"]}


def make(folder, queries, pool):
    draw = random.Random(queries)
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    text = lambda: " ".join(draw.choices(pool, k=12))
    with open(folder / "corpus.jsonl", "w") as out:
        out.writelines(f'{{"_id": "d{row}", "title": "", "text": "{text()}"}}\n' for row in range(PASSAGES))
    with open(folder / "queries.jsonl", "w") as asked, open(folder / "qrels/train.tsv", "w") as qrels:
        qrels.write("query-id\tcorpus-id\tscore\n")
        for row in range(queries):
            asked.write(f'{{"_id": "q{row}", "text": "{text()}"}}\n')
            qrels.write(f"q{row}\td{row % PASSAGES}\t1\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", nargs="?", default=str(growth.TARGET / "mine-growth-work"))
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--plot")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--program", default=str(growth.TARGET / "release/nearmiss"))
    arguments = parser.parse_args()
    work, sizes = pathlib.Path(arguments.work), [int(size) for size in arguments.sizes.split(",")]
    shutil.rmtree(work, ignore_errors=True)
    pool, encoder = growth.words(), work / "encoder"
    growth.run([arguments.program, "new-encoder", "--data", growth.ROOT / "data/elements", "--out", encoder, "--width", 64, "--max-length", 64])

    def mine(size, job, store, out):
        command = [arguments.program, "--store", store, "mine", "--data", work / f"data-{size}", "--split", "train", "--index", "exact"]
        return [str(part) for part in [*command, "--encoder", encoder, "--source", *JOBS[job], "--out", out / "mined.jsonl"]]

    lines = {name: {job: [] for job in JOBS} for name in ("time", "memory")}
    print("| queries | " + " | ".join(f"{job} s | its peak MiB" for job in JOBS) + " |\n|" + "---|" * (1 + 2 * len(JOBS)))
    for size in sizes:
        make(work / f"data-{size}", size, pool)
        store, cells = work / f"store-{size}", []
        for job in JOBS:
            # The first makes vectors and index; they stay, what was mined goes.
            for _ in range(2):
                for mined in store.glob("mine-*"):
                    shutil.rmtree(mined)
                seconds, peak = growth.run(mine(size, job, store, work / "out"))
            lines["time"][job].append((size, seconds))
            lines["memory"][job].append((size, peak))
            cells += [f"{seconds:.2f}", f"{peak:.0f}"]
        print(f"| {size:,} | {' | '.join(cells)} |", flush=True)
    if arguments.plot:
        plot.write(arguments.plot, [("Time", "queries", "seconds", lines["time"]), ("Memory", "queries", "peak MiB", lines["memory"])])

    size, job = sizes[len(sizes) // 2], "three sources"
    store, whole, killed = work / f"store-{size}", work / "whole", work / "killed"

    def forget():
        for mined in store.glob("mine-*"):
            shutil.rmtree(mined)

    forget()
    took, _ = growth.run(mine(size, job, store, whole))
    forget()
    moments, left = random.Random(7), arguments.kills
    while left > 0:
        process = subprocess.Popen(mine(size, job, store, killed), stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.05, 0.6 * took))
        alive = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        left -= alive
        if not alive:  # it ended before: begin anew
            forget()
    growth.run(mine(size, job, store, killed))
    same = all((whole / name).read_bytes() == (killed / name).read_bytes() for name in ("mined.jsonl", "mined.ledger.jsonl"))
    print(f"killed {arguments.kills} times: {'the same bytes' if same else 'OTHER BYTES'}")


if __name__ == "__main__":
    main()
