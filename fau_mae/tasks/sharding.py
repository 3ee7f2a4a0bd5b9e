"""Training whose weights, gradients and optimiser state are split over the processes (PyTorch's FSDP2).

`--trainer.strategy sharded` is Lightning's `ModelParallelStrategy` with all processes in one data-parallel group, no
tensor parallelism, and checkpoints written whole, so that the next stage, `evaluate` and `detect` read them.
"""

from collections.abc import Iterable
from datetime import timedelta

import lightning as L
from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry
from torch import nn
from torch.distributed.constants import default_pg_timeout
from torch.distributed.fsdp import fully_shard


class Sharded(ModelParallelStrategy):
    """Split over all processes of all machines.

    Args:
        process_group_backend, timeout: of the process group, as Lightning has them.
    """

    def __init__(
        self, process_group_backend: str | None = None, timeout: timedelta | None = default_pg_timeout
    ):
        super().__init__(
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            process_group_backend=process_group_backend,
            timeout=timeout,
        )

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()


StrategyRegistry.register("sharded", Sharded, description="FSDP2 over all processes, whole checkpoints")


def shard(task: L.LightningModule, roots: Iterable[nn.Module]) -> None:
    """Split the parameters of `roots`, block by block, if the task's strategy has a device mesh; else do nothing.

    A block is an element of any module's list `blocks`: its weights are gathered when it runs and let go again.
    What a root holds beside its blocks is gathered once per step. Call it at the end of `configure_model`, when the
    weights are loaded; each root must be called as a whole (its `forward`), not by its parts.
    """
    if task.device_mesh is None:
        return
    mesh = task.device_mesh["data_parallel"]
    for root in roots:
        for module in list(root.modules()):
            for block in getattr(module, "blocks", ()):
                fully_shard(block, mesh=mesh)
        fully_shard(root, mesh=mesh)
