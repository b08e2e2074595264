import pytest

from automation.errors import RefusedError
from automation.triggers.globs import check_glob, matches


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("**/*", "a", True),
        ("**/*", "a/b/c.txt", True),
        ("**", "a/b", True),
        ("*", "a", True),
        ("*", "a/b", False),
        ("*.csv", "orders.csv", True),
        ("*.csv", "in/orders.csv", False),
        ("*.csv", "orders.csv.part", False),
        ("**/*.csv", "orders.csv", True),
        ("**/*.csv", "in/2026/orders.csv", True),
        ("in/**/*.csv", "in/orders.csv", True),
        ("in/**/*.csv", "in/a/b/orders.csv", True),
        ("in/**/*.csv", "out/orders.csv", False),
        ("in/**/*.csv", "begin/orders.csv", False),
        ("in/**", "in/a/b", True),
        ("in/**", "in", False),
        ("*/x", "a/x", True),
        ("*/x", "a/b/x", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a?c", "aéc", True),
        ("[ab].txt", "a.txt", True),
        ("[ab].txt", "c.txt", False),
        ("[!ab].txt", "c.txt", True),
        ("[!ab]c", "/c", False),
        ("[0-9][0-9]", "42", True),
        ("[]]", "]", True),
        ("[^]", "^", True),
        ("[\\d]", "5", False),
        ("a[b", "a[b", True),
        ("a.b", "axb", False),
        ("(a|b)+$", "(a|b)+$", True),
        ("*", ".hidden", True),
        ("*", "two\nlines", True),
        ("A", "a", False),
    ],
)
def test_a_glob_matches_names_and_two_stars_any_folders(glob: str, path: str, expected: bool) -> None:
    check_glob(glob, "glob")

    assert matches(glob, path) is expected


@pytest.mark.parametrize("glob", ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", "[z-a]", "a" * 1001])
def test_a_glob_that_cannot_be_used_is_refused(glob: str) -> None:
    with pytest.raises(RefusedError) as caught:
        check_glob(glob, "config.glob")

    assert caught.value.field == "config.glob"


def test_a_hostile_glob_does_not_hang() -> None:
    assert not matches("*a" * 200 + "/b", "a" * 4000)
    assert not matches("**/" * 300 + "b", "a/" * 2000 + "a")
