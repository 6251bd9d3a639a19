"""Tiny runs for the tests of the loop, in this process or in others."""

import contextlib
import json
import multiprocessing
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from engine import build_model
from engine.training.adapters import Adapter
from engine.training.data.rows import Row, Rows
from engine.training.distribute import Processes, close_processes, open_processes
from engine.training.objectives.base import make_batch
from engine.training.optimizers import make_optimizer
from engine.training.recipe.sections import (
    Devices,
    Evaluate,
    LoraAdapter,
    Optimizer,
    Save,
    Schedule,
)
from engine.training.run import loop
from engine.training.run.evaluation import HeldOut
from engine.training.run.feed import Feed, InTurn
from engine.training.run.loop import Plan, run
from engine.training.run.step import Step

SMALL = {"dims.layers": 2, "dims.model": 16, "dims.inner": 32, "dims.vocab": 60, "dims.heads": 2}
STREAM = {**SMALL, "dims.head": 8, "memory.length": 6, "embeddings.tables.tokens": {"width": 16}}
STREAM |= {"embeddings.tables.tokens.cutoffs": [20, 40], "embeddings.tables.tokens.divisor": 1}
LORA = LoraAdapter(kind="lora", rank=2, dropout=0.2, also=("final_norm",))
DROPOUT = {"dropout.residual": 0.2}


class Causal:
    """The next token of each row, padded on the right."""

    head = "causal_lm"

    def __init__(self, whole=False):
        self.whole = whole

    def evaluation(self, rows, draws):
        return self.batch(rows, draws)

    def batch(self, rows, draws):
        width = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), width), 1)
        labels = torch.full((len(rows), width), -100)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for place, row in enumerate(rows):
            own = torch.from_numpy(row.ids)
            ids[place, : len(own)] = own
            labels[place, : len(own) - 1] = own[1:]
            mask[place, : len(own)] = 1
        inputs = {"input_ids": ids, "shift_labels": labels}
        if not bool(mask.all()):
            inputs["attention_mask"] = mask
        return make_batch(inputs, range(len(rows)))


class RandomRows(Rows):
    """Rows of random tokens and lengths; as a stream, segments of `streams` rows."""

    def __init__(self, count=24, length=12, streams=None, seed=0):
        self.ordered = streams is not None
        self.streams = streams
        draw = np.random.default_rng(seed)
        low = length if self.ordered else 3
        self.lengths = draw.integers(low, length + 1, count)
        self.ids = [draw.integers(5, 60, size) for size in self.lengths]

    def __len__(self):
        return len(self.ids)

    def row(self, number, epoch):
        fresh = self.ordered and number < self.streams
        ids = self.ids[number]
        plain = np.zeros(len(ids), dtype=bool)
        return Row(
            number=number, ids=ids, special=plain, words=~plain, fresh=fresh, source=f"a:{number}"
        )


class Around:
    """`count` rows after the other, from the beginning again at the end."""

    def __init__(self, rows, count):
        self.rows, self.count = rows, count

    def at(self, step):
        start = step * self.count
        epoch = start // len(self.rows)
        return epoch, [(start + place) % len(self.rows) for place in range(self.count)]


def plan(output, *, stream=False, steps=8, rows=4, split=None, seed=0, dropout=True, **changes):
    """A small run: of a causal network, or of a recurrent one whose memory is carried."""
    drops = DROPOUT if dropout else {}
    name = "transformer-xl" if stream else "xglm"
    model = build_model(
        f"tiny/{name}", seed=0, overrides={**(STREAM if stream else SMALL), **drops}
    )
    section = changes.pop("adapter", None)
    if section is not None:
        changes["adapter"] = Adapter(model, section, seed, None)
    train = RandomRows(streams=rows if stream else None)
    held_out = RandomRows(count=8, streams=4 if stream else None, seed=1)
    turns = InTurn(held_out, 4)
    given = {
        "model": model,
        "feed": Feed(train, Around(train, rows), Causal(), lambda step: None, split),
        "held_out": HeldOut(
            Feed(held_out, turns, Causal(), lambda step: None), len(turns), carries=stream
        ),
        "steps": steps,
        "output": Path(output),
        "carries": stream,
        "optimizer": Optimizer(rate=1e-2),
        "schedule": Schedule(warm_up=2),
        "evaluate": Evaluate(every=4),
        "save": Save(every=2),
        "seed": seed,
    }
    return Plan(**{**given, **changes})


def losses(output):
    """The logged loss of each step, which must stand there once."""
    lines = [json.loads(line) for line in (Path(output) / "log.jsonl").open()]
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == list(range(1, len(steps) + 1))
    return [line["loss"] for line in lines if "loss" in line]


def weights(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


class Ends(Exception):
    """The run ends here, with nothing saved."""


def ending(made, at):
    """A plan whose feed ends the run before step `at`."""

    def cut(step, processes):
        if step == at:
            raise Ends
        return made.feed.at(step, processes)

    return replace(made, feed=SimpleNamespace(at=cut))


# Each run is a fork of one process in which the libraries are loaded already.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__, "torch.distributed.fsdp", "torch._dynamo"])


def launch(count, *, each=None, tensor=1, **given):
    """Runs in so many processes; returns their exit codes.

    `each` are runs in turn, which share what is given. One process computes with the threads of
    this one: other numbers of threads round otherwise.
    """
    threads = torch.get_num_threads() if count == 1 else 1
    runs = [{**given, **run} for run in each or [{}]]
    return launched(count, one_of_several, threads, runs, tensor)


def launched(count, act, *given):
    """So many processes that do something, each told its place; returns their exit codes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    started = []
    for rank in range(count):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        started.append(FORKS.Process(target=act, args=(place, *given)))
        started[-1].start()
    for process in started:
        process.join(timeout=300)
    return [process.exitcode for process in started]


def killed_at(number):
    """SIGKILL for this process at its so-many-th fsync: in the midst of a save."""
    seen, sync = [], os.fsync

    def counted(handle):
        seen.append(handle)
        if len(seen) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(handle)

    os.fsync = counted


def held(model, optimizer):
    """Bytes of weights and of moments on this process."""

    def bytes_of(tensor):
        return getattr(tensor, "_local_tensor", tensor).nbytes

    weights = sum(bytes_of(parameter) for parameter in model.parameters())
    states = optimizer.state.values()
    moments = [state[name] for state in states for name in ("exp_avg", "exp_avg_sq")]
    return {"weights": weights, "moments": sum(bytes_of(moment) for moment in moments)}


def one(processes, *, shard="none", resume=False, end=None, kill=None, **given):
    """A run among the processes; how much they hold stands in its folder."""
    if kill is not None:
        killed_at(kill)
    made, optimizers = plan(**given, devices=Devices(shard=shard, compute="cpu")), []
    make = loop.make_optimizer

    def noted(*given):
        optimizers.append(make(*given))
        return optimizers[0]

    loop.make_optimizer = noted
    with contextlib.suppress(Ends):
        run(made if end is None else ending(made, end), resume=resume, processes=processes)
    loop.make_optimizer = make
    told = json.dumps(held(made.model, optimizers[0]))
    name = f"held-{processes.count}-{processes.rank}.json"
    (made.output / name).write_text(told, encoding="utf-8")


def one_of_several(place, threads, runs, tensor):
    """What each process of `launch` does."""
    os.environ.update(place)
    torch.set_num_threads(threads)
    processes = open_processes(Devices(compute="cpu", tensor=tensor))
    for given in runs:
        one(processes, **given)
    close_processes(processes)


TEAM: dict[str, dict[str, Any]] = {
    "xlnet": {"tiny": "xlnet"},
    "xlm": {"tiny": "xlm"},
    "xlm-roberta-xl": {"tiny": "xlm-roberta-xl"},
    "transformer-xl": {"tiny": "transformer-xl"},
    "xglm": {"tiny": "xglm"},
    "grouped": {
        "tiny": "xglm",
        "dims.kv_heads": 2,
        "position": {"kind": "rotary"},
        "ffn": {"activation": "silu", "gated": True},
        "norm": {"kind": "rms", "bias": False},
    },
    "keys": {"tiny": "xlm-roberta-xl", "position": {"kind": "relative_key_query", "size": 16}},
    "buckets": {
        "tiny": "xglm",
        "position": {"kind": "distance_bias", "numbers": "buckets", "count": 8, "max_distance": 16},
    },
}
"""Networks whose layers are cut, each with what differs from a tiny one."""
STILL = {f"dropout.{place}": 0.0 for place in ("embeddings", "attention", "residual")}


def stepped(processes, name):
    """The losses, gradients' lengths and weights of three steps of a network that learns a batch."""
    overrides = {**STILL, **TEAM[name]}
    model = build_model(f"tiny/{overrides.pop('tiny')}", seed=0, overrides=overrides)
    model = model.double().train()
    processes.cut_layers(model)
    step = Step(model, make_optimizer(model, Optimizer(rate=1e-3)), processes, clip=0.5)
    ids = torch.randint(9, 120, (4, 7), generator=torch.Generator().manual_seed(0))
    own = ids[list(processes.share(len(ids)))]
    given = [make_batch({"input_ids": own, "labels": own}, range(len(own)))]
    results = [step(given, 1e-3, step=number) for number in range(3)]
    weights = {
        name: processes.whole(value, name).numpy() for name, value in model.named_parameters()
    }
    return [(result.loss, result.norm) for result in results], weights


def cut_and_run(place, tensor, output, runs):
    """How far networks whose layers are cut are from whole ones, as a file of the first process;
    then runs among the same processes.
    """
    os.environ.update(place)
    torch.set_num_threads(1)
    processes, told = open_processes(Devices(compute="cpu", tensor=tensor)), {}
    for name in TEAM:
        cut, whole = stepped(processes, name), stepped(Processes(), name)
        far = [np.abs(cut[1][key] - whole[1][key]).max() for key in whole[1]]
        told[name] = [float(np.abs(np.array(cut[0]) - whole[0]).max()), float(max(far))]
    if processes.first:
        (output / "far.json").write_text(json.dumps(told), encoding="utf-8")
    for given in runs:
        one(processes, **given)
    close_processes(processes)
