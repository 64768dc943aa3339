"""The handshake: checks that a server is what the configuration says, before work is sent to it, and after it was
away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.engines.answers import LISTING, Completion, models, probabilities, room, tokens, untold
from tasks.engines.endpoint import Endpoint
from tasks.engines.served import Served
from tasks.engines.server_faults import Malformed, Refused, Unfit
from tasks.engines.spec import EngineSpec
from tasks.models.tokenizer import PROBE, ModelVocabulary


async def greet(endpoint: Endpoint, spec: EngineSpec, served: Served, vocabulary: ModelVocabulary) -> None:
    """Find the model's name at a server, and see that it reads token ids as ours and answers as it should.

    Raises Unfit with what to do, or another Fault where it cannot be asked now.
    """
    try:
        listed = models(await endpoint.get("/v1/models"))
    except Malformed as error:
        raise Unfit(str(error)) from error
    except (Refused, Unfit) as error:
        raise Unfit(f"{error}; {_about_models(str(error), served)}") from error
    _find(listed, endpoint, spec, served)
    ids = list(vocabulary.encode_steps([PROBE])[0])
    await _same_tokens(endpoint, ids)
    try:
        if spec.scoring and spec.scoring.tokens is None:
            number = len(spec.scoring.class_values)
            try:
                found = await endpoint.post("/classify", {"model": endpoint.model, "input": ids}, room(len(ids), 0))
                probabilities(found, number)
            except Refused as fault:
                untold(fault, number)
        else:
            body = {"model": endpoint.model, "prompt": ids, "max_tokens": 1, "return_token_ids": True}
            if spec.asks_confidence:
                body["logprobs"] = 0
            found = await endpoint.post("/v1/completions", body, room(len(ids), 1, logprobs=True))
            written = Completion(found, vocabulary.size, len(ids), 1, None)
            if spec.asks_confidence:
                written.token_logprobs()
        if spec.scoring and (classes := spec.scoring.tokens):
            body = {"model": endpoint.model} | rating(ids, classes)
            found = await endpoint.post("/v1/completions", body, room(len(ids), 1, logprobs=True))
            Completion(found, vocabulary.size, len(ids), 1, None).chances(classes)
    except (Refused, Unfit, Malformed) as error:
        start = "it must serve /v1/completions with token ids"
        if spec.scoring and spec.scoring.tokens is None:
            start = f"start it with {spec.scoring.server}"
        raise Unfit(f"{error}; {start}") from error


def _about_models(error: str, served: Served) -> str:
    if "401" in error or "403" in error:
        if served.api_key_env is None:
            return "set api_key_env to the environment variable that holds its key"
        return f"it does not take the key in {served.api_key_env}"
    return "is it the address of a server that speaks the OpenAI protocol?"


def _find(listed: dict[str, int | None], endpoint: Endpoint, spec: EngineSpec, served: Served) -> None:
    """Set the model's name at a server, and see that its window is no shorter than ours."""
    names = ", ".join(listed) or "nothing"
    if served.model is not None and served.model not in listed:
        raise Unfit(f"it serves {names}; set model to that, or start it with --served-model-name {served.model}")
    if served.model is None and len(listed) != 1:
        raise Unfit(f"it serves {names}; say which as model")
    endpoint.model = served.model or names
    window = listed[endpoint.model]
    if window is not None and window < spec.window:
        raise Unfit(
            f"it takes {window:,} tokens and the run wants {spec.window:,}; set max_model_len: {window}, or start it "
            f"with --max-model-len {spec.window}"
        )


def models_of(listed: Any) -> dict[str, Any]:
    """Names of what a server has, each with what it says of it. Raises Unfit."""
    try:
        return {str(model["id"]): model for model in listed["data"]}
    except (TypeError, LookupError) as error:
        raise Unfit("its /v1/models is no list of models; is it a server that speaks the OpenAI protocol?") from error


async def _same_tokens(endpoint: Endpoint, ids: list[int]) -> None:
    """Raises Unfit if the server's tokenizer differs: the model would then read and write nonsense."""
    body = {"model": endpoint.model, "prompt": PROBE, "add_special_tokens": False}
    try:
        found = tokens(await endpoint.post("/tokenize", body, LISTING))
    except (Refused, Unfit):
        return  # a server that does not tell
    except Malformed as error:
        raise Unfit(str(error)) from error
    if found != ids:
        raise Unfit("its tokenizer is another one than that of the role's model: does it serve this model?")


def rating(prompt: Sequence[int], tokens: Sequence[int]) -> dict[str, Any]:
    """A question for one token, and what each of these was likely to be it."""
    return {
        "prompt": list(prompt),
        "max_tokens": 1,
        "temperature": 0.0,
        "logprobs": len(tokens),
        "logprob_token_ids": list(tokens),
        "return_tokens_as_token_ids": True,
        "return_token_ids": True,
    }
