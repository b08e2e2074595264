"""Files, times and questions that commands take."""

import io
from typing import Any

import pytest
import typer

from automation.cli.options import confirm, read_document, since_text


def read(text: str | bytes) -> Any:
    file = io.BytesIO(text if isinstance(text, bytes) else text.encode())
    file.name = "given.yaml"
    return read_document(file)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, null]}', {"a": [1, None]}),
        ("a:\n  - 1\n  - null\n", {"a": [1, None]}),
        ("since: 2026-01-15T10:30:00Z\nday: 2026-01-15", {"since": "2026-01-15T10:30:00Z", "day": "2026-01-15"}),
        ("# steps\nis_active: false\n", {"is_active": False}),
        ("[]", []),
    ],
)
def test_a_file_is_json_or_yaml_and_times_stay_text(text: str, value: Any) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    "text", ["a: [", "a: .nan", "!!python/object/apply:os.system ['true']", "a: !!set {b}", b"a: \xff", "[" * 100_000]
)
def test_any_other_file_is_wrong_usage_in_one_line(text: str | bytes) -> None:
    with pytest.raises(typer.BadParameter) as raised:
        read(text)
    assert str(raised.value).startswith("given.yaml is neither JSON nor YAML: ")
    assert "\n" not in str(raised.value)


def test_a_time_reaches_the_api_with_its_zone() -> None:
    assert since_text(None) is None
    assert since_text("2026-01-15T10:30Z") == "2026-01-15T10:30:00+00:00"
    assert since_text("2026-01-15") == "2026-01-15T00:00:00+00:00"


def test_where_nobody_can_be_asked_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))

    with pytest.raises(typer.BadParameter, match="--yes"):
        confirm("Sure?", yes=False)
    confirm("Sure?", yes=True)


class Terminal(io.StringIO):
    """Somebody who answers."""

    def isatty(self) -> bool:
        return True


def test_who_is_asked_decides(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("y\nn\n"))

    confirm("Sure?", yes=False)
    with pytest.raises(typer.Exit) as said_no:
        confirm("Sure?", yes=False)

    assert said_no.value.exit_code == 1
    assert capsys.readouterr().err.count("Sure?") == 2


def test_an_empty_time_is_none_and_not_no_limit() -> None:
    with pytest.raises(typer.BadParameter, match="is neither a time"):
        since_text("")
