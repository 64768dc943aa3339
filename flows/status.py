"""`stepwave status`: how far a run is, from its output alone, during the run and after. It needs no server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.terminal.text import aligned
from tasks.errors import UserError
from tasks.output import claims
from tasks.output.claims import Owner
from tasks.output.kinds import why_no_run
from tasks.output.run_files import Records, RunFiles
from tasks.output.totals import add_up, not_graded
from tasks.storage.store import Store
from tasks.storage.stores import Stores
from tasks.telemetry import accounts

if TYPE_CHECKING:
    from tasks.output.onlookers import Seen


def status(out: str, stores: Stores) -> dict[str, Any]:
    """A report for `lines`. Raises UserError where `out` is no run's output."""
    output = RunFiles(stores.store(out))
    output.check_format()
    records, run, manifest = output.records(), output.run(), output.manifest()
    described = run or manifest
    if described is None and not records.good and not records.damaged:
        there = output.store.read_or_none("config.yaml") is not None
        if (other := why_no_run(output.store)) is not None:
            raise UserError(other)
        raise UserError(f"{out}: {'this run has not begun' if there else 'is not the output of a run'}")
    shards = (described or {}).get("shards")
    to_do = records.open(shards, output.retries()) if shards is not None else []
    complete = manifest is not None and not to_do
    sessions = _sessions(output.store, manifest if complete else None)
    seen = {} if complete else _at_work(output.store, sessions)
    claimants = claims.claimants(output.store) if seen else {}
    held = {shard: owner for shard, owner in claimants.items() if owner.session in seen}
    return {
        "output": out,
        "run_id": (described or next(iter(records.good.values()), {})).get("run_id"),
        "state": "complete" if complete else "running" if seen else "stopped",
        "shards": {
            "total": shards,
            "done": len(records.good) - sum(shard in records.good for shard in to_do),
            "in_flight": sum(shard in held for shard in to_do),
            "open": sum(shard not in held for shard in to_do),
        },
        "damaged": records.damaged,
        "mixed": _mixed(output, records),
        "processes": sorted({str(owner) for owner in held.values()}),
        "last_signs": {str(owner): _rounded(seen[owner.session].age) for owner in held.values()},
        "clocks_ahead": {} if complete else _clocks_ahead(sessions),
        **_progress(output, records, to_do, described or {}),
        "tokens_per_second": _rate(sessions),
        "busy": _busy(sessions),
        "retries": output.retries(),
    }


def _mixed(output: RunFiles, records: Records) -> str | None:
    """Why its files are not those of one run; None where they are."""
    try:
        output.check_whole(records)
    except UserError as error:
        return str(error)
    return None


def _progress(output: RunFiles, records: Records, to_do: list[int], described: dict[str, Any]) -> dict[str, Any]:
    """Solutions, tokens and kept draft steps: of committed shards, and of what is checkpointed of others."""
    done = {shard: record for shard, record in records.good.items() if shard not in to_do}
    counts, computed = add_up(done)
    steps, from_draft = counts.get("steps", 0), counts.get("draft_steps", 0)
    tokens = {role: usage["generated"] for role, usage in computed.items()}
    for shard in to_do:
        if shard in records.good:  # done but for its failed rows
            continue
        attempts, usages = output.load_steps(shard)
        steps += sum(row["accepted"] for row in attempts)
        from_draft += sum(row["accepted"] and row["role"] == "draft" for row in attempts)
        for usage in usages:
            for role, used in usage.items():
                tokens[role] = tokens.get(role, 0) + used["generated"]
    return {
        "solutions": {
            "total": described.get("solutions", described.get("counts", {}).get("solutions")),
            "committed": counts.get("solutions", 0),
            "failed": counts.get("failed", 0),
            **{name: counts.get(name, 0) for name in ("unparsed", "timeouts", "bad_references")},
        },
        # of what is committed: problems where the method picks one sample, solutions elsewhere
        "solved": {"correct": counts.get("picked_correct", 0), "of": counts.get("picked_gradable", 0)},
        "steps": steps,
        "draft_steps": from_draft,
        "tokens": {role: n for role, n in tokens.items() if role != "prm"},
    }


def _sessions(store: Store, manifest: dict[str, Any] | None) -> list[Owner]:
    if manifest is None:
        return claims.sessions(store)
    return [Owner(**session) for session in manifest.get("sessions", [])]


def _at_work(store: Store, sessions: list[Owner]) -> dict[str, Seen]:
    from tasks.output import onlookers

    return onlookers.active(store, sessions)


def _clocks_ahead(sessions: list[Owner]) -> dict[str, float]:
    """Process to the seconds by which its clock is ahead of the store's, for clocks that are far off."""
    from tasks.storage.store_clock import FAR

    return {str(owner): round(owner.ahead, 1) for owner in sessions if abs(owner.ahead) >= FAR}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _rate(sessions: list[Owner]) -> float | None:
    """Tokens written per second over the processes' lifetimes. Processes that run at the same time are added up."""
    seconds = sum(owner.renewed - owner.began for owner in sessions)
    tokens = sum(sum(owner.generated.values()) for owner in sessions)
    if not seconds or not tokens:
        return None
    together = max(owner.renewed for owner in sessions) - min(owner.began for owner in sessions)
    return round(tokens / min(seconds, together or seconds), 1)


def _busy(sessions: list[Owner]) -> dict[str, float]:
    """Role to the share of the time since its engines were ready in which they were busy, over all processes."""
    roles = accounts.add_up([owner.accounts for owner in sessions])["roles"]
    times = {role: (of.get("busy", 0), of.get("ready", 0)) for role, of in roles.items()}
    return {role: round(min(1.0, busy / ready), 3) for role, (busy, ready) in times.items() if ready}


def _sign(age: float | None) -> str:
    return "" if age is None else f", last sign of life {age:.0f} s ago"


def _off(ahead: float) -> str:
    from tasks.storage.store_clock import lasting

    return f"{lasting(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the store's"


def lines(report: dict[str, Any]) -> list[str]:
    """The report as text."""
    shards, solutions = report["shards"], report["solutions"]
    total = "an unknown number of" if shards["total"] is None else f"{shards['total']:,}"
    rows = [
        ("output", f"{report['output']}: {report['state']}"),
        ("shards", f"{shards['done']:,} of {total} done, {shards['in_flight']:,} in flight, {shards['open']:,} open"),
    ]
    rows += [("damaged", f"{fault}: its shard will be made again") for fault in report["damaged"]]
    rows += [("not one run", report["mixed"])] if report["mixed"] else []
    rows += [("in use", f"by {process}{_sign(report['last_signs'][process])}") for process in report["processes"]]
    rows += [("clock", f"of {process}: {_off(seconds)}") for process, seconds in report["clocks_ahead"].items()]
    of_all = "" if solutions["total"] is None else f" of {solutions['total']:,}"
    failed = f", {solutions['failed']:,} failed" if solutions["failed"] else ""
    rows.append(("solutions", f"{solutions['committed']:,}{of_all} committed{failed}"))
    if solved := report["solved"]["of"]:
        right = report["solved"]["correct"]
        rows.append(("solved", f"{right:,} of {solved:,} ({right / solved:.1%})"))
    if found := not_graded(solutions):
        rows.append(("not graded", found))
    if report["steps"]:
        share = report["draft_steps"] / report["steps"]
        rows.append(("steps", f"{report['steps']:,}, {report['draft_steps']:,} from the draft ({share:.1%})"))
    tokens = ", ".join(f"{role} {n:,}" for role, n in report["tokens"].items())
    rows.append(("tokens", tokens or "none yet"))
    if report["tokens_per_second"] is not None:
        rows.append(("rate", f"{report['tokens_per_second']:,.0f} tokens/s"))
    if report["busy"]:
        rows.append(("engines busy", ", ".join(f"{role} {share:.0%}" for role, share in report["busy"].items())))
    return aligned(rows)
