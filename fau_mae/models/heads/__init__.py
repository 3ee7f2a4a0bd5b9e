"""From latents to action units: every head is an `AUHead`. `au_head.py` says what one takes and returns."""

from fau_mae.models.heads.me_graphau import MEGraphAU, MEGraphAUOptions
from fau_mae.models.heads.query_graph import QueryGraph, QueryGraphOptions
from fau_mae.models.registry import Entry, Registry

HEADS = Registry(
    "head",
    query_graph=Entry(QueryGraph, QueryGraphOptions),
    me_graphau=Entry(MEGraphAU, MEGraphAUOptions),
)
