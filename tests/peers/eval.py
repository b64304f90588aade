"""`nearmiss eval` beside pytrec_eval, BEIR, sentence-transformers, ir-measures and SciPy, on a small made-up case.

    python tests/peers/eval.py [--program FILE] [--write]

The case has ties, grades from -1 to 3, queries without a relevant passage, queries the run lacks, queries that are not
judged, and hits with the query's own id. The peers' values stand in tests/peers/eval.json, which the library's tests
read; this script makes them anew and compares them with that file (`--write` replaces it), then compares the program's
values with them. Exit 1 where two differ by more than 1e-6.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import ir_measures
import numpy
import pytrec_eval
import scipy.stats
from beir.retrieval.evaluation import EvaluateRetrieval
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

GOLDEN = pathlib.Path(__file__).with_suffix(".json")
TREC = {
    "ndcg@3": "ndcg_cut_3", "ndcg@10": "ndcg_cut_10", "ndcg": "ndcg", "recall@5": "recall_5", "recall@10": "recall_10",
    "precision@5": "P_5", "precision": "set_P", "map@5": "map_cut_5", "map": "map", "mrr": "recip_rank",
    "success@1": "success_1", "success@5": "success_5", "r_precision": "Rprec",
}
BEIR = {"ndcg@3": "NDCG@3", "ndcg@10": "NDCG@10", "map@3": "MAP@3", "map@10": "MAP@10", "recall@3": "Recall@3",
        "recall@10": "Recall@10", "precision@3": "P@3", "precision@10": "P@10"}
TRANSFORMERS = {"ndcg@3": ("ndcg@k", 3), "ndcg@10": ("ndcg@k", 10), "map@3": ("map@k", 3), "map@100": ("map@k", 100),
                "mrr@10": ("mrr@k", 10), "success@3": ("accuracy@k", 3), "precision@3": ("precision@k", 3),
                "recall@10": ("recall@k", 10)}


def make_case():
    """A run and judgements: dictionaries of dictionaries, scores that are exact in 32 bits."""
    draw = random.Random(20)
    run, qrels = {}, {}
    for query in range(30):
        docs = [f"d{i}" for i in range(40)]
        grades = {doc: draw.choice([-1, 0, 0, 0, 1, 1, 2, 3]) for doc in draw.sample(docs, 12)}
        if query % 10 == 3:
            grades = {doc: min(grade, 0) for doc, grade in grades.items()}
        if query % 6 != 5:
            run[f"q{query}"] = {doc: draw.randrange(12) / 4 for doc in draw.sample(docs, draw.choice([2, 8, 25]))}
        if query % 4 == 0:
            grades[f"q{query}"] = 1
            if query % 8 == 0 and f"q{query}" in run:
                run[f"q{query}"][f"q{query}"] = 2.5
        if query != 9:
            qrels[f"q{query}"] = grades
    run["alone"] = {"alone": 1.0}
    qrels["alone"] = {"d1": 1}
    return run, qrels


def trec_eval(run, qrels, level=1):
    evaluator = pytrec_eval.RelevanceEvaluator(
        qrels, {"ndcg_cut.3,10", "ndcg", "recall.5,10", "P.5", "set_P", "map_cut.5", "map", "recip_rank", "success.1,5", "Rprec"},
        relevance_level=level)
    values = evaluator.evaluate(run)
    per_query = {query: {ours: theirs[name] for ours, name in TREC.items()} for query, theirs in values.items()}
    judged = [ir_measures.Judged @ k for k in (5, 10)]
    if level == 1:
        # It breaks ties by the smaller id and takes a grade below 0 as judged, trec_eval does neither: so ranks for
        # scores, and grades from 0 alone.
        order = {query: sorted(hits, key=lambda doc: (hits[doc], doc)) for query, hits in run.items()}
        ranked = {query: {doc: place for place, doc in enumerate(docs)} for query, docs in order.items()}
        pooled = {query: {doc: g for doc, g in grades.items() if g >= 0} for query, grades in qrels.items()}
        for metric in ir_measures.iter_calc(judged, pooled, ranked):
            if metric.query_id in per_query:
                per_query[metric.query_id][str(metric.measure).lower()] = metric.value
    mean = {name: numpy.mean([values[name] for values in per_query.values()]) for name in next(iter(per_query.values()))}
    return {"per_query": per_query, "mean": mean}


def complete(found, qrels):
    """trec_eval -c: the same values, 0 for what the run lacks, over all queries of the judgements."""
    mean = {name: sum(v[name] for v in found["per_query"].values()) / len(qrels) for name in found["mean"]}
    return {"per_query": found["per_query"], "mean": mean}


def beir(run, qrels):
    run = {query: dict(hits) for query, hits in run.items()}
    tables = EvaluateRetrieval.evaluate({q: dict(g) for q, g in qrels.items()}, run, [3, 10])
    theirs = {name: value for table in tables for name, value in table.items()}
    return {"mean": {ours: theirs[name] for ours, name in BEIR.items()}}


def transformers(run, qrels):
    relevant = {query: {doc for doc, grade in grades.items() if grade > 0} for query, grades in qrels.items()}

    def score(queries):
        evaluator = InformationRetrievalEvaluator(
            {query: "" for query in queries}, {}, relevant, mrr_at_k=[10], ndcg_at_k=[3, 10], accuracy_at_k=[3],
            precision_recall_at_k=[3, 10], map_at_k=[3, 100])
        if not evaluator.queries_ids:
            return None
        found = [[{"corpus_id": doc, "score": score} for doc, score in run.get(query, {}).items()] for query in evaluator.queries_ids]
        values = evaluator.compute_metrics(found)
        return {ours: float(values[name][k]) for ours, (name, k) in TRANSFORMERS.items()}

    per_query = {query: score([query]) for query in qrels}
    return {"per_query": {query: v for query, v in per_query.items() if v}, "mean": score(list(qrels))}


def significance():
    """Paired differences with SciPy's answers: the exact randomisation test, t, and a percentile interval."""
    draw = numpy.random.default_rng(3)
    cases = []
    for count, exact in [(2, True), (9, True), (12, True), (18, True), (200, False)]:
        differences = numpy.round(draw.normal(0.05 if exact else 0.02, 0.2, count), 3) * (draw.random(count) < 0.8)
        if not differences.any():
            differences[0] = 0.25
        test = scipy.stats.ttest_rel(differences, numpy.zeros(count))
        randomised = scipy.stats.permutation_test(
            (differences, numpy.zeros(count)), lambda a, b, axis: numpy.mean(a - b, axis=axis), permutation_type="samples",
            n_resamples=numpy.inf if exact else 400_000, vectorized=True, rng=1, batch=20_000)
        low, high = scipy.stats.bootstrap((differences,), numpy.mean, method="percentile", n_resamples=100_000, batch=2000, rng=1).confidence_interval
        cases.append({"differences": differences.tolist(), "t": test.pvalue, "exact": exact,
                      "randomisation": randomised.pvalue, "interval": [low, high],
                      "effect": differences.mean() / differences.std(ddof=1)})
    tails = [[t, df, 2 * scipy.stats.t.sf(t, df)] for df in (1, 2, 3.5, 10, 49, 299, 9999, 1e6) for t in (0.0, 1e-6, 0.3, 1.96, 4, 12)]
    raw = [0.01, 0.04, 0.03, 0.005, 0.9, 0.04]
    return {"cases": cases, "tails": tails, "holm": [raw, holm(raw)]}


def holm(raw):
    """By the definition in Holm (1979); SciPy has none."""
    order = sorted(range(len(raw)), key=raw.__getitem__)
    corrected, least = [0.0] * len(raw), 0.0
    for place, index in enumerate(order):
        least = max(least, min(1.0, (len(raw) - place) * raw[index]))
        corrected[index] = least
    return corrected


def near(ours, theirs, place, bound=1e-6):
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            near(ours[key], value, f"{place}/{key}", bound)
    elif isinstance(theirs, list):
        if len(ours) != len(theirs):
            sys.exit(f"{place}: {len(ours)} values for {len(theirs)}")
        for index, value in enumerate(theirs):
            near(ours[index], value, f"{place}/{index}", bound)
    elif isinstance(theirs, str) or isinstance(theirs, bool):
        if ours != theirs:
            sys.exit(f"{place}: {ours} for {theirs}")
    elif abs(ours - theirs) > bound:
        sys.exit(f"{place}: {ours} for {theirs}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/release/nearmiss")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()

    run, qrels = make_case()
    found = trec_eval(run, qrels)
    golden = {
        "run": run, "qrels": qrels,
        "dialects": {
            "trec_eval": found, "trec_eval-c": complete(found, qrels), "beir": beir(run, qrels),
            "sentence-transformers": transformers(run, qrels),
        },
        "relevant_from_2": trec_eval(run, qrels, 2),
        "significance": significance(),
    }
    if arguments.write:
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items())
        GOLDEN.write_text(f"{{\n{lines}\n}}\n")
        return
    near(json.loads(GOLDEN.read_text()), golden, GOLDEN.name)

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "a.trec").write_text("".join(f"{q} Q0 {d} 0 {s} t\n" for q, hits in run.items() for d, s in hits.items()))
        (folder / "qrels").write_text("".join(f"{q} 0 {d} {g}\n" for q, grades in qrels.items() for d, g in grades.items()))

        def ours(metrics, *more):
            command = [arguments.program, "eval", "--qrels", folder / "qrels", "--run", folder / "a.trec", "--json",
                       "--metrics", ",".join(metrics), *more]
            return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["runs"][0]["evaluation"]

        for dialect, theirs in golden["dialects"].items():
            # BEIR rounds to five digits.
            near(ours(theirs["mean"], "--dialect", dialect), theirs, dialect, 6e-6 if dialect == "beir" else 1e-6)
        level = golden["relevant_from_2"]
        near(ours(level["mean"], "--dialect", "trec_eval", "--relevant-from", "2"), level, "relevant_from_2")
    print(f"eval: {len(golden['dialects'])} dialects equal on {len(qrels)} queries")


main()
