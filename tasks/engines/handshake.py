"""Is a server what the configuration takes it for? Asked before work is sent to it, and whenever it was away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.engines.endpoint import Broken, Endpoint, Refused, Unfit
from tasks.engines.served import Served
from tasks.engines.spec import EngineSpec
from tasks.vocabulary import PROBE, ModelVocabulary


async def greet(endpoint: Endpoint, spec: EngineSpec, served: Served, vocabulary: ModelVocabulary) -> None:
    """Find the model's name at a server, and see that it reads token ids as ours and answers as it should.

    Raises Unfit with what to do, or another Fault where it cannot be asked now.
    """
    try:
        listed = await endpoint.get("/v1/models")
    except (Refused, Unfit) as error:
        raise Unfit(f"{error}; {_about_models(str(error), served)}") from error
    _find(listed, endpoint, spec, served)
    ids = list(vocabulary.encode_steps([PROBE])[0])
    await _same_tokens(endpoint, ids)
    try:
        if spec.scoring and spec.scoring.tokens is None:
            chances = probabilities(await endpoint.post("/classify", {"model": endpoint.model, "input": ids}))
            if len(chances) != (classes := len(spec.scoring.worth)):
                raise Unfit(f"its /classify gives {len(chances)} probabilities where the PRM's format has {classes}")
        else:
            body = {"model": endpoint.model, "prompt": ids, "max_tokens": 1, "return_token_ids": True}
            if spec.sure:
                body["logprobs"] = 0
            found = choice(await endpoint.post("/v1/completions", body))
            if spec.sure:
                sureness(found)
        if spec.scoring and (tokens := spec.scoring.tokens):
            body = {"model": endpoint.model} | rating(ids, tokens)
            logs(await endpoint.post("/v1/completions", body), tokens)
    except (Refused, Unfit) as error:
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


def _find(listed: Any, endpoint: Endpoint, spec: EngineSpec, served: Served) -> None:
    """Set the model's name at a server, and see that its window is no shorter than ours."""
    models = models_of(listed)
    names = ", ".join(models) or "nothing"
    if served.model is not None and served.model not in models:
        raise Unfit(f"it serves {names}; set model to that, or start it with --served-model-name {served.model}")
    if served.model is None and len(models) != 1:
        raise Unfit(f"it serves {names}; say which as model")
    endpoint.model = served.model or names
    window = models[endpoint.model].get("max_model_len")
    if isinstance(window, int) and window < spec.window:
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
    """With another vocabulary a model would read and write nonsense, and nothing would say so."""
    body = {"model": endpoint.model, "prompt": PROBE, "add_special_tokens": False}
    try:
        found = await endpoint.post("/tokenize", body)
    except (Refused, Unfit):
        return  # a server that does not tell
    if isinstance(found, dict) and isinstance(found.get("tokens"), list) and found["tokens"] != ids:
        raise Unfit("its tokenizer is another one than that of the role's model: does it serve this model?")


def choice(answer: Any) -> dict[str, Any]:
    """The one choice of a completion, with its token ids and why it stopped. Raises Unfit, or Broken where the server
    gave it up."""
    try:
        found = answer["choices"][0]
        if found["finish_reason"] in ("abort", "error"):  # as when it is told to stop
            raise Broken("it gave up a request")
        ids = found["token_ids"]
        if isinstance(ids, list) and ids and "stop_reason" in found and "finish_reason" in found:
            return found
    except (TypeError, LookupError):
        pass
    raise Unfit("its completions carry no token_ids and stop_reason, as those of vLLM 0.10.2 and later do")


def sureness(found: dict[str, Any]) -> list[float]:
    """The logarithms of what the tokens of a `choice` were likely. Raises Unfit."""
    try:
        logs = found["logprobs"]["token_logprobs"]
        if len(logs) == len(found["token_ids"]) and all(isinstance(log, float | int) for log in logs):
            return [float(log) for log in logs]
    except (TypeError, LookupError):
        pass
    raise Unfit("its completions carry no log-probabilities, of which format confidence makes rewards")


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


def logs(answer: Any, tokens: Sequence[int]) -> list[float]:
    """The logarithms of what tokens were likely in answer to a `rating`. Raises Unfit, or Broken."""
    try:
        found = choice(answer)["logprobs"]["top_logprobs"][0]
        return [float(found[f"token_id:{token}"]) for token in tokens]
    except (TypeError, LookupError, ValueError) as error:
        raise Unfit("its completions do not heed logprob_token_ids, as those of vLLM 0.32 do") from error


def probabilities(answer: Any) -> list[float]:
    """The classes' probabilities at a prompt's last token. Raises Unfit."""
    try:
        found = answer["data"][0]["probs"]
        if isinstance(found, list) and found and all(isinstance(p, float | int) and 0 <= p <= 1 for p in found):
            return [float(p) for p in found]
    except (TypeError, LookupError):
        pass
    raise Unfit("its /classify gives no probabilities")
