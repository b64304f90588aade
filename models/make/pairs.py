"""Training queries for the bundled encoder, made from the collection's own passages: titles, parts of sentences with the
element's name, groups of facts with the element's name; and the collection's training queries.

    python3 models/make/pairs.py data/elements OUT [--seed 1]

OUT becomes a BEIR folder with one split, train. No test query and no judgement of one is read.
"""
import argparse
import json
import pathlib
import random
import re
import shutil

PARTS = 3  # sentences of a passage that a part is taken of, at most


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def queries_of(passage, draw):
    """Texts that this passage answers."""
    element, fact = passage["metadata"]["element"], passage["metadata"]["fact"].replace("-", " ")
    yield passage["title"]
    sentences = [sentence for sentence in re.split(r"(?<=[.!?]) ", passage["text"]) if len(sentence) > 20]
    for sentence in draw.sample(sentences, min(PARTS, len(sentences))):
        words = sentence.rstrip(".").split()
        count = draw.randint(3, min(10, len(words))) if len(words) > 3 else len(words)
        start = draw.randrange(len(words) - count + 1)
        part = " ".join(words[start : start + count])
        yield part if element in part.lower() else f"{part} of {element}"
    yield f"{fact} of {element}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    data, out = arguments.data, arguments.out
    (out / "qrels").mkdir(parents=True, exist_ok=True)
    shutil.copy(data / "corpus.jsonl", out)
    draw = random.Random(arguments.seed)
    queries, judged = [], []
    for passage in lines(data / "corpus.jsonl"):
        for text in queries_of(passage, draw):
            queries.append({"_id": f"p{len(queries)}", "text": text})
            judged.append((queries[-1]["_id"], passage["_id"], "1"))
    train = [line.split("\t") for line in (data / "qrels/train.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    known = {query for query, _, _ in train}
    queries += [{"_id": query["_id"], "text": query["text"]} for query in lines(data / "queries.jsonl") if query["_id"] in known]
    judged += train
    (out / "queries.jsonl").write_text("".join(json.dumps(query) + "\n" for query in queries), encoding="utf-8")
    rows = "".join("\t".join(row) + "\n" for row in judged)
    (out / "qrels/train.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows, encoding="utf-8")
    print(f"{out}: {len(queries)} queries, {len(judged)} judgements")


if __name__ == "__main__":
    main()
