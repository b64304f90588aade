"""What the bundled generator learns from: near misses made from the training side of data/elements.

A near miss is a passage of the collection with its element, numbers and values exchanged: about another element, or
about another property of the same one. Passages judged for a test query are hidden: they are neither shown nor taken
apart, and nothing is written about their element and group of facts. Messages are those of prompts/short.toml.
"""

import json
import random
import re
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data" / "elements"
NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d+)?(?![\w])|(?<=-)\d+(?![\w])")
SENTENCE = re.compile(r"(?<=[.?])\s+(?=[A-Z])")
# What may be asked of each group of facts; {e} is the element.
ASKED = {
    "position": ["What is the symbol of {e}?", "atomic number of {e}", "{e} group and period", "Which family does {e} belong to?", "the atomic weight of {e}"],
    "melting-and-boiling": ["At what temperature does {e} melt?", "boiling point of {e}", "{e} melting point", "Find the boiling point of {e}."],
    "density-and-structure": ["How dense is {e}?", "{e} density", "crystal structure of {e}", "Tell me how heavy {e} is."],
    "discovery": ["Who discovered {e}?", "{e} discovery year", "Where was {e} discovered?", "I would like to know when {e} was found."],
    "name": ["Where does the name of {e} come from?", "{e} name origin", "After what is {e} named?"],
    "appearance": ["What does {e} look like?", "{e} colour and lustre", "Describe the look of {e}."],
    "uses": ["What is {e} used for?", "applications of {e}", "{e} uses in industry"],
    "isotopes": ["Which isotopes does {e} have?", "half-life of {e} isotopes", "{e} most abundant isotope"],
    "occurrence": ["Where is {e} found?", "{e} ores and sources", "the source of {e}"],
    "biology-and-hazards": ["Is {e} poisonous?", "{e} in the body", "effect of {e} on health"],
    "chemistry": ["oxidation states of {e}", "How electronegative is {e}?", "{e} compounds and chemistry"],
}


def lines(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def judged(split):
    rows = [row.split("\t") for row in open(DATA / "qrels" / f"{split}.tsv", encoding="utf-8").read().splitlines()[1:]]
    return [(query, passage, int(grade)) for query, passage, grade in rows]


class World:
    """The collection with its test side hidden."""

    def __init__(self):
        self.facts = list(json.load(open(DATA / "facts.json", encoding="utf-8")).values())
        self.elements = list(dict.fromkeys(fact["element"] for fact in self.facts))
        self.symbol = {fact["element"]: fact["value"] for fact in self.facts if fact["attribute"] == "symbol"}
        hidden = {passage for _, passage, _ in judged("test")}
        corpus = lines(DATA / "corpus.jsonl")
        place = lambda passage: (passage["metadata"]["element"], passage["metadata"]["fact"])
        self.hidden = {place(passage) for passage in corpus if passage["_id"] in hidden}
        self.passages = {place(p): (p["title"], p["text"]) for p in corpus if place(p) not in self.hidden}
        self.by_group = defaultdict(list)
        for element, group in self.passages:
            self.by_group[group].append(element)
        queries = {query["_id"]: query["text"] for query in lines(DATA / "queries.jsonl")}
        places = {passage["_id"]: place(passage) for passage in corpus}
        self.pairs = [
            (queries[query], places[passage])
            for query, passage, grade in judged("train")
            if grade == 2 and passage not in hidden
        ]
        names = "|".join(sorted(self.elements, key=len, reverse=True))
        self.name = re.compile(rf"\b({names})\b", re.IGNORECASE)
        # Values a text may hold, by attribute; those of hidden facts are left out.
        asked = defaultdict(set)
        for query in lines(DATA / "queries.jsonl"):
            if query["_id"] in {query for query, _, _ in judged("test")}:
                for element in query["metadata"]["element"].split(", "):
                    asked[query["metadata"]["fact"]].add(element)
        self.values = defaultdict(list)
        for fact in self.facts:
            known = not any(fact["attribute"].startswith(name) and fact["element"] in who for name, who in asked.items())
            if known and len(fact["value"]) > 5 and not NUMBER.fullmatch(fact["value"]):
                self.values[fact["attribute"]].append(fact["value"])
        self.sentences = defaultdict(list)
        for (_, group), (_, text) in self.passages.items():
            plain = [s for s in SENTENCE.split(text) if not self.name.search(s) and not NUMBER.search(s)]
            self.sentences[group].extend(plain)

    def text(self, place):
        return " ".join(self.passages[place])


def other_number(found, dice):
    """A number written like `found`, and not the same."""
    text = found.group()
    sign, digits = (text[0], text[1:]) if text[0] in "+-" else ("", text)
    if digits == "0" or text in ("1.29", "100"):
        return text
    before = found.string[: found.start()]
    for word, most in (("group ", 18), ("period ", 7)):
        if before.endswith(word):
            return str(dice.choice([n for n in range(1, most + 1) if str(n) != text]))
    while True:
        if re.fullmatch(r"1[6-9]\d\d|20\d\d", digits):
            new = str(dice.randint(1730, 1975))
        else:
            new = "".join(dice.choice("0123456789") if c.isdigit() else c for c in digits)
            new = dice.choice("123456789") + new[1:] if digits[0] != "0" else "0" + new[1:]
        if sign == "+" and "." not in digits:
            new = dice.choice("1234567")
        if new != digits:
            return sign + new


def near_miss(world, place, subject, dice, shown=None):
    """The passage at `place` told of `subject`, with other numbers, values and, where nothing else differs, sentences."""
    owner, group = place
    title, text = world.passages[place]
    allowed = [e for e in world.by_group[group] if e not in (owner, subject, shown)]
    names = {owner: subject}

    def rename(found):
        old = found.group().lower()
        new = names.setdefault(old, dice.choice(allowed))
        return new.capitalize() if found.group()[0].isupper() else new

    def change(sentence):
        for values in world.values.values():
            held = [value for value in values if value in sentence]
            if held:
                value = max(held, key=len)
                sentence = sentence.replace(value, dice.choice([v for v in values if v != value]))
                break
        sentence = re.sub(rf"(symbol |write it as )({re.escape(world.symbol[owner])})\b", lambda m: m[1] + world.symbol[subject], sentence)
        return NUMBER.sub(lambda found: other_number(found, dice), world.name.sub(rename, sentence))

    changed = []
    for sentence in SENTENCE.split(text):
        new = change(sentence)
        if new == sentence and world.sentences[group]:
            if dice.random() < 0.4 and len(changed) > 0:
                continue
            new = dice.choice(world.sentences[group])
        changed.append(new)
    return change(title), changed


def fit(title, sentences, words, length, dice):
    """The passage cut to about `words` words, fewer for "shorter than"; None when that cannot be."""
    least, most = (0.55, 0.85) if length == "shorter than" else (0.75, 1.4)
    while sentences:
        text = " ".join([title, *sentences])
        count = len(text.split())
        if count < least * words:
            return None
        if count <= max(most * words, 12):
            return text
        sentences = sentences[:-1]
    return None


def grams(text):
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)} or {tuple(words)}


def share(text, source):
    own = grams(text)
    return len(own & grams(source)) / len(own)


class Maker:
    """Draws examples: the messages of a conversation, with the replies to learn from."""

    def __init__(self, world, seed):
        self.world = world
        self.dice = random.Random(seed)
        self.prompt = tomllib.load(open(ROOT / "prompts" / "short.toml", "rb"))
        self.pool = self.prompt["attributes"]["general"]

    def render(self, template, values):
        return re.sub(r"\{(\w+)\}", lambda m: values[m[1]], template.strip().replace("{{", "{").replace("}}", "}"))

    def pair(self):
        """A query and the place of the passage that answers it."""
        if self.dice.random() < 0.4:
            return self.dice.choice(self.world.pairs)
        place = self.dice.choice(list(self.world.passages))
        query = self.dice.choice(ASKED[place[1]]).format(e=place[0])
        return (query if self.dice.random() < 0.7 else query[0].upper() + query[1:]), place

    def negative(self, place, attributes):
        """One near miss of the passage at `place`; None when the draw was no good one."""
        world, dice = self.world, self.dice
        element, group = place
        change = attributes["change"]
        if change == self.pool["change"][-1]:
            change = dice.choice(self.pool["change"][:-1])
        if change == self.pool["change"][0]:
            near = world.elements.index(element)
            # Neighbours in the periodic table are the nearer misses.
            close = [e for e in world.by_group[group] if e != element and abs(world.elements.index(e) - near) <= 9]
            subject = dice.choice(close if close and dice.random() < 0.6 else [e for e in world.by_group[group] if e != element])
            source = place if dice.random() < 0.6 else (dice.choice(world.by_group[group]), group)
        else:
            groups = [g for g in world.by_group if g != group and (element, g) in world.passages]
            if {group} & {"position", "name"}:
                groups = [g for g in groups if g not in ("position", "name")]
            if not groups:
                return None
            other = dice.choice(groups)
            subject, source = element, (dice.choice(world.by_group[other]), other)
        title, sentences = near_miss(world, source, subject, dice, element)
        positive = world.text(place)
        text = fit(title, sentences, len(positive.split()), attributes["length"], dice)
        if text is None or share(text, positive) > 0.7:
            return None
        return text

    def negatives(self, place, attributes, count):
        chosen = []
        for _ in range(40 * count):
            text = self.negative(place, attributes)
            if text and all(share(text, other) < 0.7 and share(other, text) < 0.7 for other in chosen):
                chosen.append(text)
            if len(chosen) == count:
                return chosen
        return None

    def reply(self, texts):
        return json.dumps({"hard_negative_documents": [{"text": text} for text in texts]}, ensure_ascii=False)

    def example(self):
        """[(role, content, learn), ...]: what is said, and whether it is to be learned."""
        dice = self.dice
        while True:
            query, place = self.pair()
            attributes = {name: dice.choice(values) for name, values in self.pool.items()}
            count = dice.choices([1, 2, 3, 4, 5], [2, 4, 6, 1, 1])[0]
            texts = self.negatives(place, attributes, count)
            if texts:
                break
        positive = self.world.text(place)
        values = {**attributes, "query": query, "positive": positive, "num_negatives": str(count)}
        talk = [("user", self.render(self.prompt["user"], values), False)]
        if dice.random() < 0.2:
            spoiled, defect = self.spoil(texts, positive)
            values["defects"] = f"- {defect}"
            talk.append(("assistant", self.reply(spoiled), False))
            talk.append(("user", self.render(self.prompt["reflection"], values), False))
        talk.append(("assistant", self.reply(texts), True))
        return talk

    def spoil(self, texts, positive):
        """The reply with one passage made bad, and the sentence the checks say of it (checks.rs)."""
        dice, spoiled = self.dice, list(texts)
        which = dice.randrange(len(texts))
        words = len(positive.split())
        kind = dice.choice(["copies", "short", "repeats"] if len(texts) > 1 else ["copies", "short"])
        if kind == "copies":
            spoiled[which] = positive
            return spoiled, (
                f"passage {which + 1} copies the passage that answers: {dice.randint(81, 100)} % of it stands there "
                "word for word, at most 80 % may; change what the search asks for"
            )
        if kind == "short":
            kept = texts[which].split()[: dice.randint(3, max(4, words // 2 - 1))]
            spoiled[which] = " ".join(kept)
            return spoiled, (
                f"passage {which + 1} has {len(kept)} words, too few; the passage that answers has {words}, "
                f"write at least {(words + 1) // 2}"
            )
        which = max(which, 1)
        first = dice.randrange(which)
        spoiled[which] = spoiled[first]
        return spoiled, f"passage {which + 1} is the same as passage {first + 1}; write a different one"


if __name__ == "__main__":
    maker = Maker(World(), 1)
    print(f"{len(maker.world.passages)} passages shown, {len(maker.world.hidden)} hidden, {len(maker.world.pairs)} pairs")
    for _ in range(6):
        for role, content, learn in maker.example():
            print(f"[{role}{' *' if learn else ''}] {content}")
        print()
