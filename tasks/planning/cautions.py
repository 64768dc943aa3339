"""Warnings about settings that are possible but probably not meant. `check` prints them, and a run when it begins."""

from __future__ import annotations

import os
from collections.abc import Sequence

from schemas.engine_kinds import ENGINE_KINDS
from tasks.configuration.ineffective import remarks
from tasks.engines.devices import gpu_sizes, on_cpu, placement
from tasks.planning.plan import Plan


def cautions(plan: Plan) -> list[str]:
    """Warnings about settings that are possible but probably not meant, a line each."""
    return [
        *remarks(plan.config),
        *_of_models(plan),
        *_of_tokenizers(plan),
        *_of_folders(plan),
        *_of_length(plan),
        *_of_system(plan),
        *_of_cards(plan),
        *_of_limit(plan),
    ]


def of_evaluation(plans: Sequence[Plan]) -> list[str]:
    """Of an evaluation's cells, each line once."""
    return list(dict.fromkeys(line for plan in plans for line in cautions(plan)))


def _of_models(plan: Plan) -> list[str]:
    """About models whose sizes do not fit their roles: a draft as large as its target, a PRM larger than the target."""
    decoding, params = plan.config.decoding, plan.params
    if not {"draft", "target"} <= params.keys():
        return []
    told = []
    models = plan.config.models
    assert models.draft is not None
    assert models.target is not None
    if _place(models.draft.model) == _place(models.target.model):
        told.append(
            f"draft and target are the same model, {models.target.model}: {decoding.method} saves nothing, and a "
            "rejected step is written again by the model that wrote it"
        )
    elif params["draft"] >= params["target"]:
        told.append(
            f"the draft has {params['draft']:.3g} parameters, the target {params['target']:.3g}: are models.draft and "
            "models.target swapped?"
        )
    if decoding.record.rewrites and plan.config.host("prm") == "prm" and params.get("prm", 0) > params["target"]:
        told.append(
            f"the PRM has {params['prm']:.3g} parameters, more than the target's {params['target']:.3g}: scoring "
            "a step costs more than writing it with the target"
        )
    return told


def _of_tokenizers(plan: Plan) -> list[str]:
    """About tokenizers with ids that their models do not know."""
    sizes = {role: (of.vocabulary.size, of.checkpoint.config.get("vocab_size")) for role, of in plan.roles.items()}
    return [
        f"models.{role}.model: its tokenizer has ids up to {size - 1:,}, but the model's vocab_size is {known:,}: it "
        "can read no text with one of those beyond; are tokenizer and weights of one model?"
        for role, (size, known) in sizes.items()
        if isinstance(known, int) and size > known
    ]


def _of_folders(plan: Plan) -> list[str]:
    """About columns that files have, and names of their folders as well."""
    both = plan.survey.shadowed
    if not both:
        return []
    named = " and ".join(f"{name}=..." for name in both)
    return [
        f"input.path: folders are called {named}, and files in them have columns of that name, which are what counts"
    ]


def _place(model: str) -> str:
    return os.path.realpath(os.path.expanduser(model)) if os.path.isdir(os.path.expanduser(model)) else model


def _of_length(plan: Plan) -> list[str]:
    """About contexts that are too short for the longest prompt and a solution of decoding.max_tokens."""
    most, longest = plan.config.decoding.max_tokens, plan.survey.longest
    prompts = {role: of.vocabulary.frame_tokens for role, of in plan.roles.items()}
    prompts |= longest.tokens if longest else {}
    room = {role: of.engine.window - prompts[role] for role, of in plan.roles.items()}
    short = {role: left for role, left in room.items() if left < most}
    if not short:
        return []
    named = [f"{role} ({plan.roles[role].engine.window:,})" for role in short]
    prompt = f"the longest prompt ({max(prompts[role] for role in short):,})" if longest else "a prompt"
    return [
        f"decoding.max_tokens: {most:,} tokens do not fit beside {prompt} into the context of "
        f"{', '.join(named)}: such a "
        f"solution ends there as max_tokens, after {max(min(short.values()), 0):,} tokens or fewer"
    ]


def _of_cards(plan: Plan) -> list[str]:
    """About GPUs that no engine uses."""
    shared = {role for role, of in plan.roles.items() if of.share and ENGINE_KINDS[of.engine.kind].placed}
    placed = [role for role in plan.config.roles if role in shared]
    if not placed or on_cpu():
        return []
    sizes = gpu_sizes()
    taken: set[int] = set()
    for role in placed:
        own = plan.config.model(role).engine
        taken.update(*placement(role, own.arguments, own.replicas, len(sizes)))
    idle = [str(gpu) for gpu in range(len(sizes)) if gpu not in taken]
    if not idle:
        return []
    who = f"GPU {idle[0]} is" if len(idle) == 1 else f"GPUs {', '.join(idle)} are"
    return [f"{who} used by no role: use engine.device_ids, replicas or tensor_parallel_size to put engines there"]


def _of_limit(plan: Plan) -> list[str]:
    """A warning if `input.limit` covers only problems that earlier runs have solved."""
    if plan.config.input.limit is None or not plan.survey.skipped or plan.survey.usable:
        return []
    return [
        f"input.limit: earlier runs have solved all that can be used of the first {plan.config.input.limit:,} rows, "
        "which is what it counts: leave it out, or raise it"
    ]


def _of_system(plan: Plan) -> list[str]:
    """About chat templates that leave prompt.system out."""
    prompt = plan.config.prompt
    if prompt.template is not None or not (system := _plain(prompt.system or "")):
        return []
    by_chat = {role: of.vocabulary.frame for role, of in plan.roles.items() if of.vocabulary.template is None}
    deaf = [role for role, frame in by_chat.items() if system not in _plain(frame)]
    return [f"prompt.system: the chat template of {' and '.join(deaf)} leaves it out"] if deaf else []


def _plain(text: str) -> str:
    return " ".join(text.split())
