"""Measures what the bundled generator wrote: by the collection's own tables, and against what it was trained on.

    nearmiss generate negatives --data data/elements --split test --generator models/elements-writer.gguf \
        --prompt short --num-negatives 3 --out runs/written-test.jsonl
    python models/make/judge.py runs/written-test.jsonl --split test [--examples 10]

An answer is a passage that names an element the query asks for together with the value the tables have for it; for
facts the tables keep as sentences (uses, discovery stories) five words in a row of a judged passage count as the value.
On topic is a passage that names one of the query's elements, or tells the group of facts the query asks about.
"""

import argparse
import json
import random
import re
from collections import defaultdict

from world import DATA, World, judged, lines

WORD = re.compile(r"\w+")


def words(text):
    return WORD.findall(text.lower())


def grams(text, n):
    own = words(text)
    return {tuple(own[i : i + n]) for i in range(len(own) - n + 1)}


def holds(text, value):
    """Whether `value` stands in `text` as whole words."""
    return re.search(rf"(?<![\w.]){re.escape(value)}(?!\w|\.\d)", text, re.IGNORECASE) is not None


class Judge:
    def __init__(self, world, split):
        self.world = world
        self.queries = {query["_id"]: query for query in lines(DATA / "queries.jsonl")}
        self.passages = {passage["_id"]: passage for passage in lines(DATA / "corpus.jsonl")}
        self.positives = defaultdict(list)
        for query, passage, grade in judged(split):
            if grade == 2:
                self.positives[query].append(passage)
        self.values = {(f["element"], f["attribute"]): f["value"] for f in world.facts}
        starts = defaultdict(set)
        for passage in self.passages.values():
            starts[passage["metadata"]["fact"]] |= grams(passage["title"] + " " + passage["text"], 3)
        # Runs of three words that only one group of facts has say what a passage is about.
        self.marks = {
            group: own - set().union(*(other for name, other in starts.items() if name != group))
            for group, own in starts.items()
        }

    def about(self, text):
        """The group of facts whose wording the text has most of."""
        own = grams(self.world.name.sub("iron", text), 3)
        return max(self.marks, key=lambda group: len(own & self.marks[group]))

    def named(self, text):
        return {found.lower() for found in self.world.name.findall(text)}

    def facts_of(self, query):
        asked = self.queries[query]["metadata"]
        for element in asked["element"].split(", "):
            for (owner, attribute), value in self.values.items():
                if owner == element and attribute.startswith(asked["fact"]):
                    yield element, value

    def answers(self, query, text):
        named, facts = self.named(text), list(self.facts_of(query))
        if facts:
            # Of a list, such as uses, one part is a partial answer, and counts.
            return any(element in named and holds(text, part) for element, value in facts for part in value.split(", "))
        for passage in self.positives[query]:
            passage = self.passages[passage]
            element = passage["metadata"]["element"]
            told = {g for g in grams(passage["text"], 5) if element not in g}
            if element in named and told & grams(text, 5):
                return True
        return False

    def on_topic(self, query, text):
        asked = self.queries[query]["metadata"]
        groups = {self.passages[passage]["metadata"]["fact"] for passage in self.positives[query]}
        return bool(self.named(text) & set(asked["element"].split(", "))) or self.about(text) in groups


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("candidates")
    arguments.add_argument("--split", required=True)
    arguments.add_argument("--examples", type=int, default=0)
    arguments = arguments.parse_args()
    world = World()
    judge = Judge(world, arguments.split)
    shown = [world.text(place) for place in world.passages]
    whole = {" ".join(words(text)) for text in shown}
    whole |= {" ".join(words(text)) for _, text in world.passages.values()}
    eights = set().union(*(grams(text, 8) for text in shown))
    corpus = {" ".join(words(p["title"] + " " + p["text"])) for p in judge.passages.values()}
    candidates = lines(arguments.candidates)
    counts = defaultdict(int)
    eight = [0, 0]
    rows = []
    for candidate in candidates:
        query, text = candidate["query"], candidate["text"]
        own = grams(text, 8)
        eight[0] += len(own & eights)
        eight[1] += len(own)
        answer, topic = judge.answers(query, text), judge.on_topic(query, text)
        counts["on topic"] += topic
        counts["answers the query"] += answer
        counts["on topic and no answer"] += topic and not answer
        counts["whole text in the training text"] += " ".join(words(text)) in whole
        counts["whole text in the corpus"] += " ".join(words(text)) in corpus
        rows.append((query, text, topic, answer))
    total = len(candidates)
    print(f"{total} negatives for {len({row[0] for row in rows})} queries of {arguments.split}")
    for name in ["on topic", "answers the query", "on topic and no answer", "whole text in the training text", "whole text in the corpus"]:
        print(f"{name}: {counts[name]} ({counts[name] / total * 100:.1f} %)")
    print(f"8-grams of words that stand in the training text: {eight[0] / max(eight[1], 1) * 100:.1f} %")
    dice = random.Random(1)
    for query, text, topic, answer in dice.sample(rows, min(arguments.examples, total)):
        said = "answers" if answer else "no answer" if topic else "off topic"
        print(f"\n[{said}] {judge.queries[query]['text']}\n    {text}")


if __name__ == "__main__":
    main()
