"""Memory of training at a batch of 1,024 queries: 20,000 made pairs, activations in parts (GradCache).

    python3 benches/gradcache.py ENCODER_FOLDER [--program FILE] [--steps N] [--memory MIB] [--data BEIR_FOLDER]

A pair is the first 8 words of a window of a document, and the 24 that follow. Prints seconds, loss and the process's peak
memory after each step. Build first: cargo build --release --example train_steps.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))


def pairs(data, count):
    with open(pathlib.Path(data) / "corpus.jsonl", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"].split() for line in lines]
    made, start = [], 0
    while len(made) < count:
        windows = [words[start : start + 32] for words in texts if len(words) >= start + 32]
        if not windows:
            sys.exit(f"{data}: too few words for {count} pairs")
        made += [[" ".join(window[:8]), " ".join(window[8:])] for window in windows]
        start += 32
    return made[:count]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder")
    parser.add_argument("--program", default=str(TARGET / "release/examples/train_steps"))
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--memory", type=int, default=1024)
    parser.add_argument("--data", default="../shared/data/scifact")
    arguments = parser.parse_args()
    made = pairs(arguments.data, 20_000)
    batches = [made[first : first + 1024] for first in range(0, len(made) - 1023, 1024)]
    with tempfile.TemporaryDirectory() as folder:
        files = [pathlib.Path(folder) / name for name in ("batches.json", "settings.json")]
        files[0].write_text(json.dumps(batches))
        files[1].write_text(json.dumps({"batch_size": 1024, "activation_memory": arguments.memory, "precision": "f32"}))
        command = [arguments.program, arguments.encoder, *map(str, files)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            for _ in range(arguments.steps):
                process.stdin.write("step\n")
                process.stdin.flush()
                answer = json.loads(process.stdout.readline())
                with open(f"/proc/{process.pid}/status", encoding="utf-8") as lines:
                    peak = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
                print(f"{answer['tokens']} tokens, {answer['seconds']:.1f} s, loss {answer['loss']:.4f}, peak {peak:.0f} MiB", flush=True)
            process.stdin.close()


if __name__ == "__main__":
    main()
