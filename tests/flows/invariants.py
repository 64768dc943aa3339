"""Check a finished run from outside: its files against the contract, with nothing of Stepwave's own code.

    python tests/flows/invariants.py OUT [PROBLEMS.parquet]

OUT is a local directory. Exit code 1, and the first fault found, where something does not hold.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import polars as pl
import yaml

SOLUTIONS = {
    "run_id": pl.String,
    "shard": pl.Int32,
    "problem_id": pl.String,
    "sample": pl.Int32,
    "problem": pl.String,
    "reference": pl.String,
    "solution": pl.String,
    "answer": pl.String,
    "correct": pl.Boolean,
    "picked": pl.Boolean,
    "score": pl.Float32,
    "status": pl.String,
    "error": pl.String,
    "steps": pl.Int32,
    "draft_steps": pl.Int32,
    "target_steps": pl.Int32,
    "draft_tokens": pl.Int64,
    "draft_tokens_kept": pl.Int64,
    "target_tokens": pl.Int64,
    "prm_tokens": pl.Int64,
    "min_reward": pl.Float32,
    "last_reward": pl.Float32,
    "flops": pl.Float64,
    "metadata": pl.String,
}
STEPS = {
    "run_id": pl.String,
    "shard": pl.Int32,
    "problem_id": pl.String,
    "sample": pl.Int32,
    "step": pl.Int32,
    "attempt": pl.Int32,
    "parent": pl.Int32,
    "role": pl.String,
    "text": pl.String,
    "token_ids": pl.List(pl.Int32),
    "tokens": pl.Int32,
    "proposed": pl.Int32,
    "reward": pl.Float32,
    "threshold": pl.Float32,
    "accepted": pl.Boolean,
    "finish": pl.String,
    "wave": pl.Int32,
    "seed": pl.Int64,
}
NULLABLE = {"reference", "answer", "correct", "score", "error", "min_reward", "last_reward", "metadata"}
NULLABLE |= {"parent", "reward", "threshold"}
PICKS = ("majority", "best_of_n")
SAMPLE = ["problem_id", "sample"]
OWN = ("problem_id", "problem", "answer")


class Broken(AssertionError):
    """Something that the contract promises does not hold."""


def need(holds: Any, what: str) -> None:
    if not holds:
        raise Broken(what)


def none(rows: pl.DataFrame, what: str) -> None:
    """No row may be left over."""
    shown = rows.head(3).select(pl.exclude("token_ids", "problem", "metadata")).to_dicts()
    need(rows.is_empty(), f"{what}: {len(rows)} rows, such as {shown}")


def check(out: str | Path, problems: str | Path | None = None) -> list[str]:
    """Raises Broken; returns what was checked, one line each."""
    run = Run(Path(out))
    done = [run.files(), run.tables(), run.one_row_each(), run.steps_make_solutions(), run.ends(), run.totals()]
    if problems is not None:
        done.append(run.input(pl.read_parquet(problems)))
    return done


def read_tables(out: str | Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Solutions and steps, in an order that does not depend on shards."""
    out = Path(out)
    solutions = pl.read_parquet(out / "solutions" / "*.parquet").sort(SAMPLE)
    steps = pl.read_parquet(out / "steps" / "*.parquet").sort([*SAMPLE, "step", "attempt"])
    return solutions, steps


class Run:
    def __init__(self, out: Path) -> None:
        self.out = out
        self.manifest = json.loads((out / "manifest.json").read_text())
        self.config = yaml.safe_load((out / "config.yaml").read_text())
        self.records = {int(p.stem): json.loads(p.read_text()) for p in sorted((out / "shards").glob("*.json"))}
        self.solutions, self.attempts = read_tables(out)
        found = sorted((out / "rejected").glob("*.parquet"))
        self.rejected = pl.concat([pl.read_parquet(p) for p in found]) if found else None

    def files(self) -> str:
        """Every record's tables are there, whole, and nothing else is."""
        need(self.records, "no shard records")
        need(list(self.records) == list(range(len(self.records))), f"shards are {list(self.records)}")
        described = {"config.yaml", "manifest.json"}
        if "calibration" in self.manifest:
            described.add("calibration.json")
        for number, record in self.records.items():
            described.add(f"shards/{number:05d}.json")
            for name, table in record["tables"].items():
                content = (self.out / table["key"]).read_bytes()
                where = f"shard {number}: {name}"
                need(table["key"] == f"{name}/{number:05d}.parquet", f"{where} lies at {table['key']}")
                need(table["bytes"] == len(content), f"{where} has {len(content)} bytes, its record says otherwise")
                need(table["sha256"] == hashlib.sha256(content).hexdigest(), f"{where} differs from its checksum")
                rows = pl.scan_parquet(content).select(pl.len()).collect().item()
                need(table["rows"] == rows, f"{where} has {rows} rows, its record says {table['rows']}")
                described.add(table["key"])
        there = {str(p.relative_to(self.out)) for p in self.out.rglob("*") if p.is_file()}
        there = {path for path in there if not path.startswith("report/")}
        need(there == described, f"files that no record names, or missing ones: {sorted(there ^ described)}")
        return f"{len(self.records)} shard records: their tables have the recorded rows, bytes and checksums"

    def tables(self) -> str:
        """Columns, types, nulls, run and shard numbers."""
        for name, table, schema in (
            ("solutions", self.solutions, SOLUTIONS),
            ("steps", self.attempts, STEPS),
        ):
            for column, kind in schema.items():
                need(table.schema.get(column) == kind, f"{name}.{column} is {table.schema.get(column)}, not {kind}")
                if column not in NULLABLE:
                    need(table[column].null_count() == 0, f"{name}.{column} holds nulls")
            ids = table["run_id"].unique().to_list()
            need(ids in ([self.manifest["run_id"]], []), f"{name}: run ids {ids}")
        for name in ("solutions", "steps", "rejected"):
            for path in (self.out / name).glob("*.parquet"):
                shards = pl.read_parquet(path, columns=["shard"])["shard"].unique().to_list()
                need(shards in ([int(path.stem)], []), f"{path}: rows of shards {shards}")
        return f"tables: {len(self.solutions)} solutions, {len(self.attempts)} attempts, columns as the contract says"

    def one_row_each(self) -> str:
        """Invariant 1, as far as the output alone shows it."""
        none(self.solutions.filter(pl.struct(SAMPLE).is_duplicated()), "several rows of one sample")
        n = self.config["decoding"]["samples"]
        wanted = list(range(n))
        samples = self.solutions.group_by("problem_id").agg(pl.col("sample").sort())
        none(samples.filter(pl.col("sample") != wanted), f"problems without samples 0 to {n - 1}")
        none(self.attempts.join(self.solutions, on=SAMPLE, how="anti"), "attempts of samples that have no solution")
        moved = self.attempts.join(self.solutions.select(*SAMPLE, s="shard"), on=SAMPLE)
        none(moved.filter(pl.col("s") != pl.col("shard")), "attempts in another shard than their solution")
        for column in ("problem", "reference", "metadata", "shard"):
            uneven = self.solutions.group_by("problem_id").agg(pl.col(column).n_unique())
            none(uneven.filter(pl.col(column) > 1), f"samples of one problem differ in {column}")
        self.one_picked()
        return f"invariant 1: {len(samples)} problems, {n} samples of each, once"

    def one_picked(self) -> None:
        """One sample is the answer where the method picks, and every sample elsewhere."""
        picks = self.config["decoding"]["method"] in PICKS
        picked = self.solutions.group_by("problem_id").agg(pl.col("picked").sum(), of=pl.len())
        none(picked.filter(pl.col("picked") != (1 if picks else pl.col("of"))), "samples picked of a problem")
        if self.config["decoding"]["method"] == "majority":
            votes = self.solutions.filter(pl.col("answer").is_not_null() & (pl.col("status") != "failed"))
            chosen = self.solutions.filter("picked").filter(pl.col("answer").is_null())
            none(chosen.join(votes, on="problem_id", how="semi"), "picked without an answer where others have one")
        if self.config["decoding"]["method"] != "best_of_n":
            none(self.solutions.filter(pl.col("score").is_not_null()), "scores that nothing was picked by")

    def steps_make_solutions(self) -> str:
        """Invariant 2."""
        a = self.attempts
        none(a.filter(pl.col("token_ids").list.len() != pl.col("tokens")), "tokens is not the length of token_ids")
        none(a.filter(pl.col("tokens") < 1), "attempts without a token")
        none(a.filter(~pl.col("role").is_in(["draft", "target"])), "unknown role")
        none(a.filter(~pl.col("reward").is_between(0, 1)), "rewards outside [0, 1]")
        step = a.group_by(*SAMPLE, "step", maintain_order=True).agg(
            pl.col("attempt"), pl.col("accepted").sum(), n=pl.len()
        )
        ends = step.join(self.solutions.select(*SAMPLE, "steps"), on=SAMPLE)
        none(ends.filter(pl.col("step") >= pl.col("steps")), "attempts beyond the solution's last step")
        none(step.filter(pl.col("accepted") != 1), "steps without exactly one accepted attempt")
        none(step.filter(pl.col("attempt") != pl.int_ranges(0, "n", dtype=pl.Int32)), "attempts not numbered from 0")

        kept = a.filter("accepted")
        scored = kept.filter(pl.col("reward").is_not_null())
        tokens = pl.col("tokens").cast(pl.Int64)
        drafted, targeted = pl.col("role") == "draft", pl.col("role") == "target"
        of_steps = kept.group_by(SAMPLE, maintain_order=True).agg(
            text=pl.col("text").str.join(),
            numbers=pl.col("step"),
            steps_=pl.len().cast(pl.Int32),
            draft_steps_=drafted.sum().cast(pl.Int32),
            target_steps_=targeted.sum().cast(pl.Int32),
            draft_tokens_kept_=tokens.filter(drafted).sum(),
        )
        of_all = a.group_by(SAMPLE).agg(
            draft_tokens_=tokens.filter(drafted).sum() + pl.col("proposed").cast(pl.Int64).sum(),
            target_tokens_=tokens.filter(targeted).sum(),
        )
        of_rewards = scored.group_by(SAMPLE, maintain_order=True).agg(
            min_reward_=pl.col("reward").min(), last_reward_=pl.col("reward").last()
        )
        s = self.solutions.join(of_steps, on=SAMPLE, how="left").join(of_all, on=SAMPLE, how="left")
        s = s.join(of_rewards, on=SAMPLE, how="left")
        none(s.filter(pl.col("solution") != pl.col("text").fill_null("")), "solution is not its accepted attempts")
        gaps = s.filter(pl.col("steps_") > 0).filter(pl.col("numbers") != pl.int_ranges(0, "steps_", dtype=pl.Int32))
        none(gaps, "steps not numbered from 0")
        counted = ["steps", "draft_steps", "target_steps", "draft_tokens", "draft_tokens_kept", "target_tokens"]
        for name in counted:
            wrong = s.filter(pl.col(name) != pl.col(f"{name}_").fill_null(0))
            none(wrong.select(*SAMPLE, name, f"{name}_"), f"{name} is not what the steps add up to")
        for name in ("min_reward", "last_reward"):
            none(s.filter(pl.col(name).ne_missing(pl.col(f"{name}_"))), f"{name} is not that of the steps")
        if "prm_tokens" in a.columns:
            sums = a.group_by(SAMPLE).agg(p=pl.col("prm_tokens").cast(pl.Int64).sum())
            odd = self.solutions.join(sums, on=SAMPLE, how="left").filter(
                pl.col("prm_tokens") != pl.col("p").fill_null(0)
            )
            none(odd, "prm_tokens is not what the steps add up to")
        params = {role: model["params"] for role, model in self.manifest["models"].items()}
        for row in self.solutions.iter_rows(named=True):
            flops = 2 * sum(n * row[f"{role}_tokens"] for role, n in params.items())
            need(math.isclose(row["flops"], flops), f"flops of {row['problem_id']} are {row['flops']}, not {flops}")
        self.accepted_by_rule()
        return f"invariant 2: {len(step)} steps, one accepted attempt each, make the solutions; counts are their sums"

    def accepted_by_rule(self) -> None:
        """What the method and its rule say of every attempt."""
        decoding = self.config["decoding"]
        method, rule = decoding["method"], decoding["accept"]
        writers = {"rsd": ["draft", "target"], "target": ["target"], "draft": ["draft"], "speculative": ["target"]}
        a = self.attempts
        none(a.filter(~pl.col("role").is_in(writers.get(method, [decoding["writer"]]))), "attempts of another role")
        none(a.filter((pl.col("proposed") > 0) & (method != "speculative")), "guesses without a draft that guesses")
        scored = a.filter(pl.col("reward").is_not_null())
        if method in ("target", "draft", "speculative", "majority"):
            none(scored, f"attempts of method {method} that were scored")
        if method in ("target", "draft", "speculative", "majority", "best_of_n"):
            none(a.filter(~pl.col("accepted")), f"attempts of method {method} that were not kept")
        none(a.filter(pl.col("parent").is_not_null() & (method != "beam")), "parents")
        best = a.group_by(*SAMPLE, "step").agg(best=pl.col("reward").max())
        with_best = a.join(best, on=[*SAMPLE, "step"])
        if method == "process_best_of_n":
            worse = with_best.filter("accepted").filter(pl.col("reward").ne_missing(pl.col("best")))
            none(worse, "kept candidates that are not the best")
        if method == "beam":
            before = a.select(*SAMPLE, pl.col("step") + 1, parent=pl.col("attempt"), before=pl.col("accepted"))
            first = a.filter((pl.col("step") == 0) & pl.col("parent").is_not_null())
            none(first.filter(pl.col("parent") >= pl.col("attempt")), "attempts at the first step that continue none")
            tree = a.filter(pl.col("step") > 0).join(before, on=[*SAMPLE, "step", "parent"], how="left")
            # what goes on beyond the solution's last step continues an attempt of that step
            within = a.select(*SAMPLE, "step", parent=pl.col("attempt"), beyond=pl.lit(True))
            tree = tree.join(within, on=[*SAMPLE, "step", "parent"], how="left")
            none(tree.filter(pl.col("before").is_null() & pl.col("beyond").is_null()), "attempts that continue none")
            none(tree.filter(pl.col("accepted") & ~pl.col("before")), "kept attempts that continue one that is not")
        if method == "rsd":
            count = decoding["candidates"]
            none(scored.filter(pl.col("role") != "draft"), "scored attempts of the target")
            drafts, rewrites = a.filter(pl.col("attempt") < count), a.filter(pl.col("attempt") >= count)
            none(drafts.filter(pl.col("role") != "draft"), "first attempts that are not the draft's")
            none(rewrites.filter(pl.col("role") != "target"), "second attempts that are not the target's")
            none(rewrites.filter(~pl.col("accepted")), "attempts of the target that were not kept")
            if rule["rule"] == "threshold":
                judged = with_best.filter(pl.col("threshold").is_not_null())
                none(judged.filter(pl.col("reward") != pl.col("best")), "judged candidates that are not the best")
                given = rule["threshold"]
                delta = pl.lit(self.manifest["calibration"]["threshold"] if given == "auto" else given, pl.Float32)
                none(
                    judged.filter((pl.col("reward") >= delta) != pl.col("accepted")), "acceptance against the threshold"
                )

    def ends(self) -> str:
        """Invariant 4: EOS, max_tokens or max_steps end a solution, and a step cut by length is none that is done."""
        decoding, separator = self.config["decoding"], self.config["prompt"]["separator"]
        kept = self.attempts.filter("accepted")
        last = kept.group_by(SAMPLE, maintain_order=True).agg(
            finish=pl.col("finish").last(),
            before=pl.col("finish").slice(0, pl.len() - 1),
            kept=pl.col("tokens").cast(pl.Int64).sum(),
        )
        none(
            last.filter(pl.col("before").list.eval(pl.element() != "step").list.any()),
            "steps after EOS or a length cut",
        )
        none(self.attempts.filter(~pl.col("finish").is_in(["step", "eos", "length"])), "unknown finish")
        unended = kept.filter((pl.col("finish") == "step") & ~pl.col("text").str.contains(separator, literal=True))
        none(unended, "steps without their separator")
        s = self.solutions.join(last, on=SAMPLE, how="left")
        none(s.filter(pl.col("kept") > decoding["max_tokens"]), "solutions longer than max_tokens")
        none(s.filter(pl.col("steps") > decoding["max_steps"]), "solutions of more than max_steps")
        allowed = {"finished": ["eos"], "max_tokens": ["length", "step"], "max_steps": ["step"]}
        for status, finishes in allowed.items():
            ended = s.filter(pl.col("status") == status)
            none(ended.filter(~pl.col("finish").is_in(finishes).fill_null(status == "max_tokens")), f"{status} after")
            none(ended.filter(pl.col("error").is_not_null()), f"{status} with an error")
        none(s.filter(~pl.col("status").is_in([*allowed, "failed"])), "unknown status")
        full = pl.col("steps") == decoding["max_steps"]
        none(s.filter((pl.col("status") == "max_steps") & ~full), "max_steps before there were so many")
        failed = s.filter(pl.col("status") == "failed")
        none(failed.filter(pl.col("error").fill_null("") == ""), "failed without an error")
        none(failed.filter(pl.col("finish").is_in(["eos", "length"]).fill_null(False)), "failed after its end")
        # a length cut takes all the room there was: max_tokens, or the window of a model
        early = s.filter((pl.col("status") == "max_tokens") & (pl.col("kept").fill_null(0) < decoding["max_tokens"]))
        waves = kept.group_by(SAMPLE, maintain_order=True).agg(pl.col("wave").diff().drop_nulls())
        none(waves.filter(pl.col("wave").list.eval(pl.element() <= 0).list.any()), "waves that go backwards")
        ended = ", ".join(f"{n} {status}" for status, n in sorted(s["status"].value_counts().iter_rows()))
        note = f" ({len(early)} at the end of a model's window)" if len(early) else ""
        return f"invariant 4: ends are {ended}{note}"

    def totals(self) -> str:
        """The manifest and the records against the tables."""
        by_shard = {n: record["counts"] for n, record in self.records.items()}
        names = [name for name in self.manifest["counts"] if name in SOLUTIONS and name not in ("correct", "flops")]
        need(
            {"steps", "draft_tokens", "target_tokens", "prm_tokens"} <= set(names), f"the manifest counts only {names}"
        )
        for where, counts, s, a in (
            ("manifest", self.manifest["counts"], self.solutions, self.attempts),
            *(
                (f"shard {n}", c, self.solutions.filter(shard=n), self.attempts.filter(shard=n))
                for n, c in by_shard.items()
            ),
        ):
            for name in names:
                need(counts[name] == s[name].sum(), f"{where}: {name} is {counts[name]}, tables say {s[name].sum()}")
            need(counts["solutions"] == len(s), f"{where}: solutions")
            need(counts["attempts"] == len(a), f"{where}: attempts")
            need(counts["correct"] == s["correct"].sum(), f"{where}: correct")
            picked = s.filter("picked")
            need(counts["picked_correct"] == picked["correct"].sum(), f"{where}: picked_correct")
            given = len(picked) - picked["verdict"].null_count()
            need(counts["picked_gradable"] == given, f"{where}: picked_gradable")
            need(math.isclose(counts["flops"], s["flops"].sum(), rel_tol=1e-9), f"{where}: flops")
            for status in ("finished", "max_tokens", "max_steps", "failed"):
                need(counts[status] == s.filter(status=status).height, f"{where}: {status}")
        rejected = 0 if self.rejected is None else len(self.rejected)
        need(self.manifest["counts"]["rejected"] == rejected, "manifest: rejected")
        need(self.manifest["input"]["usable"] == self.solutions["problem_id"].n_unique(), "manifest: usable problems")
        need(self.manifest["input"]["rows"] == rejected + self.manifest["input"]["usable"], "manifest: rows")
        return f"manifest and records: {len(names) + 8} totals equal the tables' sums"

    def input(self, problems: pl.DataFrame) -> str:
        """Invariant 1 against the input: every row is a solution's or a rejected one, and no other's text came in."""
        if limit := self.config["input"]["limit"]:
            problems = problems.head(limit)
        problems = problems.with_row_index("row__")
        if "problem_id" not in problems.columns:
            problems = problems.with_columns(problem_id=pl.lit(None, pl.String))
        text = pl.col("problem").fill_null("").str.strip_chars()
        empty = problems.filter(text == "")
        rejected = pl.DataFrame(schema={"row": pl.Int64, "reason": pl.String, "problem_id": pl.String})
        if self.rejected is not None:
            rejected = self.rejected
        none(rejected.filter(pl.col("row").is_duplicated()), "rows rejected twice")
        none(rejected.filter(pl.col("reason") == ""), "rejected without a reason")
        lost = empty.filter(~pl.col("row__").cast(pl.Int64).is_in(rejected["row"].to_list()))
        none(lost, "null or empty problems that were not rejected")
        used = problems.filter(~pl.col("row__").cast(pl.Int64).is_in(rejected["row"].to_list()))
        need(len(used) + len(rejected) == len(problems), "rows that are neither used nor rejected")
        first = self.solutions.filter(sample=0)
        need(len(used) == len(first), f"{len(used)} usable rows, {len(first)} problems with solutions")
        given = used.filter(pl.col("problem_id").fill_null("") != "")
        here = first.select("problem_id", p="problem", r="reference", m="metadata")
        joined = given.join(here, on="problem_id", how="left")
        none(joined.filter(pl.col("p").ne_missing(pl.col("problem"))), "problems whose text changed")
        if "answer" in problems.columns:
            none(joined.filter(pl.col("r").ne_missing(pl.col("answer"))), "references that are not the answer")
        need(sorted(used["problem"]) == sorted(first["problem"]), "texts of problems differ from the input's")
        others = sorted(name for name in problems.columns if name not in (*OWN, "row__"))
        for metadata in joined["m"].head(200):
            found = sorted(json.loads(metadata)) if metadata else []
            need(found == others, f"metadata has {found}, the input's other columns are {others}")
        return f"input: {len(problems)} rows are {len(used)} problems and {len(rejected)} rejected rows"


def main() -> int:
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        print("\n".join(check(*sys.argv[1:])))
    except Broken as broken:
        print(f"broken: {broken}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
