"""A folder saved by `nearmiss train`, loaded by sentence-transformers: the same vectors as examples/vectors.rs gives.

    python tests/peers/saved.py [--program FILE] SAVED_FOLDER [BEIR_FOLDER]

Prints what was loaded; exit 1 when it does not load or a cosine is below vectors.py's bound.
"""
import argparse

from vectors import PROGRAM, compare

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("saved")
parser.add_argument("data", nargs="?", default="data/elements")
parser.add_argument("--program", default=PROGRAM)
arguments = parser.parse_args()

model = compare(arguments.program, arguments.saved, arguments.data, 20)
modules = ", ".join(type(module).__name__ for module in model)
print(f"  max_seq_length {model.max_seq_length}, modules {modules}, similarity {model.similarity_fn_name}")
