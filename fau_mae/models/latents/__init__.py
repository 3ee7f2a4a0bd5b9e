"""What happens to latents between the encoder and a head, where tokens are hidden.

An entry takes `(encoder, layers, options)`, `layers` being the blocks (from 0) that the head mines, and its `forward`
takes `(latents, visible, pos_embed)` to latents.
"""

from fau_mae.models.latents.completion import CompletionOptions, LatentCompletion
from fau_mae.models.latents.dropped import Dropped, DroppedOptions
from fau_mae.models.registry import Entry, Registry

LATENTS = Registry(
    "hidden",
    dropped=Entry(Dropped, DroppedOptions),
    completed=Entry(LatentCompletion, CompletionOptions),
)
