"""Values and gradients of every loss by PyTorch's autograd in f64, the golden numbers of src/train/loss/tests.rs.

Writes losses.json beside this script; with --check it compares with what stands there. The formulas are written here
from the papers, one row at a time and without log space; where sentence-transformers has the same loss, its own class
must give the same value.
"""
import argparse
import json
import math
import pathlib

import torch
from sentence_transformers.sentence_transformer import losses as peer
from sentence_transformers.util import dot_score

torch.set_default_dtype(torch.float64)
B, H, D = 4, 2, 8
C = B * (1 + H)
FORBIDDEN = [(0, 2), (1, 5), (2, 8), (3, 0)]  # (query, column): known answers, among others' positives and negatives


def inputs(seed):
    """Unit vectors with a tie of meaning between a query and its positive, as f32 holds them."""
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(B, D, generator=generator)
    passages = torch.randn(C, D, generator=generator)
    passages[:B] += queries
    for h in range(H):
        passages[B + h :: H] += 0.5 * queries
    unit = lambda rows: torch.nn.functional.normalize(rows, dim=1).float().double()
    teacher = (3 * torch.randn(B, 1 + H, generator=generator)).float().double()
    teacher[:, 0] += 4
    return unit(queries), unit(passages), teacher


def owner(column):
    return column if column < B else (column - B) // H


def compared(in_batch, query):
    """Columns of the negatives that stand against a query."""
    own = [c for c in range(C) if owner(c) == query and c != query]
    others = [c for c in range(C) if owner(c) != query]
    pool = {"none": own, "positives": own + [c for c in others if c < B], "all": own + others}[in_batch]
    return [c for c in sorted(pool) if (query, c) not in FORBIDDEN]


def info_nce(q, p, case):
    t, total = case["temperature"], 0
    strength = case["loss"].get("hardness_strength", 0)
    for i in range(B):
        s = q[i] @ p.T
        terms = sum(torch.exp(s[c] / t + strength * s[c].detach()) for c in compared(case["in_batch"], i))
        pos = torch.exp(s[i] / t)
        total = total - torch.log(pos / (pos + terms))
    if case["loss"].get("directions") == "both":
        for i in range(B):
            queries = [j for j in range(B) if j == i or i in compared(case["in_batch"], j)]
            terms = sum(torch.exp(q[j] @ p[i] / t) for j in queries)
            total = total - torch.log(torch.exp(q[i] @ p[i] / t) / terms)
        total = total / 2
    return total / B


def decoupled(q, p, case):
    t, total = case["temperature"], 0
    for i in range(B):
        negatives = [torch.exp(q[i] @ p[c] / t) for c in compared(case["in_batch"], i)]
        if negatives:
            total = total - torch.log(torch.exp(q[i] @ p[i] / t) / sum(negatives))
    return total / B


def debiased(q, p, case):
    t, total = case["temperature"], 0
    prior, beta = case["loss"].get("positive_prior", 0.1), case["loss"].get("beta", 0.0)
    for i in range(B):
        columns = compared(case["in_batch"], i)
        if not columns:
            continue
        n = len(columns)
        pos = torch.exp(q[i] @ p[i] / t)
        neg = torch.exp(q[i] @ p[columns].T / t)
        importance = neg**beta
        sum_neg = (importance * neg).sum() / importance.mean()
        ng = (-prior * n * pos + sum_neg) / (1 - prior)
        ng = torch.clamp(ng, min=n * math.exp(-1 / t))
        total = total - torch.log(pos / (pos + ng))
    return total / B


def causal_neg(q, p, case):
    t, weight = case["loss"].get("entropy_temperature", 0.1), case["loss"].get("entropy_weight", 0.05)
    term = 0
    for i in range(B):
        own = [c for c in compared("none", i)]
        written = [k for k, c in enumerate(own) if case["written"][c]]
        if not written:
            continue
        share = torch.softmax(q[i] @ p[own].T / t, dim=0)
        entropy = -sum(share[k] * torch.log(share[k]) for k in written)
        term = term - entropy + (sum(share[k] for k in written) - len(written) / len(own)) ** 2
    return info_nce(q, p, case) + weight * term / B


def own_scores(q, p):
    columns = [[i] + [c for c in range(B, C) if owner(c) == i] for i in range(B)]
    return torch.stack([q[i] @ p[columns[i]].T for i in range(B)])


def margin_mse(q, p, case):
    student, teacher = own_scores(q, p) / case["temperature"], case["teacher"]
    total = 0
    for i in range(B):
        for h in range(1, 1 + H):
            total = total + ((student[i, 0] - student[i, h]) - (teacher[i, 0] - teacher[i, h])) ** 2
    return total / (B * H)


def listwise_kl(q, p, case):
    student = torch.softmax(own_scores(q, p) / case["temperature"], dim=1)
    teacher = torch.softmax(case["teacher"] / case["loss"].get("teacher_temperature", 1.0), dim=1)
    return (teacher * torch.log(teacher / student)).sum() / B


FORMULAS = {
    "info-nce": info_nce,
    "decoupled": decoupled,
    "debiased": debiased,
    "causal-neg": causal_neg,
    "margin-mse": margin_mse,
    "listwise-kl": listwise_kl,
}


def value_of(q, p, case):
    formula = FORMULAS[case["loss"]["name"]]
    dims = case["loss"].get("matryoshka_dims", [D])
    weights = case["loss"].get("matryoshka_weights", [1.0] * len(dims))
    cut = lambda rows, d: rows if d == D else torch.nn.functional.normalize(rows[:, :d], dim=1)
    return sum(w * formula(cut(q, d), cut(p, d), case) for d, w in zip(dims, weights))


def cases():
    yield {"loss": {"name": "info-nce"}, "temperature": 0.05, "in_batch": "none"}
    yield {"loss": {"name": "info-nce"}, "temperature": 0.05, "in_batch": "positives"}
    yield {"loss": {"name": "info-nce"}, "temperature": 0.02, "in_batch": "all"}
    yield {"loss": {"name": "info-nce", "directions": "both"}, "temperature": 0.05, "in_batch": "all"}
    yield {"loss": {"name": "info-nce", "hardness_strength": 5.0}, "temperature": 0.05, "in_batch": "all"}
    yield {"loss": {"name": "decoupled"}, "temperature": 0.05, "in_batch": "all"}
    yield {"loss": {"name": "decoupled"}, "temperature": 0.1, "in_batch": "none"}
    yield {"loss": {"name": "debiased"}, "temperature": 0.05, "in_batch": "all"}
    yield {"loss": {"name": "debiased", "positive_prior": 0.01}, "temperature": 0.5, "in_batch": "all"}
    yield {"loss": {"name": "debiased", "positive_prior": 0.0, "beta": 1.0}, "temperature": 0.2, "in_batch": "all"}
    yield {"loss": {"name": "debiased", "positive_prior": 0.02, "beta": 0.5}, "temperature": 0.3, "in_batch": "positives"}
    yield {"loss": {"name": "causal-neg"}, "temperature": 0.05, "in_batch": "none"}
    yield {"loss": {"name": "causal-neg", "entropy_weight": 1.0, "entropy_temperature": 0.3}, "temperature": 0.05, "in_batch": "all"}
    yield {"loss": {"name": "margin-mse"}, "temperature": 0.1, "in_batch": "all"}
    yield {"loss": {"name": "listwise-kl"}, "temperature": 0.05, "in_batch": "all"}
    yield {"loss": {"name": "listwise-kl", "teacher_temperature": 2.0}, "temperature": 0.2, "in_batch": "all"}
    dims = {"matryoshka_dims": [2, 8, 4], "matryoshka_weights": [0.5, 1.0, 0.7]}
    yield {"loss": {"name": "info-nce", **dims}, "temperature": 0.05, "in_batch": "all"}
    yield {"loss": {"name": "listwise-kl", "matryoshka_dims": [8, 3]}, "temperature": 0.2, "in_batch": "all"}


def compare_with_sentence_transformers(q, p, teacher):
    """The formulas above are those of the peer, where it has them: without forbidden pairs, all in the batch."""
    columns = [q, p[:B], *(p[B + h :: H] for h in range(H))]
    model = torch.nn.Identity()
    forbidden, FORBIDDEN[:] = FORBIDDEN[:], []
    case = {"loss": {}, "temperature": 0.05, "in_batch": "all", "teacher": teacher}
    mnrl = lambda **more: peer.MultipleNegativesRankingLoss(model, scale=20.0, similarity_fct=dot_score, **more)
    both = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
    hard = {"hardness_mode": "all_negatives", "hardness_strength": 5.0}
    with_loss = lambda **numbers: {**case, "loss": numbers}
    pairs = {
        "MNRL": (mnrl(), info_nce(q, p, case), 1),
        "MNRL, both directions": (mnrl(**both), info_nce(q, p, with_loss(directions="both")), 1),
        "MNRL, hardness": (mnrl(**hard), info_nce(q, p, with_loss(hardness_strength=5.0)), 1),
        "MarginMSE": (peer.MarginMSELoss(model), margin_mse(q, p, {**case, "temperature": 1.0}), 1),
        "DistillKLDiv": (
            peer.DistillKLDivLoss(model, student_temperature=0.05, teacher_temperature=2.0),
            listwise_kl(q, p, with_loss(teacher_temperature=2.0)),
            0.05**2,
        ),
    }
    FORBIDDEN[:] = forbidden
    for name, (loss, formula, factor) in pairs.items():
        theirs = loss.compute_loss_from_embeddings(columns, teacher)
        difference = abs(theirs.item() - formula.item() * factor)
        assert difference < 1e-9 * max(1, abs(theirs.item())), (name, theirs.item(), formula.item())
        print(f"{name}: as sentence-transformers, difference {difference:.1e}")


def cross_encoder(generator):
    """Cases of src/train/loss/cross_encoder.rs, by torch.nn.functional."""
    logits = (4 * torch.randn(6, 1, generator=generator)).float().double()
    labels = torch.tensor([1.0, 0.0, 0.0, 0.25, 1.0, 0.0])
    groups = (4 * torch.randn(3, 4, generator=generator)).float().double()
    functional = torch.nn.functional
    bce = lambda z: functional.binary_cross_entropy_with_logits(z[:, 0], labels, pos_weight=torch.tensor(3.0))
    listwise = lambda z: functional.cross_entropy(z, torch.zeros(3, dtype=torch.long))
    found = {}
    for name, values, loss in [("binary", logits, bce), ("listwise", groups, listwise)]:
        variable = values.clone().requires_grad_()
        value = loss(variable)
        value.backward()
        found[name] = {"logits": values.tolist(), "value": value.item(), "gradient": variable.grad.tolist()}
    return {**found, "labels": labels.tolist(), "positive_weight": 3.0}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with losses.json instead of writing it")
    arguments = parser.parse_args()
    q, p, teacher = inputs(7)
    compare_with_sentence_transformers(q, p, teacher)
    written = [c >= B and (c % 3 == 0 or c in (B, B + 1)) for c in range(C)]
    found = []
    for case in cases():
        queries, passages = q.clone().requires_grad_(), p.clone().requires_grad_()
        value = value_of(queries, passages, {**case, "teacher": teacher, "written": written})
        value.backward()
        found.append({**case, "value": value.item(), "queries": queries.grad.tolist(), "passages": passages.grad.tolist()})
    golden = {
        "queries": q.tolist(),
        "passages": p.tolist(),
        "teacher": teacher.tolist(),
        "forbidden": FORBIDDEN,
        "written": written,
        "cases": found,
        "cross_encoder": cross_encoder(torch.Generator().manual_seed(8)),
    }
    place = pathlib.Path(__file__).with_suffix(".json")
    # Nine digits: as many as f32 can tell apart.
    rounded = json.loads(json.dumps(golden), parse_float=lambda digits: float(f"{float(digits):.9g}"))
    if arguments.check:
        assert json.loads(place.read_text()) == rounded, f"{place} is not what PyTorch computes"
    else:
        lines = [json.dumps(key) + ": " + json.dumps(rounded[key]) for key in rounded if key != "cases"]
        lines.append('"cases": [\n  ' + ",\n  ".join(json.dumps(case) for case in rounded["cases"]) + "\n]")
        place.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(found)} losses by PyTorch {'agree with' if arguments.check else 'written to'} {place.name}")


if __name__ == "__main__":
    main()
