"""How the work of a run is divided, and what is watched while it lasts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from schemas.section import INT32, Section


class RunConfig(Section):
    """How the work is divided, and how long faults are waited out. Nothing here changes what is generated."""

    shard_size: int = Field(default=1024, ge=1, le=INT32)
    """Input rows in a shard, the unit of commit."""
    in_flight: int | None = Field(default=None, ge=1, le=INT32)
    """Trajectories under way at once, each at its own pace (null: as many as the engines' caches are expected to hold
    until they end, and no more than saturate the engines)."""
    sharing: Literal["auto", "resident", "turns"] = "auto"
    """How models share a device. `resident`: all stay on it, and each has a part of it for its cache. `turns`: one
    model has it at a time, and the weights of the others sleep in host memory. `auto`: resident if all fit with useful
    caches, else turns if each fits alone."""
    checkpoint_seconds: float = Field(default=2.0, ge=0)
    """Seconds between checkpoints of a shard in flight, at least; a shard that is decoded is kept too (0: every step is
    kept)."""
    store_patience: float = Field(default=300.0, ge=0)
    """Seconds for which requests to a store that fails or is away are tried again. Then the run ends."""
    engine_patience: float = Field(default=600.0, gt=0)
    """Seconds without an answer after which an engine that has work counts as stalled. Then it is started again."""
    engine_restarts: int = Field(default=5, ge=0)
    """How often an engine that dies is started again without an answer in between."""
    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Port at which a process that makes shards has metrics for Prometheus. If it is taken, the next free one of a
    hundred (null: no metrics)."""
    metrics_host: str = Field(default="127.0.0.1", pattern=r"^[A-Za-z0-9.:-]+$")
    """Address at which that port is opened. 127.0.0.1 is for this machine alone, 0.0.0.0 for all that reach it."""
    batch_invariant: bool = False
    """Ask vLLM for kernels whose results do not depend on the batch. They are slower, and need a GPU that has them."""
    workers: int | None = Field(default=None, ge=1, le=1024)
    """`generate`: number of flow runs of `deployment` that share the shards. This process then only watches them and
    needs no device (null: this process makes the shards). `calibrate` ignores it; `evaluate` refuses it."""
    deployment: str = Field(default="generate-shards/stepwave", pattern=r"^generate-shards/[^/\s][^/]*$")
    """Prefect deployment of those flow runs, written flow/deployment."""
    worker_restarts: int = Field(default=5, ge=0)
    """How often the flow run of a group of shards is started again after it crashed, or ended with shards left, without
    any shard of the run committed in between. Each group counts for itself."""

    @model_validator(mode="before")
    @classmethod
    def _no_cohorts(cls, values: Any) -> Any:
        """Earlier releases had cohorts, and wrote these fields as null into config.yaml."""
        if not isinstance(values, dict):
            return values
        for name in _OF_COHORTS:
            if values.get(name) is not None:
                raise ValueError(
                    f"{name} is no setting any more: each trajectory goes at its own pace; set run.in_flight for the "
                    "number of trajectories under way at once, or leave it out"
                )
        return {name: value for name, value in values.items() if name not in _OF_COHORTS}


_OF_COHORTS = ("cohort_size", "cohorts")


def _low_to_high(band: tuple[float, float]) -> tuple[float, float]:
    if band[0] > band[1]:
        raise ValueError("must be [lowest, highest]")
    return band


Share = Annotated[float, Field(ge=0, le=1)]
Band = Annotated[tuple[Share, Share], AfterValidator(_low_to_high)]


class DriftConfig(Section):
    """Bands in which a run's figures should stay. `stepwave calibrate` writes them to recommended.yaml. A run with a
    figure outside its band says so. With `threshold: auto` the run has bands of its own, unless some are given here."""

    target_share: Band | None = None
    """Lowest and highest share of the solutions' steps that the target wrote, for rsd (null: not watched)."""
    reward: Band | None = None
    """Lowest and highest mean of the rewards of all attempts that the PRM scored, kept or not (null: not watched)."""
    problems: int = Field(default=200, ge=1)
    """Number of problems that a process must have committed before it is judged. A band is made for this number: for as
    many problems as the calibration had, and at least 200. With fewer problems there are more false alarms."""
    stop: bool = False
    """End a run with a figure outside its band, with exit code 2. What is committed is kept."""
