r"""Grading: which answer a solution gives, and whether it equals the reference.

The answer is the last one that a solution gives after it has done thinking: in \boxed{}, in a tag, or in words
(`extraction`). References are read by the same rules. Answer and reference are compared by structure first
(`comparing`: lists, sets, tuples and intervals, matrices, relations, quantities, words, exact numbers). Where algebra
is needed, math-verify compares them (`algebra`), in processes with limits of time and memory, because it can run for
ever. Both ways share their code, so they give the same verdicts.

A text is first brought into one way of writing (`tidying`: `characters`, `dress`, `functions`). If it is not equal as
it stands, the words around the answer are left out (`qualifiers`, `names`, `congruences`).

What counts as equal, where usage differs:

- A decimal is exactly the number that it says: 0.333 is not 1/3, but 0.333... is.
- A decimal comma stands in braces, as in 3{,}14; 3,14 is a list.
- log(2), without a backslash, may be \ln 2.
- p% is p/100. If the number is above 1, the sign may be missing.
- A unit may be missing (but not radians). Two units must agree or convert. A word that scales is no unit.
- What can be a time of day is no ratio. What has no value equals nothing.
- A list is a set. An ordered pair is neither, and brackets count.
- Names of variables count, and so does their case.
- The answer of a multiple choice is a letter or an option's content. If both readings are possible, it is not correct.

Any change of a rule raises `verdicts.RULES`.

Those are the rules of the first two graders, `math` and `choice`. `graders` lists the graders and says how to add one.
"""

from tasks.grading.grader import Grader
from tasks.grading.graders import GRADERS, GraderRules, read_reference, reads_at_a_look
from tasks.grading.verdicts import GRADER, Grade, Grades, Question, Ungraded

__all__ = [
    "GRADER",
    "GRADERS",
    "Grade",
    "Grader",
    "GraderRules",
    "Grades",
    "Question",
    "Ungraded",
    "read_reference",
    "reads_at_a_look",
]
