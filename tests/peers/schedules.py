"""Factors of the learning rate by transformers' get_scheduler, the golden numbers of src/train/schedule.rs.

Writes schedules.json beside this script; with --check it compares with what stands there.
"""
import json
import pathlib
import sys

import torch
from transformers import get_scheduler

NAMES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}


def factors(name, warmup, total):
    """Those of steps 1 to total of total + 1: the first, of rate 0 under warm-up, is left out."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = get_scheduler(name, optimiser, num_warmup_steps=warmup, num_training_steps=total + 1)
    found = []
    for _ in range(total):
        optimiser.step()
        schedule.step()
        found.append(schedule.get_last_lr()[0])
    return found


golden = [
    {"curve": curve, "warmup": warmup, "total": total, "factors": factors(name, warmup, total)}
    for curve, name in NAMES.items()
    for warmup, total in [(0, 7), (3, 20), (1, 1), (5, 5)]
]
place = pathlib.Path(__file__).with_suffix(".json")
if "--check" in sys.argv:
    assert json.loads(place.read_text()) == golden, f"{place} is not what transformers computes"
else:
    place.write_text("[\n" + ",\n".join(json.dumps(row) for row in golden) + "\n]\n")
print(f"{len(golden)} schedules by transformers {'agree with' if '--check' in sys.argv else 'written to'} {place.name}")
