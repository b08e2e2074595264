"""`:name` in a statement, as PostgreSQL wants its parameters."""

import pytest

from automation.integrations.sql import _positional


@pytest.mark.parametrize(
    ("statement", "query", "names"),
    [
        ("SELECT 1", "SELECT 1", []),
        ("SELECT :a, :b, :a", "SELECT $1, $2, $1", ["a", "b"]),
        ("SELECT :a::int, b::text", "SELECT $1::int, b::text", ["a"]),
        ("SELECT ':a' || :a", "SELECT ':a' || $1", ["a"]),
        ("SELECT 'it''s :a', \":a\"", "SELECT 'it''s :a', \":a\"", []),
        ("SELECT 1 -- :a\n, :b /* :c */", "SELECT 1 -- :a\n, $1 /* :c */", ["b"]),
        ("SELECT $$ :a $$, $x$ :a $$ $x$, :b", "SELECT $$ :a $$, $x$ :a $$ $x$, $1", ["b"]),
        ("SELECT x[1:2], '12:30', 5 % 2", "SELECT x[1:2], '12:30', 5 % 2", []),
    ],
)
def test_names_become_numbers_outside_of_texts_and_comments(statement: str, query: str, names: list[str]) -> None:
    assert _positional(statement) == (query, names)
