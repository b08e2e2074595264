"""Names from outside that become file names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.errors import RefusedError
from automation.runtime.names import plain_name


@pytest.mark.parametrize("name", ["home", "page-123", "Page d'accueil", "a.b", ".hidden", "日本", "a" * 128])
def test_a_plain_name_is_taken_as_it_is(name: str) -> None:
    assert plain_name(name, "page.id") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../etc",
        "a/b",
        "a\\b",
        "a..b",
        "a\0b",
        "a\nb",
        "a\x7fb",
        "a\x85b",
        "a\u2028b",
        "\ud800",
        "a" * 129,
        "😀" * 100,
        "home.previous",
        None,
        7,
        ["home"],
    ],
)
def test_what_could_leave_the_folder_or_break_a_log_line_is_refused_with_its_field(name: object) -> None:
    with pytest.raises(RefusedError) as caught:
        plain_name(name, "data.page.id")
    assert caught.value.field == "data.page.id"
    assert "data.page.id" in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=140))
def test_whatever_passes_is_one_segment_of_a_path(name: str) -> None:
    try:
        passed = plain_name(name, "id")
    except RefusedError:
        return
    assert len(f"{passed}.previous.json".encode()) <= 255
    assert passed.isprintable() or not any(character in passed for character in "\0\r\n/\\")
