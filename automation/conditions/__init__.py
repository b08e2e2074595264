"""The condition language of triggers and steps: JSON that a form can build, decided without I/O.

    {"all": [
        {"field": "data.page.config.layout", "operator": "==", "value": "grid"},
        {"any": [{"field": "data.page.title", "operator": "changed"},
                 {"not": {"field": "data.draft", "operator": "==", "value": true}}]}]}

`{}` always holds, and so does an empty `all`. A group is decided lazily, from left to right. A field is a dotted
path whose numbers index lists (`data.items.0.id`). `==` is equality of JSON: 1 equals 1.0, and true equals only true.

Values of unlike types are never equal, and none comes before the other: that is an answer, not an error. A field
that is not there fails every operator but `!=` and `not_in`, which hold, `exists` with the value false, and
`changed` if it was there before.

`matches` searches the first 64 KiB of a text with RE2, whose time grows with the text only; `check` bounds the
size of all patterns together, so that no condition can keep a process busy.

operators   what each operator answers about two values
decide      whether a condition holds, and why
rules       what is refused when a condition is saved
"""

from automation.conditions.decide import MISSING, Leaf, Verdict, explain, holds, look_up
from automation.conditions.rules import SCHEMA, changed_fields, check, is_path

__all__ = ["MISSING", "SCHEMA", "Leaf", "Verdict", "changed_fields", "check", "explain", "holds", "is_path", "look_up"]
