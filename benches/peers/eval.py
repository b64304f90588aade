"""Evaluation from files to metrics: `nearmiss eval` against pytrec_eval and ranx, on one machine, in turn.

    cargo build --release --bin nearmiss
    python3 benches/peers/eval.py [--program FILE] [--scratch DIR] [--queries 10000] [--hits 1000] [--rounds 5]

Makes a Python environment with the peers from PyPI in the scratch folder (once), writes a run of queries x hits and its
judgements there, and times ndcg@10, recall@100, map and mrr. Ours is the whole process, from its start to its end. A
peer's process reports two times from its own clock, after its imports (and ranx's compilation on a small run): files to
metrics, and metrics alone, with everything in memory. CPU seconds are of whole processes, imports included: on a busy machine they are
the fairer measure. Runs are interleaved; the table has medians, the least and the
greatest. Ends with an error where the means differ by more than 1e-6.
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import time
import venv

METRICS = ["ndcg@10", "recall@100", "map", "mrr"]

PYTREC_EVAL = """
import json, sys, time
import pytrec_eval
run_path, qrels_path = sys.argv[1:]
begun = time.perf_counter()
with open(run_path) as run, open(qrels_path) as qrels:
    run, qrels = pytrec_eval.parse_run(run), pytrec_eval.parse_qrel(qrels)
parsed = time.perf_counter()
names = {"ndcg@10": "ndcg_cut_10", "recall@100": "recall_100", "map": "map", "mrr": "recip_rank"}
found = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "recall.100", "map", "recip_rank"}).evaluate(run)
mean = {ours: sum(values[theirs] for values in found.values()) / len(found) for ours, theirs in names.items()}
ended = time.perf_counter()
print(json.dumps({"whole": ended - begun, "metrics": ended - parsed, "mean": mean}))
"""

RANX = """
import json, sys, time
from ranx import Qrels, Run, evaluate
run_path, qrels_path = sys.argv[1:]
names = ["ndcg@10", "recall@100", "map", "mrr"]
small = {"q": {"a": 1, "b": 2}}, {"q": {"a": 0.5, "c": 0.25}}
evaluate(Qrels(small[0]), Run(small[1]), names)
begun = time.perf_counter()
qrels, run = Qrels.from_file(qrels_path, kind="trec"), Run.from_file(run_path, kind="trec")
parsed = time.perf_counter()
mean = evaluate(qrels, run, names)
ended = time.perf_counter()
print(json.dumps({"whole": ended - begun, "metrics": ended - parsed, "mean": {k: float(v) for k, v in mean.items()}}))
"""


def write_case(folder, queries, hits):
    """Scores fall along the list, without ties, which ranx breaks by place; 20 judged passages a query, of which half are in the run."""
    run, qrels = folder / f"{queries}x{hits}.trec", folder / f"{queries}x{hits}.qrels"
    if run.exists() and qrels.exists():
        return run, qrels
    draw = random.Random(1)
    partial = run.with_suffix(".partial")
    with open(partial, "w") as run_file, open(qrels, "w") as qrels_file:
        for query in range(queries):
            docs = draw.sample(range(1_000_000), hits + 10)
            score = 30.0
            for rank, doc in enumerate(docs[:hits], 1):
                score -= draw.randrange(1, 5) / 100
                run_file.write(f"q{query} Q0 doc{doc} {rank} {score:.6f} bench\n")
            for doc in docs[hits:] + draw.sample(docs[:hits], 10):
                qrels_file.write(f"q{query} 0 doc{doc} {draw.choice([0, 0, 1, 1, 2])}\n")
    partial.rename(run)
    return run, qrels


def environment(folder):
    python = folder / "python/bin/python"
    if not (folder / "complete").exists():
        venv.create(folder / "python", with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "pytrec_eval-terrier", "ranx"], check=True)
        (folder / "complete").touch()
    return python


def child(command):
    """The child's output, its seconds from start to end, those its threads worked, and its greatest resident GiB."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    output = process.stdout.read()
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    if status != 0:
        sys.exit(f"{command[0]} failed:\n{errors}")
    return output, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/nearmiss")
    parser.add_argument("--scratch", type=pathlib.Path, default=pathlib.Path("target/bench-peers-eval"))
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--hits", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    python = environment(arguments.scratch)
    run, qrels = write_case(arguments.scratch, arguments.queries, arguments.hits)
    run.read_bytes()  # the page cache holds it for the first as for the last

    ours = [arguments.program, "eval", "--qrels", qrels, "--run", run, "--metrics", ",".join(METRICS),
            "--dialect", "trec_eval", "--json"]
    whole, metrics, worked, memory, means = {}, {}, {}, {}, {}
    for number in range(arguments.rounds):
        for name, command in [("nearmiss", ours), ("pytrec_eval", [python, "-c", PYTREC_EVAL, run, qrels]),
                              ("ranx", [python, "-c", RANX, run, qrels])]:
            output, seconds, work, resident = child(command)
            found = json.loads(output)
            worked.setdefault(name, []).append(work)
            memory[name] = max(resident, memory.get(name, 0))
            if name == "nearmiss":
                whole.setdefault(name, []).append(seconds)
                means[name] = found["runs"][0]["evaluation"]["mean"]
            else:
                whole.setdefault(name, []).append(found["whole"])
                metrics.setdefault(name, []).append(found["metrics"])
                means[name] = found["mean"]
            print(f"round {number + 1}: {name} {whole[name][-1]:.2f} s", file=sys.stderr)

    for name in ["pytrec_eval", "ranx"]:
        for metric in METRICS:
            if abs(means["nearmiss"][metric] - means[name][metric]) > 1e-6:
                sys.exit(f"{metric}: {means['nearmiss'][metric]} here, {means[name][metric]} by {name}")

    def spread(times):
        return f"{statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"

    def ratio(times):
        return f"{statistics.median(times) / statistics.median(whole['nearmiss']):.1f}"

    print(f"{arguments.queries} queries x {arguments.hits} hits, {run.stat().st_size / 2**20:.0f} MiB, "
          f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {arguments.rounds} rounds\n")
    print("| | files to metrics | over ours | metrics alone | over our whole | CPU seconds of the process | peak memory |")
    print("|---|---|---|---|---|---|---|")
    for name, times in whole.items():
        alone = [spread(metrics[name]), ratio(metrics[name])] if name in metrics else ["-", "-"]
        print("| " + " | ".join([name, spread(times), ratio(times), *alone, spread(worked[name]), f"{memory[name]:.2f} GiB"]) + " |")


main()
