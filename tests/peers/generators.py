"""Random weights under real vocabularies, tokenizers and templates: every reply is JSON of its schema.

    python3 tests/peers/generators.py --program target/release/examples/replies [--requests 32]

Qwen3, Llama 3 and Phi 3 with their own vocabularies (152, 128 and 32 thousand tokens), made by tools/random_gguf.py of
../shared; benches/peers/llamacpp.py says where the vocabularies come from. Replies are sampled, with 1 slot and with 4,
with and without guessing ahead; half of them have too few tokens for the longest texts and must be ended in time."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "benches/peers"))
from llamacpp import random_model

MODELS = {
    "qwen3": ("qwen2", "Qwen-Qwen3-0.6B.jinja"),
    "llama": ("llama-bpe", "meta-llama-Llama-3.2-3B-Instruct.jinja"),
    "phi3": ("phi-3", "microsoft-Phi-3.5-mini-instruct.jinja"),
}
TINY = "--layers 2 --d 128 --ff 256 --heads 4 --kv 2 --hd 32 --ctx 4096".split()
TEXT = {"type": "string", "minLength": 20, "maxLength": 160}
ITEM = {"type": "object", "properties": {"text": TEXT}, "required": ["text"], "additionalProperties": False}
SCHEMA = {
    "type": "object", "required": ["reasoning", "negatives"], "additionalProperties": False,
    "properties": {"reasoning": {"type": "string", "minLength": 1, "maxLength": 120},
                   "negatives": {"type": "array", "minItems": 3, "maxItems": 3, "items": ITEM}},
}

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--program", required=True)
arguments.add_argument("--requests", type=int, default=32)
A = arguments.parse_args()


def fault(text):
    """What is wrong with a reply; None when nothing is."""
    try:
        reply = json.loads(text)
    except (ValueError, TypeError) as error:
        return str(error)
    if list(reply) != ["reasoning", "negatives"] or len(reply["negatives"]) != 3:
        return "another form"
    texts = [item["text"] for item in reply["negatives"]]
    short = any(not 20 <= len(one) <= 160 for one in texts) or not 1 <= len(reply["reasoning"]) <= 120
    return "a length outside its bounds" if short else None


failed = 0
with tempfile.TemporaryDirectory() as folder:
    requests = pathlib.Path(folder) / "requests.jsonl"
    hostile = ["<|im_end|>", "<|eot_id|>", "<|end|>", "\u0000", "{\"negatives\": [", "😀" * 20, ""]
    with open(requests, "w") as file:
        for number in range(A.requests):
            content = f"Passage {number} {hostile[number % len(hostile)]}: the boiling point of iron is 2862 degrees."
            messages = [{"role": "system", "content": "Write near misses."}, {"role": "user", "content": content}]
            file.write(json.dumps({"messages": messages, "schema": SCHEMA, "max_tokens": 600 if number % 2 else 150,
                                   "temperature": 1.0, "seed": number}) + "\n")
    for architecture, (vocabulary, template) in MODELS.items():
        model = pathlib.Path(folder) / f"{architecture}.gguf"
        random_model(model, architecture, vocabulary, template, *TINY)
        for slots, draft in ((1, 0), (4, 0), (4, 4)):
            done = subprocess.run([A.program, model, requests, "--slots", str(slots), "--draft", str(draft), "--threads", "1", "--context", "2048"],
                                  capture_output=True, text=True)
            replies = [json.loads(line) for line in done.stdout.splitlines()]
            faults = [reply["refused"] or fault(reply["text"]) for reply in replies]
            wrong = [one for one in faults if one]
            print(f"{architecture}, {slots} slots, guessing {draft}: {len(replies) - len(wrong)} of {A.requests} valid", *wrong[:3])
            failed += A.requests - (len(replies) - len(wrong))
            if done.returncode:
                print(done.stderr[-500:])
        model.unlink()
sys.exit(1 if failed else 0)
