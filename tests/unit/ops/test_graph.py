from automation.ops.graph import BOX_HEIGHT, BOX_WIDTH, Drawing, draw


def after(**steps: str) -> dict[str, frozenset[str]]:
    """`after(b="a")`: b waits for a; the names separated by blanks."""
    return {name: frozenset(others.split()) for name, others in steps.items()}


def rows(drawing: Drawing) -> list[set[str]]:
    """Which steps stand side by side, from the top to the bottom."""
    found: dict[float, set[str]] = {}
    for box in drawing.boxes:
        found.setdefault(box.y, set()).add(box.identifier)
    return [found[y] for y in sorted(found)]


def test_steps_that_follow_each_other_stand_below_each_other() -> None:
    drawing = draw(after(a="", b="a", c="b"))

    assert rows(drawing) == [{"a"}, {"b"}, {"c"}]
    assert len({box.x for box in drawing.boxes}) == 1
    assert len(drawing.lines) == 2


def test_steps_that_may_run_at_once_stand_side_by_side() -> None:
    drawing = draw(after(a="", b="", c="a b"))

    assert rows(drawing) == [{"a", "b"}, {"c"}]
    assert drawing.width == 2 * BOX_WIDTH + 20 + 2


def test_what_is_waited_for_anyway_has_no_line_of_its_own() -> None:
    assert len(draw(after(a="", b="a", c="a b")).lines) == 2


def test_a_line_past_a_step_does_not_run_through_it() -> None:
    drawing = draw(after(a="", x="", b="a", c="b x"))
    (long,) = [line for line in drawing.lines if "V" in line]
    between = next(box for box in drawing.boxes if box.identifier == "b")
    passes_at = float(long.split("V")[0].split(" ")[-2])

    assert not between.x <= passes_at <= between.x + BOX_WIDTH


def test_no_two_steps_cover_each_other() -> None:
    drawing = draw(after(a="", b="", c="a", d="a b", e="c", f="d", g="a f", h="e g", i=""))
    places = [(box.x, box.y) for box in drawing.boxes]

    for n, (x, y) in enumerate(places):
        for other_x, other_y in places[n + 1 :]:
            assert abs(x - other_x) >= BOX_WIDTH or abs(y - other_y) >= BOX_HEIGHT
    assert all(0 <= box.x <= drawing.width - BOX_WIDTH for box in drawing.boxes)
    assert all(0 <= box.y <= drawing.height - BOX_HEIGHT for box in drawing.boxes)


def test_steps_that_wait_for_each_other_are_drawn_all_the_same() -> None:
    drawing = draw(after(a="b", b="a"))

    assert {box.identifier for box in drawing.boxes} == {"a", "b"}
    assert drawing.lines == []


def test_no_steps_are_no_picture() -> None:
    assert draw({}) == Drawing(0, 0, [], [])
