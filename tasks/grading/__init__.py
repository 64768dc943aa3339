r"""Grading: which answer a solution gives, and whether it is the reference.

An answer is what a solution gives last as its answer, once it has done thinking: in \boxed{}, in a tag, or in words
(`extraction`). References are read by the same rules. It is compared with the reference by structure first
(`comparing`: lists, sets, tuples and intervals, matrices, relations, quantities, words, exact
numbers) and where algebra is needed by math-verify (`algebra`), in processes with limits of time and memory, for it
can run for ever. What needs no algebra is decided without them; both ways are one code, so they say the same.

A text is first brought into one way of writing (`tidying`: `characters`, `dress`, `functions`), and where it is not
equal as it stands, what is said around the answer is left out (`qualifiers`, `names`, `congruences`).

What counts as equal where usage differs: a decimal is exactly the number it says (0.333 is not 1/3, 0.333... is); p%
is p/100, and of a number above 1 the sign may be missing; so may a unit (not radians), but two must agree or convert;
words that scale are no units; what can be a time of day is no ratio; what has no value equals nothing; a list is a
set, an ordered pair is neither, and brackets count; names of variables count, and so does their case; a multiple
choice's answer is a letter or an option's content, and where both readings are possible it is not correct.
Any change of a rule makes `verdicts.RULES` grow.

Those are the rules of the first two graders, `math` and `choice`. What graders there are, and how to add one, says
`graders`.
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
