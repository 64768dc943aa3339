"""A model's tokenizer: chat prompts in, steps in, text out. Implements `decoding.models.Vocabulary`."""

from __future__ import annotations

import hashlib
import json
import threading
import unicodedata
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

from schemas.config import ModelConfig, PromptConfig
from tasks.decoding.trajectory import Ids
from tasks.errors import UserError, in_brief
from tasks.models.chat import Chat, steady
from tasks.models.fixed_ends import FixedEnds
from tasks.models.model_files import DATE, PROMPT, TEMPLATE, digest_of
from tasks.models.tokenizer_files import ANCHOR, backend_of, load_tokenizer, start_of_text, swells

PROBE = "Step 1: 2 + 3 = 5."
PLACEHOLDER = "stepwave-problem-goes-here"
AT_ONCE = 64
"""Prompts that are tokenized before a step that waits is let in."""
LETTERS_AT_ONCE = 1 << 20
"""Characters of user messages, likewise; one message may be longer."""
MOST_IDS = 1 << 24
"""Ids that a vocabulary may have: the largest have a sixtieth of that."""
SHOWN = 40
"""Characters of a text that a message quotes."""
WHOLE = (
    "Is 3 < 5 & \"x\" > 'y'?\n\n  Let {{x}} be \\frac{1}{2}.\n```\n<b>A</b> | {% b %} $c_1^2$\n```\n"
    + "ä 中 €1,000 %d! " * 500
)
"""A user message of many lines and kinds of characters, of which no template may lose any."""


class ModelVocabulary:
    """Tokenizer of one role's checkpoint. Building it reads tokenizer files only, no weights."""

    def __init__(
        self,
        role: str,
        model: ModelConfig,
        prompt: PromptConfig,
        own_template: Callable[[Chat], str | None] = lambda chat: None,
        own_chat: bool = False,
    ) -> None:
        """`own_template`: gives the text of prompts, with {user} in it, from tokenizer and chat template. It is for
        models whose prompts are neither a chat with one turn nor `prompt.template`. `own_chat`: True if the model's
        chat template, if it has one, goes before `prompt.template`."""
        self.role, self.prompt = role, prompt
        # a tokenizer holds the way to treat special tokens as state, and prompts are made beside the event loop
        self.lock = threading.Lock()
        self.tokenizer: Any = load_tokenizer(role, model)
        self.chat = Chat(self.tokenizer, prompt.date)
        self.template = own_template(self.chat)
        by_chat = own_chat and bool(self.chat)
        if self.template is None and prompt.template is not None and not by_chat:
            text, start = prompt.template.replace("{system}", prompt.system or ""), start_of_text(self.tokenizer)
            self.template = text if text.lstrip().startswith(start) else start + text
        if self.template is None and not self.chat:
            raise UserError(
                f"models.{role}.model: {model.model} has no chat template; give a plain one as prompt.template, "
                'such as "{system}\\n\\n{user}\\n\\n"'
            )
        self.tokenizer.model_max_length = 1 << 60  # lengths are checked against windows, not warned of
        self.backend: Any = backend_of(self.tokenizer)
        if (largest := max(self.tokenizer.get_vocab().values(), default=0)) >= MOST_IDS or swells(self.backend):
            fault = f"the id {largest}" if largest >= MOST_IDS else "rules that make much of a little text"
            raise UserError(f"models.{role}.model: {model.model} has a tokenizer with {fault}, which is not used")
        again: Any = self.tokenizer.decode(self._ids([PROBE], plain=True)[0].tolist(), skip_special_tokens=True)
        if again.strip() != PROBE:
            raise UserError(
                f"models.{role}.model: {model.model} has a tokenizer that does not keep plain text "
                f"({PROBE!r} becomes {again[:40]!r}); is its tokenizer.json missing?"
            )
        vocabulary = sorted(self.tokenizer.get_vocab().items())
        self.key = hashlib.sha256(json.dumps(vocabulary).encode()).hexdigest()
        self.size = 1 + largest
        """No id from here on has a token."""
        self.special = [token for token in self.tokenizer.all_special_tokens if token]
        # Some decoders drop the space before the first token; after an anchor every token of a step keeps its own.
        self.anchor = self._ids([ANCHOR], plain=True)[0]
        self.anchor_text = self.tokenizer.decode(self.anchor.tolist(), skip_special_tokens=True)
        [self.frame] = steady(lambda: self._render([PLACEHOLDER]), f"models.{role}.model")
        self._render([WHOLE])
        self.frame_tokens = len(self._ids([self.frame], plain=False)[0])
        self.copies = self.frame.count(PLACEHOLDER)

    def _ids(self, texts: list[str], *, plain: bool) -> list[Ids]:
        """Ids of each text by itself; `plain` reads special tokens in it as ordinary text."""
        if not texts:
            return []
        with self.lock:
            if self.backend is None:
                found = self.tokenizer(texts, add_special_tokens=False, split_special_tokens=plain)["input_ids"]
                return [array("i", ids) for ids in found]
            self.backend.encode_special_tokens = plain
            encodings = self.backend.encode_batch_fast(texts, add_special_tokens=False)
        return [array("i", encoding.ids) for encoding in encodings]

    @cached_property
    def prompts_key(self) -> str:
        """Equal for two roles whose prompts have the same ids. To be asked for once tokens are reserved."""
        if self.backend is None:
            return f"{self.role} by itself"
        tokenizer = self.tokenizer
        parts = [self.backend.to_str(), tokenizer.chat_template, tokenizer.special_tokens_map, self.special, self.frame]
        return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()

    @cached_property
    def prompt_parts(self) -> dict[str, str]:
        """What makes this role's prompts read as they do: digests of the chat template, where it is used, and of a
        prompt, and the day where that is written."""
        found = {PROMPT: digest_of(self.frame)}
        if self.chat.used:
            written = self.tokenizer.chat_template
            found[TEMPLATE] = digest_of(written if isinstance(written, str) else json.dumps(written, sort_keys=True))
        return found | ({DATE: self.chat.day.isoformat()} if self.chat.dated else {})

    @property
    def probe(self) -> tuple[int, ...]:
        """Ids of a text that ends in the separator, for another tokenizer to read."""
        return tuple(self._ids([PROBE + self.prompt.separator], plain=True)[0])

    def check_read_alike(self, read: str | None) -> None:
        """Raises UserError where an engine's own tokenizer has read `probe` as another text, in which it would look for
        the separator. None: it was not asked, or does not tell."""
        text = PROBE + self.prompt.separator
        if read is not None and not read.endswith(text):
            raise UserError(
                f"models.{self.role}.model: vLLM reads its tokens differently from transformers ({text!r} becomes "
                f"{read[-60:]!r}), so that no step would end; put the model into a directory with a tokenizer that "
                "transformers' AutoTokenizer.save_pretrained wrote, and give that directory"
            )

    def reserve(self, token: str) -> None:
        """Read a token that texts spell as plain text from now on, though the tokenizer does not call it special."""
        if token not in self.special:
            self.tokenizer.add_tokens([token], special_tokens=True)
            self.special.append(token)

    def token_id(self, token: str) -> int | None:
        """Id of one token of the vocabulary, None where it has no such token."""
        return self.tokenizer.get_vocab().get(token)

    def _render(self, users: list[str]) -> list[str]:
        """Texts of prompts, up to where the model's answer starts. UserError where they cannot be made, or one has not
        all of its user message in it."""
        if self.template is not None:
            return [self.template.replace("{user}", user) for user in users]
        system = [] if self.prompt.system is None else [{"role": "system", "content": self.prompt.system}]
        chats = [[*system, {"role": "user", "content": user}] for user in users]
        try:
            texts = self.chat.render(chats, answer=True)
        except Exception as error:
            raise UserError(
                f"models.{self.role}.model: its chat template refuses the prompt ({in_brief(error)}); "
                "set prompt.system to null or give prompt.template"
            ) from error
        for user, text in zip(users, texts, strict=True):
            if user.strip() not in text:  # blanks around it most templates take away
                raise UserError(
                    f"models.{self.role}.model: its chat template leaves out or changes what the user says, such as "
                    f"{user.strip()[:SHOWN]!r}; give prompt.template"
                )
        return texts

    def prompts(self, users: list[str]) -> list[Ids]:
        """Ids of each prompt. A user message that spells a special token is read as plain text, so that a problem
        cannot end its own turn or set the PRM's tag."""
        hostile = [any(token in user for token in self.special) for user in users]
        friendly = ["" if bad else user for user, bad in zip(users, hostile, strict=True)]
        ids = [x for some in _batches(friendly) for x in self._framed(some)]
        for i, (user, bad) in enumerate(zip(users, hostile, strict=True)):
            if bad:
                head, *tails = self._ids(self.frame.split(PLACEHOLDER), plain=False)
                plain = self._ids([user], plain=True)[0]
                ids[i] = sum((plain + tail for tail in tails), start=head)
        return ids

    def _framed(self, users: list[str]) -> list[Ids]:
        """Ids of prompts, special tokens in user messages read as such. What they all begin and end with is tokenized
        once."""
        texts = self._render(users)
        if self.ends is None or not all(self.ends.hold(text) for text in texts):
            return self._ids(texts, plain=False)
        middles = self._ids([self.ends.between(text) for text in texts], plain=False)
        return [self.ends.head_ids + middle + self.ends.tail_ids for middle in middles]

    @cached_property
    def ends(self) -> FixedEnds | None:
        """What every prompt begins with, up to its last special token before the user message, and what it ends with
        from the first one after it on. To be asked for once tokens are reserved.

        A tokenizer cuts texts at special tokens before all else. None where there is no such token on a side, or where
        it takes blanks beside it along, or the tokenizer tells the start of a text from what follows a token."""
        if self.backend is None:
            return None
        before, after = self.frame[: self.frame.find(PLACEHOLDER)], self.frame.rpartition(PLACEHOLDER)[2]
        plain = [
            token.content
            for token in self.backend.get_added_tokens_decoder().values()
            if token.special and not (token.lstrip or token.rstrip or token.single_word or token.normalized)
        ]
        start = max((before.rfind(token) + len(token) for token in plain if token in before), default=0)
        stop = min((after.find(token) for token in plain if token in after), default=len(after))
        head, tail = before[:start], after[stop:]
        head_ids, tail_ids = self._ids([head, tail], plain=False)
        ends = FixedEnds(head, tail, head_ids, tail_ids)
        for text in self._render([PROBE, f" {PROBE}\n\n", f"\n{PROBE} "]):
            middle, whole = self._ids([ends.between(text), text], plain=False)
            if not (head and tail and ends.hold(text)) or head_ids + middle + tail_ids != whole:
                return None
        return ends

    def longer_than(self, users: list[str], longest: int) -> list[bool]:
        """Which user messages make prompts of more than so many tokens. Tokenizes only those that are long enough to,
        and of those that are much longer only a part."""
        suspects = [
            i
            for i, user in enumerate(users)
            if len(user) > longest or self.frame_tokens + self.copies * most_bytes(user) > longest
        ]
        verdicts = [False] * len(users)
        # Has the start of a message, without all the rest of it, twice the tokens? What follows can change how its last
        # few are cut, not halve them.
        cut = 16 * (longest + len(self.frame))
        while much := [i for i in suspects if not verdicts[i] and len(users[i]) > cut]:
            for i, ids in zip(much, self.prompts([users[i][:cut] for i in much]), strict=True):
                verdicts[i] = len(ids) > 2 * longest
            cut *= 4  # such as blanks, of which a token can hold many
        suspects = [i for i in suspects if not verdicts[i]]
        for i, ids in zip(suspects, self.prompts([users[i] for i in suspects]), strict=True):
            verdicts[i] = len(ids) > longest
        return verdicts

    def encode_steps(self, texts: list[str]) -> list[Ids]:
        """As `Vocabulary.encode_steps`."""
        return self._ids(texts, plain=True)

    def encode_after(self, texts: list[str]) -> list[Ids]:
        """Ids of texts, each beginning with a blank or a line's end, as they are where they follow other text: some
        tokenizers give the start of a text a blank of its own. Special tokens in them are read as plain text."""
        start = len(self.anchor)
        found = self._ids([ANCHOR + text for text in texts], plain=True)
        apart = [i for i, ids in enumerate(found) if ids[:start] != self.anchor]
        found = [ids[start:] for ids in found]
        for i, ids in zip(apart, self._ids([texts[i] for i in apart], plain=True), strict=True):
            found[i] = ids
        return found

    def encode_markup(self, texts: list[str]) -> list[Ids]:
        """Ids of each text by itself, special tokens in it read as such."""
        return self._ids(texts, plain=False)

    def as_read(self, ids: Ids) -> str:
        """Text of ids for a person to read, special tokens in it."""
        with self.lock:
            return self.tokenizer.decode(ids.tolist(), skip_special_tokens=False)

    def decode_steps(self, ids: Sequence[Ids]) -> list[str]:
        """As `Vocabulary.decode_steps`."""
        if not ids:
            return []
        start = len(self.anchor_text)
        anchored = [[*self.anchor, *step] for step in ids]
        with self.lock:
            if self.backend is None:
                texts = self.tokenizer.batch_decode(anchored, skip_special_tokens=True)
            else:
                texts = self.backend.decode_batch(anchored, skip_special_tokens=True)
        return [text[start:] for text in texts]


def _batches(users: list[str]) -> Iterator[list[str]]:
    """User messages, as many together as are tokenized at once."""
    some: list[str] = []
    letters = 0
    for user in users:
        if some and (len(some) == AT_ONCE or letters + len(user) > LETTERS_AT_ONCE):
            yield some
            some, letters = [], 0
        some.append(user)
        letters += len(user)
    if some:
        yield some


def most_bytes(text: str) -> int:
    """Bytes of a text in whatever normal form a tokenizer may read it."""
    if text.isascii():
        return len(text)
    forms = (text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFKC", text))
    return max(len(form.encode("utf-8", "surrogatepass")) for form in forms)
