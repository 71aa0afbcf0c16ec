"""`panet` with a fault in one process: `faulty.py raise:1:3 train ...` lets rank 1 fail in step 3.

raise: a ValueError. kill: SIGKILL. term: SIGTERM, and the step goes on. nan: its losses are not numbers.
predict: SIGKILL at its so-manieth picture. check (any rank): each notes the sha256 of its weights after the step, and
whether every parameter had a gradient.
"""

import hashlib
import os
import signal
import sys
from pathlib import Path

import torch

import panet.cli.main
import panet.train.loop
from panet.predict.predictor import Predictor

kind, rank, step = sys.argv.pop(1).split(":")
take_step = panet.train.loop._take_step


def faulty_step(number, objective, batches, learner, plan, ranks, interrupts):
    if number == int(step) and str(ranks.rank) == rank:
        if kind == "raise":
            raise ValueError("planted")
        if kind in ("kill", "term"):
            os.kill(os.getpid(), signal.SIGKILL if kind == "kill" else signal.SIGTERM)
        if kind == "nan":
            forward = objective.module.forward
            objective.module.forward = lambda *inputs: {k: v * float("nan") for k, v in forward(*inputs).items()}
    record = take_step(number, objective, batches, learner, plan, ranks, interrupts)
    if kind == "check" and number == int(step):
        state = learner.model.state_dict()
        digest = hashlib.sha256(b"".join(state[name].numpy().tobytes() for name in sorted(state))).hexdigest()
        trained = [parameter for parameter in learner.model.parameters() if parameter.requires_grad]
        whole = all(each.grad is not None and bool(torch.isfinite(each.grad).all()) for each in trained)
        Path(f"rank-{ranks.rank}.txt").write_text(f"{digest} {whole}")
    return record


def faulty_predict(*arguments, **options):
    calls.append(1)
    if len(calls) == int(step):
        os.kill(os.getpid(), signal.SIGKILL)
    return predict(*arguments, **options)


if kind == "predict" and os.environ.get("RANK", "0") == rank:
    predict, calls = Predictor.predict, []
    Predictor.predict = faulty_predict
panet.train.loop._take_step = faulty_step
panet.cli.main.main()
