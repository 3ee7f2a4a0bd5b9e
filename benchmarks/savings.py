"""What the heads and stems save over their equations written out, and what idle threads cost on a busy machine.

    python benchmarks/savings.py heads
    python benchmarks/savings.py waiting

`heads`: CPU milliseconds of forward and backward on one thread, both ways in turns, medians; the values are equal (see
tests/test_me_graphau.py and tests/test_models.py). `waiting`: seconds of a training step beside a process that keeps
one core busy, with threads that spin while they wait and with threads that sleep, in turns.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from fau_mae.models.heads.pair_attention import PairAttention

AUS = 12
STEP = """
import time, torch
net = torch.nn.Sequential(*[torch.nn.Linear(384, 384) for _ in range(12)])
x = torch.randn(784, 384)
for _ in range(12):
    start = time.perf_counter()
    net(x).square().mean().backward()
    print(time.perf_counter() - start)
"""


def measure_heads(tokens: int, faces: int, rounds: int) -> None:
    """Each part beside its equation."""
    torch.set_num_threads(1)
    queries, keys = (torch.randn(faces, AUS, tokens, tokens, requires_grad=True) for _ in range(2))
    values = torch.randn(faces, AUS, tokens, 512) / 22
    gram = (values @ values.transpose(-1, -2)).requires_grad_()

    def written_out() -> Tensor:
        a = (queries[:, None] @ keys[:, :, None].transpose(-1, -2)).softmax(-1)  # (B, A, A, V, V)
        squares = torch.einsum("bijts,bijts->ij", a @ gram[:, :, None], a)
        return a.mean(3).sum() + squares.sum()

    def in_chunks() -> Tensor:
        return torch.stack([part.sum() for part in PairAttention.apply(queries, keys, gram, None)]).sum()

    _report(f"attention of pairs, {tokens} tokens, {faces} faces", written_out, in_chunks, rounds)
    places = torch.randn(faces, tokens, 24, requires_grad=True)
    weights = torch.randn(AUS, tokens, 24, 48, requires_grad=True)
    _report(
        f"nodes of the query graph, {tokens} tokens, {faces} faces",
        lambda: torch.einsum("bnr,anrd->bad", places, weights).square().sum(),
        lambda: (places.flatten(1) @ weights.flatten(1, 2).transpose(0, 1).flatten(1)).square().sum(),
        rounds,
    )


def _report(name: str, plain: Callable[[], Tensor], ours: Callable[[], Tensor], rounds: int) -> None:
    times: list[list[float]] = [[], []]
    for turn in range(rounds + 1):
        for seconds, work in zip(times, (plain, ours)):
            start = time.process_time()
            work().backward()
            if turn:  # the first warms up
                seconds.append(time.process_time() - start)
    one, other = (1000 * statistics.median(seconds) for seconds in times)
    print(f"{name:52} written out {one:8.1f} ms  ours {other:8.1f} ms  {one / other:5.2f} times")


def measure_waiting() -> None:
    """Steps beside a busy core."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "KMP_", "GOMP_"))}
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        for _ in range(2):
            for name, more in (("spin", {}), ("sleep", {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"})):
                done = subprocess.run(
                    [sys.executable, "-c", STEP], env=environment | more, capture_output=True, check=True
                )
                seconds = statistics.median(map(float, done.stdout.split()[2:]))
                print(f"threads that {name:5} {seconds:6.3f} s a step, beside a busy process")
    finally:
        busy.kill()
        busy.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("heads", "waiting"), nargs="?", default="heads")
    parser.add_argument("--tokens", type=int, default=196)
    parser.add_argument("--faces", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    if options.what == "heads":
        measure_heads(options.tokens, options.faces, options.rounds)
    else:
        measure_waiting()
