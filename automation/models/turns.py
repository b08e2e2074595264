"""Projects in turn: which waiting executions come next, however long one project's queue is."""

from sqlalchemy import TextClause, text

_LEAST = 50
"""Projects that are looked at in any case, since all that some of them have may have to wait for something."""


def turns(waiting: str, allowed: str, *, behind: bool = False) -> TextClause:
    """A query for the next `:size` due executions, in the order in which they shall be taken.

    Projects that have something waiting are found by hopping over an index on coalesce(project_id, ''), one
    probe each, beginning behind the project `:after` if `behind` is set; then each gives its share of `:size`,
    oldest first. So the cost does not grow with the backlog.

    Args:
        waiting: condition of that partial index on `w`, an execution.
        allowed: further condition on `w`.

    Returns:
        Rows of (id, project); parameters `size`, `now`, those of the conditions, and `after` with `behind`.
    """
    return text(f"""
        WITH RECURSIVE {_projects(waiting, "CAST(:size AS int)", behind)}
        SELECT turn.id, projects.project
        FROM projects, share, LATERAL ({_queue(waiting, allowed, "share.size")}) AS turn
        WHERE projects.project IS NOT NULL
        ORDER BY turn.turn, turn.due_at
        LIMIT :size
    """)  # noqa: S608 (conditions are our own; values are parameters)


def bounded_turns(waiting: str, allowed: str, *, behind: bool = False) -> TextClause:
    """The same where a project may have no room for more, and where few are taken at a time.

    A project gives at most what `:rooms`, a JSON object, has for it, else `:room`; `:full` is the number of those
    that have no room at all. In each turn the projects come by their names, not by age: who takes fewer than
    there are goes on behind the last one, and reaches all of them however old one project's backlog is.

    Returns:
        Rows of (id, project, reached), at least one if anything waits; some have no id. `reached` is the last project
        that was looked at, None if none is behind it.
    """
    room = "CAST(coalesce(CAST(:rooms AS jsonb) ->> projects.project, CAST(:room AS text)) AS int)"
    hops = f"greatest(CAST(:size AS int), {_LEAST}) + CAST(:full AS int)"
    queue = _queue(waiting, allowed, f"least(share.size, {room})")
    return text(f"""
        WITH RECURSIVE {_projects(waiting, hops, behind)}
        SELECT turn.id, projects.project,
            (SELECT CASE WHEN count(*) = count(project) THEN max(project) END FROM projects) AS reached
        FROM projects CROSS JOIN share LEFT JOIN LATERAL ({queue}) AS turn ON true
        WHERE projects.project IS NOT NULL
        ORDER BY turn.turn, projects.n
        LIMIT :size
    """)  # noqa: S608 (conditions are our own; values are parameters)


def _projects(waiting: str, hops: str, behind: bool) -> str:
    """Up to `hops` projects that have something waiting, by name (at their end one that is NULL), and their share."""
    hop = f"SELECT coalesce(w.project_id, '') FROM workflow_executions AS w WHERE {waiting}"  # noqa: S608
    start = "AND coalesce(w.project_id, '') > :after" if behind else ""
    order = "ORDER BY coalesce(w.project_id, '') LIMIT 1"
    return f"""projects(project, n) AS (
            SELECT ({hop} {start} {order}), 1
            UNION ALL
            SELECT ({hop} AND coalesce(w.project_id, '') > projects.project {order}), n + 1
            FROM projects WHERE projects.project IS NOT NULL AND n < {hops}
        ),
        share AS (
            SELECT greatest(1, ceil(CAST(:size AS numeric) / greatest(1, count(project))))::int AS size
            FROM projects
        )"""  # noqa: S608


def _queue(waiting: str, allowed: str, size: str) -> str:
    """What of a project comes next, oldest first."""
    return f"""
            SELECT w.id, w.due_at, row_number() OVER (ORDER BY w.due_at) AS turn
            FROM workflow_executions AS w
            WHERE {waiting} AND coalesce(w.project_id, '') = projects.project AND w.due_at <= :now AND {allowed}
            ORDER BY w.due_at
            LIMIT {size}
        """  # noqa: S608
