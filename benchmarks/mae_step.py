"""A step of masked autoencoding beside Hugging Face transformers' ViTMAE of the same size.

    python benchmarks/mae_step.py time SIZE      # small, mini or micro
    python benchmarks/mae_step.py memory SIZE

Needs `transformers`, which the project itself does not. Pictures of 224 pixels in 196 patches, three quarters hidden,
normalised pixels as target, AdamW; micro as in the quickstart, 96 pixels in 64 patches. `time`: CPU milliseconds of
forward, backward and optimiser on one thread, all in turns, medians. `memory`: peak MB of five steps above what the
imports take, each in a process of its own.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from data_modules.batch import FaceShape
from fau_mae.models.backbone.encoder import SIZES

Step = Callable[[], None]
SHAPES = {"small": (224, 14, 16), "mini": (224, 14, 16), "micro": (96, 8, 32)}  # pixels, grid, faces


def ours(size: str, decoder: str) -> Step:
    """One of our steps, from uint8 pictures."""
    from fau_mae.models.backbone.decoders import MAEConfig, build_decoder
    from fau_mae.models.backbone.encoder import MaskedEncoder
    from fau_mae.models.backbone.reconstruction import reconstruction_losses

    pixels, grid, faces = SHAPES[size]
    config = MAEConfig(size, "linear", decoder=decoder, target="pixels")
    encoder = MaskedEncoder(config, FaceShape(pixels, grid, (), "canonical"))
    decodes = build_decoder(encoder, config)
    optimiser = torch.optim.AdamW([*encoder.parameters(), *decodes.parameters()], fused=True)
    image = torch.randint(0, 256, (faces, 3, pixels, pixels), dtype=torch.uint8)

    def step() -> None:
        visible = torch.rand(faces, grid**2).argsort(1) < grid**2 // 4
        optimiser.zero_grad()
        sum(reconstruction_losses(encoder, decodes, image, visible, decodes.share).values()).backward()
        optimiser.step()

    return step


def theirs(size: str, best: bool) -> Step:
    """A step of ViTMAE as it comes, or in its fastest setting: explicit attention, fused optimiser."""
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    pixels, grid, faces = SHAPES[size]
    numbers = SIZES[size]
    config = ViTMAEConfig(
        hidden_size=numbers.dim,
        num_hidden_layers=numbers.depth,
        num_attention_heads=numbers.heads,
        intermediate_size=4 * numbers.dim,
        decoder_hidden_size=numbers.decoder_dim,
        decoder_num_hidden_layers=numbers.decoder_depth,
        decoder_num_attention_heads=numbers.decoder_heads,
        decoder_intermediate_size=4 * numbers.decoder_dim,
        image_size=pixels,
        patch_size=pixels // grid,
        norm_pix_loss=True,
        attn_implementation="eager" if best else "sdpa",
    )
    model = ViTMAEForPreTraining(config).train()
    optimiser = torch.optim.AdamW(model.parameters(), fused=best)
    image = torch.randn(faces, 3, pixels, pixels)

    def step() -> None:
        optimiser.zero_grad()
        model(pixel_values=image).loss.backward()
        optimiser.step()

    return step


WAYS: dict[str, Callable[[str], Step]] = {
    "ViTMAE, default": lambda size: theirs(size, False),
    "ViTMAE, eager, fused": lambda size: theirs(size, True),
    "ours, full": lambda size: ours(size, "full"),
    "ours, cross": lambda size: ours(size, "cross"),
}


def measure_time(size: str, rounds: int) -> None:
    steps = {name: make(size) for name, make in WAYS.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 1):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if turn:  # the first warms up
                times[name].append(time.process_time() - start)
    medians = {name: 1000 * statistics.median(values) for name, values in times.items()}
    first, second = (medians[name] for name in list(WAYS)[:2])
    for name, value in medians.items():
        print(
            f"{size:6} {name:22} {value:8.1f} ms  {first / value:5.2f} × default  {second / value:5.2f} × eager"
        )


def measure_memory(size: str) -> None:
    for name in WAYS:
        line = [sys.executable, __file__, "peak", size, "--way", name]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        print(f"{size:6} {name:22} {float(done.stdout.split()[-1]):8.0f} MB", flush=True)


def print_peak(size: str, way: str) -> None:
    WAYS[way]("micro")()  # imports, and what libraries set up once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = WAYS[way](size)
    for _ in range(5):
        step()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("time", "memory", "peak"))
    parser.add_argument("size", choices=SHAPES)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--way", choices=WAYS, help="of `peak`, which `memory` calls for each")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "time":
        measure_time(options.size, options.rounds)
    elif options.what == "memory":
        measure_memory(options.size)
    else:
        print_peak(options.size, options.way)
