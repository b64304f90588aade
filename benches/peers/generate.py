"""Requests a minute and CPU seconds of our engine, of llama-server and of one request after the other, at equal work.

    python3 benches/peers/generate.py [--quick] [--minutes 75] [--threads 1] [--parts small,large,copying]

The models are Qwen3 with its own vocabulary and random weights, turned into chain models by tools/random_gguf.py of
../shared: whatever is asked, they write one fixed document of 150 tokens, at the full cost of their size. So everyone
reads the same tokens and writes the same tokens, with the real template, schema and sampling; a ratio is printed only
where the tokens read and written agree within 1 %. A request has 700 tokens of instructions that all share, about 200
of its own, and a JSON schema of one string.

Parts: `small` (50M in Q8_0, 256 requests), `large` (0.6B in Q4_0, 48), each beside llama-server (8 slots, cache_prompt,
json_schema, flash attention at its better setting) and beside one after the other (12); `copying` (50M, 32 requests at
each level): 0, 25, 50 and 100 % of the document stand in the prompt, the server with and without n-gram speculation.
Ours runs with what `tune` finds. Competitors take turns; medians, least and greatest over the rounds. CPU seconds are
the process's own, loading and the client left out. llama-batched-bench says what decoding alone would allow.

What it needs is made once under the target folder (llamacpp.py says how to lend it). A round is not begun when it would
end after its part's share of --minutes, but the first one always is; --quick takes about ten minutes of a quiet core."""
import argparse
import json
import os
import pathlib
import random
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from llamacpp import HERE, TARGET, WORK, llama, python, random_model, sh, vocabulary

REPLIES = TARGET / "release/examples/replies"
SLOTS, WINDOW, WRITTEN = 8, 2048, 150
SMALL = "--layers 8 --d 512 --ff 1536 --heads 8 --kv 4 --hd 64"
LARGE = "--layers 28 --d 1024 --ff 3072 --heads 16 --kv 8 --hd 128"
LEVELS = (0, 25, 50, 100)
# Spans that stand in the prompt, as quarters of the document.
COPIED = {0: (), 25: (1,), 50: (0, 2), 100: (0, 1, 2, 3)}
SPECULATION = {
    "its n-grams": ["--spec-type", "ngram-simple"],
    "its n-grams, tuned": ["--spec-type", "ngram-simple", "--spec-ngram-simple-size-n", "3", "--spec-ngram-simple-size-m", "8"],
}
SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 4000}}, "required": ["text"], "additionalProperties": False}
FILLER = """time year people way day man thing woman life child world school state family student group country problem
hand part place case week company system program question work government number night point home water room mother area
money story fact month lot right study book eye job word business issue side kind head house service friend father power
hour game line end member law car city community name president team minute idea kid body information back parent face
others level office door health person art war history party result change morning reason research girl guy moment air
teacher force education""".split()

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--quick", action="store_true", help="few requests and one round")
arguments.add_argument("--threads", type=int, default=1)
arguments.add_argument("--minutes", type=float, default=75)
arguments.add_argument("--rounds", type=int, default=3)
arguments.add_argument("--parts", default="small,large,copying")
A = arguments.parse_args()


DOCUMENT = r"""
import json, random, re, sys
from gguf import GGUFReader
tokens = GGUFReader(sys.argv[1]).fields["tokenizer.ggml.tokens"].contents()
place = {token: number for number, token in enumerate(tokens)}
used = set(sys.argv[3].split())
words = [token for token in tokens if re.fullmatch("Ġ[a-z]{4,9}", token) and token[1:] not in used]
random.Random(1).shuffle(words)
words = words[:int(sys.argv[2]) - 5]
# The chain hangs on the token the template ends with (of "</think>\n\n"); the first word stands behind its blank.
chain = [">ĊĊ", '{"', "text", '":', 'Ġ"', words[0][1:], *words[1:], '"}', "<|im_end|>"]
assert all(token in place for token in chain) and len(set(chain)) == len(chain)
json.dump([place[token] for token in chain], open(sys.argv[4], "w"))
print(" ".join(word[1:] for word in words))
"""


def models():
    """Small and large model, and the words of the document both write."""
    chain, words = WORK / "chain.json", WORK / "document.txt"
    if not words.exists():
        made = sh(python(), "-c", DOCUMENT, vocabulary() / "ggml-vocab-qwen2.gguf", WRITTEN, " ".join(FILLER), chain, capture_output=True, text=True)
        words.write_text(made.stdout)
    paths = {}
    for name, shape in (("small", SMALL), ("large", LARGE)):
        paths[name] = WORK / f"{name}.gguf"
        if paths[name].exists() or (name == "large" and "large" not in PARTS):
            continue
        made = WORK / f"{name}-q8.gguf"
        random_model(made, "qwen3", "qwen2", "Qwen-Qwen3-0.6B.jinja", "--chain", chain, *shape.split())
        if name == "large":
            sh(llama("llama-quantize"), "--allow-requantize", made, WORK / "large.partial", "Q4_0", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            made.unlink()
            made = WORK / "large.partial"
        made.rename(paths[name])
    return paths, words.read_text().split()


# What is asked -------------------------------------------------------------------------------------------------------


def requests(count, level, document):
    """Requests of equal length, with so much of the document in their own part."""
    fill = lambda stream, number: " ".join(stream.choice(FILLER) for _ in range(number))
    instructions, quarter, all_requests = fill(random.Random(0), 690), len(document) // 4, []
    for number in range(count):
        stream = random.Random(f"{level}-{number}")
        spans = [" ".join(document[place * quarter:(place + 1) * quarter]) for place in COPIED[level]]
        stream.shuffle(spans)
        left = 180 - quarter * len(spans)
        share = left // (len(spans) + 1)
        own = " ".join(part for span in [*spans, ""] for part in (fill(stream, share), span) if part)
        all_requests.append({
            "messages": [{"role": "system", "content": instructions}, {"role": "user", "content": own}],
            "schema": SCHEMA, "max_tokens": 400, "temperature": 0.8, "seed": number})
    return all_requests


# Who is asked --------------------------------------------------------------------------------------------------------


def ours(model, asked, *more):
    """Wall and CPU seconds, tokens read and written, and where the time went."""
    def run(folder, these):
        path = os.path.join(folder, "requests.jsonl")
        with open(path, "w") as file:
            file.writelines(json.dumps(request) + "\n" for request in these)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = sh(REPLIES, model, path, "--threads", A.threads, "--context", WINDOW, *more, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, json.loads(done.stderr.strip().splitlines()[-1])
    with tempfile.TemporaryDirectory() as folder:
        loading, _ = run(folder, [])
        cpu, spent = run(folder, asked)
    return {"wall": spent["seconds"], "cpu": cpu - loading, "read": spent["tokens_in"], "written": spent["tokens_out"], "spent": spent}


def tuned(model):
    """The settings `tune` finds, as words of a command line."""
    found = json.loads(sh(REPLIES, model, os.devnull, "--tune", "--threads", A.threads, "--slots", SLOTS, "--context", WINDOW,
                          capture_output=True, text=True).stderr.strip().splitlines()[-1])["tuned"]
    settings = {"flash": found["flash_attention"], "draft": found["draft"], "draft-cost": found["draft_cost"], "batch": found["batch"],
                "cache": found["cache_type"]}
    return [str(word) for name, value in settings.items() for word in (f"--{name}", value)]


class Server:
    """llama-server with a model, from its start until it is closed."""

    def __init__(self, model, flash, more=()):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [llama("llama-server"), "-m", model, "-np", SLOTS, "-c", WINDOW * SLOTS, "-t", A.threads, "-tb", A.threads, "-fa", flash,
                   "--port", self.port, "--host", "127.0.0.1", "--jinja", "--cache-prompt", *more]
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        for _ in range(1200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2).read()
                return self
            except OSError:
                if self.process.poll() is not None:
                    sys.exit("llama-server ended")
                time.sleep(0.1)
        sys.exit("llama-server does not start")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def ask(self, request):
        body = {"messages": request["messages"], "max_tokens": request["max_tokens"], "temperature": 0.8, "top_k": 40, "top_p": 0.95,
                "min_p": 0.0, "seed": request["seed"], "cache_prompt": True, "chat_template_kwargs": {"enable_thinking": False},
                "response_format": {"type": "json_schema", "json_schema": {"schema": request["schema"]}}}
        call = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(call, timeout=3600))

    def cpu(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def run(self, asked):
        queue, lock = list(reversed(asked)), threading.Lock()
        sums = {"prompt_tokens": 0, "completion_tokens": 0, "draft_n": 0, "draft_n_accepted": 0}

        def work():
            while True:
                with lock:
                    if not queue:
                        return
                    request = queue.pop()
                reply = self.ask(request)
                with lock:
                    for name in sums:
                        sums[name] += reply["usage"].get(name, reply.get("timings", {}).get(name, 0))
        cpu, begun = self.cpu(), time.monotonic()
        clients = [threading.Thread(target=work) for _ in range(SLOTS)]
        [client.start() for client in clients]
        [client.join() for client in clients]
        wall = time.monotonic() - begun
        return {"wall": wall, "cpu": self.cpu() - cpu, "read": sums["prompt_tokens"], "written": sums["completion_tokens"],
                "guessed": sums["draft_n"], "right": sums["draft_n_accepted"]}


def served(model, asked, flash, more=()):
    with Server(model, flash, more) as server:
        return server.run(asked)


# What came of it -----------------------------------------------------------------------------------------------------


def race(competitors, share):
    """The runs of each competitor, one of each a round, within a share of the time: {name: (count, run)} to {name: [rows]}."""
    rows, begun = {name: [] for name in competitors}, time.monotonic()
    for number in range(1 if A.quick else A.rounds):
        taken = time.monotonic() - begun
        if number and taken / number * (number + 1) > 60 * share * A.minutes:
            break
        for name, (count, run) in competitors.items():
            rows[name].append({"count": count, **run()})
            print(f"  {name}: {rows[name][-1]['wall']:.1f} s, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    return rows


def show(values, form="7.1f"):
    return f"{statistics.median(values):{form}} ({min(values):.1f} to {max(values):.1f})"


def table(rows):
    for name, runs in rows.items():
        each = lambda key: statistics.median(run[key] / run["count"] for run in runs)
        guessed = sum(run.get("guessed", run.get("spent", {}).get("guessed", 0)) for run in runs)
        right = sum(run.get("right", run.get("spent", {}).get("right", 0)) for run in runs)
        print(f"  {name:32} requests/min {show([60 * run['count'] / run['wall'] for run in runs])}"
              f"  requests/CPU-min {show([60 * run['count'] / run['cpu'] for run in runs])}"
              f"  read {each('read'):.0f} written {each('written'):.0f}" + (f"  guesses right {right / guessed:.0%} of {guessed}" if guessed else ""))
    first, *others = rows
    print(f"  rounds: {len(rows[first])}")
    for other in others:
        apart = max(abs(a[key] / a["count"] / (b[key] / b["count"]) - 1) for a in rows[first] for b in rows[other] for key in ("read", "written"))
        if apart > 0.01:
            print(f"  {first} over {other}: no ratio, the tokens are {apart:.1%} apart")
            continue
        ratio = lambda key: [b[key] / b["count"] * a["count"] / a[key] for a, b in zip(rows[first], rows[other])]
        print(f"  {first} over {other}: {show(ratio('wall'), '.2f')} by the clock, {show(ratio('cpu'), '.2f')} by CPU seconds")


def shares(run):
    spent = run["spent"]
    names = ("decode", "sampling", "masks", "prepare")
    text = ", ".join(f"{'tokenization' if name == 'prepare' else name} {spent[name] / spent['seconds']:.1%}" for name in names)
    idle = max(0.0, 1 - run["cpu"] / (A.threads * run["wall"]))
    print(f"  ours, shares of the time: {text}, rest {1 - sum(spent[name] for name in names) / spent['seconds']:.1%}; threads idle {idle:.1%};"
          f" {spent['batches']} batches, {spent['tokens_reused'] / run['count']:.0f} tokens a request reused")


def foretold(model, flash, row):
    """What llama-batched-bench says the same reading and writing takes, without anything else."""
    own = (row["read"] - row["spent"]["tokens_reused"]) / row["count"]
    # The depth at which a reply is written, on average.
    depth = int(row["read"] / row["count"] + WRITTEN / 2)
    done = sh(llama("llama-batched-bench"), "-m", model, "-c", WINDOW * SLOTS, "-b", 512, "-ub", 512, "-npp", depth, "-ntg", 64, "-npl", f"1,{SLOTS}",
              "-fa", flash, "-t", A.threads, "-tb", A.threads, "--output-format", "jsonl", capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    read, written = lines[0]["speed_pp"], lines[-1]["speed_tg"]
    rate = 60 / (own / read + WRITTEN / written)
    print(f"  llama-batched-bench: reads {read:.0f}, writes {written:.0f} tokens/s at {depth} tokens with {SLOTS} sequences: {rate:.1f} requests/min at most;"
          f" ours reach {60 * row['count'] / row['wall'] / rate:.0%}")


def better_flash(model, document):
    """The server's faster setting, by a run of each."""
    few = requests(SLOTS * 2, 0, document)
    return min(("off", "on"), key=lambda flash: served(model, few, flash)["wall"])


PARTS = A.parts.split(",")
sh("cargo", "build", "--release", "--example", "replies", cwd=HERE)
paths, document = models()
flash = {}
for part, count in (("small", 64 if A.quick else 256), ("large", 8 if A.quick else 48)):
    if part not in PARTS:
        continue
    model = paths[part]
    settings, flash[part] = tuned(model), better_flash(model, document)
    asked = requests(count, 0, document)
    few = asked[:3 if A.quick else 12]
    print(f"{part}: {count} requests, {SLOTS} slots, {A.threads} threads; ours {' '.join(settings)}, the server's flash attention {flash[part]}")
    rows = race({
        "ours": (count, lambda: ours(model, asked, "--slots", str(SLOTS), *settings)),
        "llama-server": (count, lambda: served(model, asked, flash[part])),
        "one after the other": (len(few), lambda: ours(model, few, "--slots", "1", "--naive", "--flash", settings[1])),
    }, 0.4 if part == "small" else 0.35)
    table(rows)
    shares(rows["ours"][-1])
    foretold(model, settings[1], rows["ours"][-1])
if "copying" in PARTS:
    model = paths["small"]
    settings = tuned(model)
    chosen = flash.get("small") or better_flash(model, document)
    for level in LEVELS:
        asked = requests(16 if A.quick else 32, level, document)
        print(f"{level} % of the reply stands in the prompt: {len(asked)} requests")
        competitors = {"ours": lambda: ours(model, asked, "--slots", str(SLOTS), *settings), "llama-server": lambda: served(model, asked, chosen)}
        for name, more in SPECULATION.items():
            competitors[f"llama-server, {name}"] = lambda more=more: served(model, asked, chosen, more)
        table(race({name: (len(asked), run) for name, run in competitors.items()}, 0.25 / len(LEVELS)))
