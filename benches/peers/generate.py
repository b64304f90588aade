"""Requests a minute and CPU seconds of our engine, of llama-server and of one request after the other, side by side.

usage: generate.py MODEL.gguf --replies BIN --server BIN [--requests 64] [--naive 8] [--rounds 3] [--slots 8] [--threads 1]
BIN of --replies is the example `replies` of this repository (cargo build --release --example replies), that of --server
is llama-server of llama.cpp of the same age: `pip download --no-binary :all: --no-deps llama-cpp-python` brings its source
(vendor/llama.cpp), which cmake builds with -DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON,
as ours is built.

Every request has the same instructions (about 700 tokens), a text of its own (about 200), a JSON schema of one long
string and 150 tokens to write: models of random weights always use them up. Rounds are interleaved; medians and
ranges are printed. CPU seconds are those of the process at work, loading and the client left out."""
import argparse, json, os, random, resource, socket, statistics, subprocess, sys, tempfile, threading, time, urllib.request

ap = argparse.ArgumentParser()
ap.add_argument("model")
ap.add_argument("--replies", required=True)
ap.add_argument("--server", required=True)
for name, default in (("requests", 64), ("naive", 8), ("rounds", 3), ("slots", 8), ("threads", 1), ("tokens", 150), ("draft", 0)):
    ap.add_argument("--" + name, type=int, default=default)
ap.add_argument("--flash", choices=["on", "off"], default="off")
A = ap.parse_args()

WORDS = """time year people way day man thing woman life child world school state family student group country problem
hand part place case week company system program question work government number night point home water room mother area
money story fact month lot right study book eye job word business issue side kind head house service friend father power
hour game line end member law car city community name president team minute idea kid body information back parent face
others level office door health person art war history party result change morning reason research girl guy moment air
teacher force education""".split()
SCHEMA = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 4000}}, "required": ["text"], "additionalProperties": False}


def text(seed, words):
    stream = random.Random(seed)
    return " ".join(stream.choice(WORDS) for _ in range(words))


INSTRUCTIONS = text(0, 660)
REQUESTS = [
    {"messages": [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": text(n + 1, 190)}],
     "schema": SCHEMA, "max_tokens": A.tokens, "temperature": 0.8, "seed": n}
    for n in range(A.requests)
]


def ours(folder, count, *more):
    """Wall and CPU seconds of a run, loading left out, tokens written, and where the time went."""
    def run(requests):
        path = os.path.join(folder, "requests.jsonl")
        with open(path, "w") as file:
            file.writelines(json.dumps(request) + "\n" for request in requests)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([A.replies, A.model, path, "--threads", str(A.threads), "--context", "2048", "--flash", A.flash, *more],
                              capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = json.loads(done.stderr.strip().splitlines()[-1])
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, spent
    loading, _ = run([])
    cpu, spent = run(REQUESTS[:count])
    return spent["seconds"], cpu - loading, spent["tokens_out"], spent


class Server:
    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [A.server, "-m", A.model, "-np", str(A.slots), "-c", str(2048 * A.slots), "-t", str(A.threads), "-tb", str(A.threads),
             "-fa", A.flash, "--port", str(self.port), "--host", "127.0.0.1", "--no-webui", "--jinja", "--cache-prompt"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2).read()
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit("llama-server ended")
                time.sleep(0.1)

    def ask(self, request):
        body = {"messages": request["messages"], "max_tokens": request["max_tokens"], "temperature": 0.8, "top_k": 40, "top_p": 0.95,
                "min_p": 0.0, "seed": request["seed"], "cache_prompt": True, "chat_template_kwargs": {"enable_thinking": False},
                "response_format": {"type": "json_schema", "json_schema": {"schema": request["schema"]}}}
        call = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(call, timeout=3600))["usage"]["completion_tokens"]

    def cpu(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def run(self):
        queue, written, lock = list(reversed(REQUESTS)), [0], threading.Lock()
        def work():
            while True:
                with lock:
                    if not queue:
                        return
                    request = queue.pop()
                tokens = self.ask(request)
                with lock:
                    written[0] += tokens
        cpu, begun = self.cpu(), time.monotonic()
        clients = [threading.Thread(target=work) for _ in range(A.slots)]
        [client.start() for client in clients]
        [client.join() for client in clients]
        return time.monotonic() - begun, self.cpu() - cpu, written[0], {}


def server():
    one = Server()
    try:
        return one.run()
    finally:
        one.process.kill()
        one.process.wait()


rows = {"ours": [], "llama-server": [], "naive": []}
with tempfile.TemporaryDirectory() as folder:
    for _ in range(A.rounds):
        drafting = ["--draft", str(A.draft)]
        rows["ours"].append((A.requests, *ours(folder, A.requests, "--slots", str(A.slots), *drafting)))
        rows["llama-server"].append((A.requests, *server()))
        if A.naive:
            rows["naive"].append((A.naive, *ours(folder, A.naive, "--slots", "1", "--naive")))
        print("load", os.getloadavg()[0], file=sys.stderr)
print(f"{A.model}: {A.slots} slots, {A.threads} threads, flash attention {A.flash}, {A.rounds} rounds")
for name, runs in rows.items():
    if not runs:
        continue
    rate = [60 * count / wall for count, wall, *_ in runs]
    each = [60 * count / cpu for count, _, cpu, *_ in runs]
    tokens = [written / count for count, _, _, written, _ in runs]
    show = lambda values: f"{statistics.median(values):7.1f} ({min(values):.1f} to {max(values):.1f})"
    print(f"{name:12} requests/min {show(rate)}  requests/CPU-min {show(each)}  tokens written each {statistics.median(tokens):.0f}")
spent = rows["ours"][-1][4]
shares = {name: spent[name] / spent["seconds"] for name in ("decode", "draw", "prepare")}
print("ours, shares of the time:", ", ".join(f"{name} {share:.1%}" for name, share in shares.items()), f"rest {1 - sum(shares.values()):.1%}",
      {name: spent[name] for name in ("batches", "draws", "guessed", "right", "tokens_in", "tokens_reused", "tokens_out")})
