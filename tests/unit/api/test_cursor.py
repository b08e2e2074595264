import base64
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.api.pagination import decode_cursor, encode_cursor
from automation.errors import RefusedError
from automation.models.paging import Position

TIMES = st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC))
LINE_IDS = st.integers(min_value=0, max_value=2**63 - 1)


@given(at=TIMES, id_=st.uuids(), backwards=st.booleans())
def test_a_cursor_of_executions_comes_back_as_it_was(at: datetime, id_: UUID, backwards: bool) -> None:
    position = Position(at, id_, backwards)

    assert decode_cursor(encode_cursor(position), UUID) == position


@given(at=TIMES, id_=LINE_IDS)
def test_a_cursor_of_log_lines_comes_back_as_it_was(at: datetime, id_: int) -> None:
    assert decode_cursor(encode_cursor(Position(at, id_)), int) == Position(at, id_)


@given(at=TIMES, id_=st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_a_cursor_of_projects_comes_back_as_it_was_however_they_are_named(at: datetime, id_: str) -> None:
    assert decode_cursor(encode_cursor(Position(at, id_)), str) == Position(at, id_)


def test_a_cursor_needs_no_escaping_in_a_url() -> None:
    text = encode_cursor(Position(datetime.now(UTC), UUID(int=2**128 - 1)))

    assert text.replace("-", "").replace("_", "").isalnum()


def test_the_time_zone_of_a_row_does_not_matter() -> None:
    utc = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
    paris = utc.astimezone(timezone(timedelta(hours=1)))

    assert encode_cursor(Position(utc, 1)) == encode_cursor(Position(paris, 1))


@given(text=st.text(max_size=60))
def test_anything_else_is_refused_and_the_field_named(text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        decode_cursor(text, UUID)

    assert caught.value.field == "cursor"


@pytest.mark.parametrize(
    "plain", ["n:1", "x:1:1", "n:99999999999999999999:1", "n:1:-1", f"n:1:{2**63}", "n:1:1:1", "n:x:1"]
)
def test_a_cursor_that_somebody_made_up_is_refused(plain: str) -> None:
    text = base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")
    with pytest.raises(RefusedError, match="cursor"):
        decode_cursor(text, int)


def test_a_cursor_with_text_that_postgresql_has_no_place_for_is_refused() -> None:
    for plain in (b"n:1:a\0b", b"n:1:\xff"):
        with pytest.raises(RefusedError, match="cursor"):
            decode_cursor(base64.urlsafe_b64encode(plain).decode().rstrip("="), str)
