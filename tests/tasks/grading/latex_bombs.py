"""Answers and solutions that would keep a grader busy for ever, or take all memory, were it let."""

from __future__ import annotations

LONG = 1_000_000
"""Characters of a solution."""


def deep(begin: str, end: str, times: int) -> str:
    return begin * times + "x" + end * times


ANSWERS = {
    "fractions in fractions": deep(r"\frac{1}{", "}", 150),
    "roots in roots": deep(r"\sqrt{2+", "}", 200),
    "parentheses": deep("(", ")", 900),
    "bars": deep("|", "|", 500),
    "sines": deep(r"\sin(", ")", 150),
    "logarithms": deep(r"\log_{2}(", ")", 120),
    "continued": deep(r"\cfrac{1}{1+", "}", 150),
    "tower of nines": "9^{9^{9^{9^9}}}",
    "tower of twos": deep("2^{", "}", 300),
    "power": "2^{10^{10}}",
    "small power": "10^{-10^{10}}",
    "scientific": "1e999999999",
    "scientific, written": r"1.5\times10^{999999999}",
    "factorial": "(10^9)!",
    "factorials": "9!!!!!!!!",
    "tower of factorials": "((((9!)!)!)!)!",
    "binomial": r"\binom{10^9}{5\cdot 10^8}",
    "gamma": r"\Gamma(10^{10})",
    "sum": r"\sum_{n=1}^{10^9} n^{n}",
    "product": r"\prod_{n=1}^{10^9} (n+x)",
    "integral": r"\int_0^1 x^{x^{x}} \sin(x^x) dx",
    "limit": r"\lim_{x\to 0} \frac{\sin(x^{x^x})}{x}",
    "derivative": r"\frac{d^{1000}}{dx^{1000}} x^{x}",
    "polynomial": "(x+1)^{100000}",
    "polynomials": "(a+b+c+d+e)^{300}",
    "polynomials in polynomials": "((((x+1)^{99}+1)^{99}+1)^{99}+1)^{99}",
    "product of sums": "".join(f"(x_{{{n}}}+y_{{{n}}})" for n in range(100)),
    "roots": r"\cdot".join(rf"(1+\sqrt{{{n}}})" for n in range(2, 90)),
    "root of many": r"\sqrt[10^9]{2}",
    "root of digits": r"\sqrt{" + "9" * 1800 + "}",
    "matrix": r"\begin{pmatrix}" + r"\\".join("&".join(f"x^{{{i * j}}}" for j in range(14)) for i in range(14))
    + r"\end{pmatrix}",
    "determinant": r"\begin{vmatrix}" + r"\\".join("&".join(f"a_{{{i * j}}}" for j in range(12)) for i in range(12))
    + r"\end{vmatrix}",
    "powers": ", ".join(f"2^{{10^{{{n}}}}}" for n in range(6, 100)),
    "range": r"\{1, 2, \dots, 10^{100}\}",
    "union": r"\cup".join(f"({n},{n + 1}]" for n in range(200)),
    "inequality": "<".join(f"x^{{{n}}}" for n in range(200)),
    "interval": r"(-\infty, 10^{10^{10}}]",
    "residue": r"3^{10^{18}} \pmod{7}",
    "divisor": r"\gcd(10^{10^8}, 6)",
    "floor": r"\lfloor 10^{10^9}/3 \rfloor",
    "complex": "(1+2i)^{123456789}",
    "rational": r"(1+\frac{1}{3})^{10^8}",
    "digits": "9" * 1999,
    "repeating": r"0.\overline{" + "123456789" * 200 + "}",
    "mixed": "1" * 900 + r"\frac{1}{" + "3" * 900 + "}",
    "base": "z" * 900 + "_{36}",
    "words": "thousand " * 220,
    "units": "km/h " * 350,
    "signs": r"\pm 1 " * 380,
    "ratio": ":".join(["9" * 9] * 190),
}  # fmt: skip
"""Each fits into a box."""
PIECES = ["9", " ", "\n", r"\boxed{", r"\boxed{1}", "$", "{", "#### ", "the answer is ", "The answer is 7. ", "**"]
PIECES += ["<answer>", "<answer>1</answer>", "<think>", "\\", "1,", "=", "x = 1\n", "So, ", ".", "'", r"\frac{", "A) "]
PIECES += ["(", "a", "-", r"\text{", "𝟗", r"\left(", "Final Answer: ", "Therefore ", "\t \n", "is ", r"\[ ", "| "]
PIECES += [r"\begin{aligned}"]
SOLUTIONS = {repr(piece): piece * (LONG // len(piece)) for piece in PIECES}
SOLUTIONS |= {"a box": r"\boxed{" + "x" * LONG + "}", "braces in a box": r"\boxed{1" + "{}" * (LONG // 2) + "}"}
