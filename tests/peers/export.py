"""What other trainers make of our exports: every table that `datasets` can load, in both formats, and the data sets and
trainers of sentence-transformers, FlagEmbedding and Tevatron over theirs; and what comes back by `nearmiss import`.

    python tests/peers/export.py --program FILE --encoder FOLDER [--work FOLDER] [BEIR_FOLDER]

FlagEmbedding's and Tevatron's sources come from PyPI into the work folder, without what they need to run models; their
modules for data are loaded alone. Tevatron 2 is not on PyPI: its form is checked by the keys its TrainDataset reads.
Texts are compared with the instances that were exported. Exit 1 when anything differs.
"""
import argparse
import collections
import importlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import types

for name, value in [("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_VERBOSITY", "error"), ("TQDM_DISABLE", "1")]:
    os.environ.setdefault(name, value)

import datasets
import sentence_transformers
from datasets import load_dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

SOURCES = {"FlagEmbedding": "1.4.2", "tevatron": "0.1.0"}
INSTANCES = 64
datasets.disable_progress_bars()


def lines(path):
    with open(path, encoding="utf-8") as text:
        return [json.loads(line) for line in text]


class Work:
    """The program, its work folder, and what differed."""

    def __init__(self, arguments):
        self.folder = pathlib.Path(arguments.work)
        self.program = [arguments.program, "--device", "cpu", "--store", str(self.folder / "store")]
        self.data, self.encoder, self.wrong = arguments.data, arguments.encoder, 0
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.run("mine", "--data", self.data, "--split", "train", "--source", "bm25=2,random=1", "--out", self.path("mined.jsonl"))
        self.run("score", "--data", self.data, "--split", "train", "--candidates", self.path("mined.jsonl"), "--out", self.path("scored.jsonl"))
        self.run("mix", "--data", self.data, "--split", "train", "--candidates", self.path("mined.jsonl"), "--take", "bm25=2,random=1", "--out", self.path("all.jsonl"))
        self.instances = lines(self.path("all.jsonl"))[:INSTANCES]
        with open(self.path("train.jsonl"), "w", encoding="utf-8") as out:
            out.writelines(json.dumps(instance) + "\n" for instance in self.instances)

    def path(self, name):
        return str(self.folder / name)

    def run(self, *command):
        done = subprocess.run([*self.program, *command], stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\n{done.stderr}")

    def export(self, form, format="jsonl", scores=False):
        out = self.path(f"{form}-{format}{'-scores' if scores else ''}")
        more = ["--scores", self.path("scored.jsonl"), self.path("scored.positives.jsonl"), "--measure", "bm25"] if scores else []
        self.run("export", "--data", self.data, "--instances", self.path("train.jsonl"), "--to", form, "--format", format, *more, "--out", out)
        return pathlib.Path(out)

    def load(self, folder, name="train"):
        file = next(path for path in folder.glob(f"{name}.*") if path.suffix in (".jsonl", ".parquet"))
        kind = "parquet" if file.suffix == ".parquet" else "json"
        return load_dataset(kind, data_files=str(file), split="train", cache_dir=self.path("cache"))

    def say(self, same, what):
        print(f"{what}: {'as exported' if same else 'DIFFERENT'}", flush=True)
        self.wrong += not same


def texts(instance):
    return instance["query"], instance["positive"]["text"], [negative["text"] for negative in instance["negatives"]]


def every_table(work):
    """`datasets` loads each table in each format, with the same rows and columns."""
    for form in ["pair", "triplet", "n-tuple", "labeled-pair", "labeled-list", "tevatron", "tevatron-old", "pylate"]:
        for scores in [True] if form == "pylate" else [False] if "tevatron" in form or form == "pair" else [False, True]:
            folders = [work.export(form, format, scores) for format in ("jsonl", "parquet")]
            for table in sorted(path.stem for path in folders[1].glob("*.parquet")):
                plain, packed = (work.load(folder, table) for folder in folders)
                same = plain.column_names == packed.column_names and plain.num_rows == packed.num_rows > 0
                near = lambda a, b: abs(a - b) <= 1e-6 * abs(a) if isinstance(a, float) else a == b
                for name in plain.column_names if same else []:
                    for a, b in zip(plain[name], packed[name]):
                        numbers = name.endswith(("score", "scores"))
                        same &= all(map(near, a, b)) if numbers and isinstance(a, list) else near(a, b)
                work.say(same, f"{form}{' with scores' if scores else ''}, {table}: {packed.num_rows} rows of {', '.join(packed.column_names)}")
    whole = load_dataset(str(work.path("n-tuple-parquet")), split="train", cache_dir=work.path("cache"))
    work.say(whole.num_rows == len(work.instances), "n-tuple: the folder itself, by name alone")


def sentence_transformers_trains(work):
    for format in ["jsonl", "parquet"]:
        dataset = work.load(work.export("n-tuple", format))
        rows = [(row["anchor"], row["positive"], [row[f"negative_{i}"] for i in (1, 2, 3)]) for row in dataset]
        work.say(rows == [texts(instance) for instance in work.instances], f"sentence-transformers, n-tuple as {format}")
        model = SentenceTransformer(work.encoder, device="cpu")
        settings = SentenceTransformerTrainingArguments(
            output_dir=work.path("trained"), max_steps=2, per_device_train_batch_size=4, use_cpu=True, report_to=[],
            save_strategy="no", logging_steps=1, disable_tqdm=True)
        loss = MultipleNegativesRankingLoss(model)
        result = SentenceTransformerTrainer(model=model, args=settings, train_dataset=dataset, loss=loss).train()
        good = result.global_step == 2 and result.training_loss > 0
        print(f"sentence-transformers, n-tuple as {format}: {result.global_step} steps, loss {result.training_loss:.4f}")
        work.wrong += not good


def bare(name, folder):
    """A package whose own __init__ (which asks for models and more) is not run."""
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package


def sources(work):
    folder = work.folder / "sources"
    pins = [f"{name}=={version}" for name, version in SOURCES.items()]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target", folder, *pins], check=True)
    return folder


def flagembedding_reads(work, folder):
    bare("flag_data", folder / "FlagEmbedding/abc/finetune/embedder")
    module = importlib.import_module("flag_data.AbsDataset")
    settings = importlib.import_module("flag_data.AbsArguments").AbsEmbedderDataArguments
    tokenizer = SentenceTransformer(work.encoder, device="cpu").tokenizer
    for scores in [False, True]:
        file = work.export("flagembedding", scores=scores) / "train.jsonl"
        options = settings(train_data=[str(file)], train_group_size=4, cache_path=work.path("cache"), knowledge_distillation=scores)
        dataset = module.AbsEmbedderTrainDataset(options, tokenizer)
        same = len(dataset) == len(work.instances)
        for row, instance in enumerate(work.instances):
            query, passages, teacher = dataset[row]
            asked, positive, negatives = texts(instance)
            same &= (query, passages[0], sorted(passages[1:])) == (asked, positive, sorted(negatives))
            same &= teacher is None if not scores else len(teacher) == 4
        batch = module.AbsEmbedderCollator(tokenizer)([dataset[row] for row in range(4)])
        same &= len(batch["queries"]["input_ids"]) == 4 and len(batch["passages"]["input_ids"]) == 16
        work.say(same, f"FlagEmbedding {SOURCES['FlagEmbedding']}, AbsEmbedderTrainDataset and collator{' with scores' if scores else ''}")


def tevatron_reads(work, folder):
    bare("tevatron", folder / "tevatron")
    bare("tevatron.datasets", folder / "tevatron/datasets")
    data = importlib.import_module("tevatron.datasets.dataset")
    tokenizer = SentenceTransformer(work.encoder, device="cpu").tokenizer
    for format, loader in [("jsonl", "json"), ("parquet", "parquet")]:
        path = work.export("tevatron-old", format) / f"train.{format}"
        options = types.SimpleNamespace(
            dataset_name=loader, dataset_language="default", train_path=[str(path)], dataset_split="train", q_max_len=32,
            p_max_len=128, dataset_proc_num=1, train_n_passages=4, passage_field_separator=" ")
        # Its table of preprocessors knows `json` as rows that are tokens already; these are texts.
        data.PROCESSOR_INFO["json"] = data.DEFAULT_PROCESSORS
        rows = data.HFTrainDataset(tokenizer, options, work.path("cache")).process()
        ids = lambda text, most: tokenizer.encode(text, add_special_tokens=False, max_length=most, truncation=True)
        same = len(rows) == len(work.instances)
        for row, instance in zip(rows, work.instances):
            asked, positive, negatives = texts(instance)
            same &= row["query"] == ids(asked, 32) and row["positives"] == [ids(positive, 128)]
            same &= row["negatives"] == [ids(text, 128) for text in negatives]
        work.say(same, f"Tevatron {SOURCES['tevatron']}, HFTrainDataset, tevatron-old as {format}")
    for format in ["jsonl", "parquet"]:
        out = work.export("tevatron", format)
        corpus = {row["docid"]: row["text"] for row in work.load(out, "corpus")}
        rows = [(row["query_text"], corpus[row["positive_document_ids"][0]], [corpus[id] for id in row["negative_document_ids"]]) for row in work.load(out)]
        work.say(rows == [texts(instance) for instance in work.instances], f"Tevatron 2's keys, tevatron as {format}")


def comes_back(work):
    """The negatives of each query, after `nearmiss import` of files that pandas or `datasets` rewrote."""
    due = collections.defaultdict(list)
    for instance in work.instances:
        found = due[instance["query_id"]]
        found += [negative["passage"]["corpus"] for negative in instance["negatives"] if negative["passage"]["corpus"] not in found]
    for form in ["triplet", "n-tuple", "labeled-list", "tevatron-old", "flagembedding"]:
        dataset = work.load(work.export(form))
        dataset.to_parquet(work.path(f"theirs-{form}.parquet"))
        dataset.to_json(work.path(f"theirs-{form}.jsonl"), force_ascii=False)
        for ending in ["parquet", "jsonl"]:
            out = work.path("back.jsonl")
            work.run("import", "--from", form, "--file", work.path(f"theirs-{form}.{ending}"), "--data", work.data, "--out", out)
            found = collections.defaultdict(list)
            for candidate in lines(out):
                found[candidate["query"]].append(candidate["passage"].get("corpus"))
            work.say(found == due, f"import of {form} as `datasets` writes {ending}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="../shared/data/scifact")
    parser.add_argument("--program", required=True)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--work", default="target/peers-export")
    work = Work(parser.parse_args())
    print(f"datasets {datasets.__version__}, sentence-transformers {sentence_transformers.__version__}")
    every_table(work)
    sentence_transformers_trains(work)
    folder = sources(work)
    flagembedding_reads(work, folder)
    tevatron_reads(work, folder)
    comes_back(work)
    sys.exit(1 if work.wrong else 0)


if __name__ == "__main__":
    main()
