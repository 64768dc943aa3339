"""Grade-school word problems whose every solution step can be checked.

A problem is a chain of facts about how many things some people have. Its solution works out one quantity a step, steps
separated by a blank line, and ends with the answer in \\boxed{}. `make_problem` draws a problem, `label_steps` says
which steps of any solution are true.
"""

import random
import re

PEOPLE = re.findall(
    r"\w+",
    """Ana Bo Carla Dev Elif Farid Gina Hugo Ines Jun Kira Leo Mara Nils Olga Pia Quinn Rosa Sami Tara Umar
Vera Wes Yara Zeno Aiko Bilal Clara Diego Emre Fola Greta Hana Ivan Jade Kofi Lena Milo Nora Otto""",
)
ITEMS = re.findall(
    r"\w+",
    """apples marbles books stamps coins shells pencils cards stickers ribbons buttons beads candles bottles
baskets lanterns tickets chairs tables lamps boxes flags kites ropes plates cups spoons bells drums maps keys
clocks rings scarves gloves hats bags jars bricks tiles""",
)
KINDS = {"base": 1, "more": 3, "fewer": 3, "times": 3, "half": 1.5, "both": 2}  # of a fact, with their odds
CAP = 300  # no product is larger, and no quantity larger than twice this

SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
CHAT_TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' -%}"
    "{{- '<|im_start|>system\\n"
    "Please reason step by step, and put your final answer within \\\\boxed{}.<|im_end|>\\n' -}}"
    "{%- endif -%}"
    "{%- for m in messages -%}"
    "{{- '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def chat_prompt(problem: str) -> str:
    """The text before a solution; what CHAT_TEMPLATE makes of the problem."""
    return f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{problem}<|im_end|>\n<|im_start|>assistant\n"


def draw_kind(rng: random.Random, known: list[int]) -> str:
    """What a fact says, given the one or two quantities before it that it may speak of; one that always works out."""
    if not known:
        return "base"
    kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
    last = known[-1]
    if kind == "half" and (last % 2 or last <= 3):
        kind = "more"
    if kind == "times" and last * 2 > CAP:
        kind = "fewer"
    if kind == "both" and len(known) < 2:
        kind = "more"
    if kind == "fewer" and last < 4:
        kind = "more"
    return kind


def draw_fact(rng: random.Random, x: str, item: str, known: dict[str, int]) -> tuple[int, str, str]:
    """Draw x's quantity as (value, the fact, the step that works it out), from the one or two quantities before it."""
    kind = draw_kind(rng, list(known.values()))
    if kind == "base":
        value = rng.randint(2, 60)
        fact = f"{x} has {value} {item}"
        return value, fact, f"{fact}, so {x}={value}."
    y, a = list(known.items())[-1]
    given = f"{y}={a}"
    if kind == "more":
        k = rng.randint(2, 60)
        value, fact, sum_ = a + k, f"{x} has {k} more {item} than {y}", f"{a} + {k}"
    elif kind == "fewer":
        k = rng.randint(1, min(60, a - 1))
        value, fact, sum_ = a - k, f"{x} has {k} fewer {item} than {y}", f"{a} - {k}"
    elif kind == "times":
        k = rng.randint(2, max(2, min(5, CAP // a)))
        value, fact, sum_ = a * k, f"{x} has {k} times as many {item} as {y}", f"{a} * {k}"
    elif kind == "half":
        value, fact, sum_ = a // 2, f"{x} has half as many {item} as {y}", f"{a} / 2"
    else:
        (y, a), (z, b) = known.items()
        given = f"{y}={a} and {z}={b}"
        value, fact, sum_ = a + b, f"{x} has as many {item} as {y} and {z} combined", f"{a} + {b}"
    return value, fact, f"{fact}. {given}, and {sum_} = {value}, so {x}={value}."


def make_problem(rng: random.Random, n_facts: int | None = None) -> dict:
    """Draw a problem of 3 to 7 facts: dict(problem, steps, answer, truth: every quantity's value, depth: facts)."""
    while True:
        n = n_facts or rng.randint(3, 7)
        names = rng.sample(PEOPLE, n)
        item = rng.choice(ITEMS)
        values: dict[str, int] = {}
        facts, steps = [], []
        for i, x in enumerate(names):
            known = {name: values[name] for name in names[max(0, i - 2) : i]}
            values[x], fact, step = draw_fact(rng, x, item, known)
            facts.append(fact + ".")
            steps.append(step)
        if max(values.values()) <= CAP * 2:
            break
    last, before = names[-1], names[-2]
    truth = dict(values)
    if rng.random() < 0.7:
        asked, answer = last, values[last]
        question = f"How many {item} does {last} have?"
    else:
        asked, answer = "together", values[before] + values[last]
        question = f"How many {item} do {before} and {last} have together?"
        given = f"{before}={values[before]} and {last}={values[last]}"
        steps.append(f"{given}, and {values[before]} + {values[last]} = {answer}, so together={answer}.")
        truth["together"] = answer
    steps.append(f"{asked}={answer}, so the answer is \\boxed{{{answer}}}.")
    problem = "\n".join(facts) + "\n" + question
    return {"problem": problem, "steps": steps, "answer": str(answer), "truth": truth, "depth": n}


GIVEN = re.compile(r"^(?P<who>\w+) has (?P<v>\d+) [a-z]+, so (?P<who2>\w+)=(?P<v2>\d+)\.$")
WORKED = re.compile(
    r"^(?P<who>\w+) has [^.]+\. \w+=\d+(?: and \w+=\d+)?, "
    r"and (?P<a>\d+) (?P<op>[+*/-]) (?P<b>\d+) = (?P<v>\d+), so (?P<who2>\w+)=(?P<v2>\d+)\.$"
)
SUM = re.compile(r"^\w+=\d+ and \w+=\d+, and (\d+) \+ (\d+) = (\d+), so together=(\d+)\.$")
FINAL = re.compile(r"^\w+=(\d+), so the answer is \\boxed\{(\d+)\}\.$")


def subject(step: str) -> str | None:
    """Whose quantity the step settles: a name, 'together', or None when it is malformed."""
    if SUM.match(step):
        return "together"
    m = GIVEN.match(step) or WORKED.match(step)
    return m["who"] if m and m["who"] == m["who2"] else None


def step_is_correct(step: str, truth: dict[str, int], answer: str, seen: set[str | None]) -> bool:
    """Is one step true of the problem, well formed and new? `seen` holds the earlier steps' subjects."""
    if m := FINAL.match(step):
        return m[1] == m[2] == answer
    who = subject(step)
    if who is None or who in seen or who not in truth:
        return False
    if m := SUM.match(step):
        return int(m[1]) + int(m[2]) == int(m[3]) == int(m[4]) == truth[who]
    if m := GIVEN.match(step):
        return int(m["v"]) == int(m["v2"]) == truth[who]
    m = WORKED.match(step)
    a, b, v, v2 = (int(m[name]) for name in ("a", "b", "v", "v2"))
    result = {"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else None}[m["op"]]
    return result == v == v2 == truth[who]


def label_steps(steps: list[str], truth: dict[str, int], answer: str) -> list[bool]:
    """For each step of a solution, whether it is true of the problem (see `step_is_correct`)."""
    seen, labels = set(), []
    for step in steps:
        labels.append(step_is_correct(step, truth, answer, seen))
        seen.add(subject(step))
    return labels


def boxed(text: str) -> str | None:
    """The last number in \\boxed{}, as digits."""
    found = re.findall(r"\\boxed\{(\d+)\}", text)
    return found[-1] if found else None
