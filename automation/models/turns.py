"""Projects in turn: which waiting executions come next, however long one project's queue is."""

from sqlalchemy import TextClause, text


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
    hop = f"SELECT coalesce(w.project_id, '') FROM workflow_executions AS w WHERE {waiting}"  # noqa: S608
    start = "AND coalesce(w.project_id, '') > :after" if behind else ""
    order = "ORDER BY coalesce(w.project_id, '') LIMIT 1"
    return text(f"""
        WITH RECURSIVE projects(project, n) AS (
            SELECT ({hop} {start} {order}), 1
            UNION ALL
            SELECT ({hop} AND coalesce(w.project_id, '') > projects.project {order}), n + 1
            FROM projects WHERE projects.project IS NOT NULL AND n < :size
        ),
        share AS (
            SELECT greatest(1, ceil(CAST(:size AS numeric) / greatest(1, count(project))))::int AS size
            FROM projects
        )
        SELECT turn.id, projects.project
        FROM projects, share, LATERAL (
            SELECT w.id, w.due_at, row_number() OVER (ORDER BY w.due_at) AS turn
            FROM workflow_executions AS w
            WHERE {waiting} AND coalesce(w.project_id, '') = projects.project AND w.due_at <= :now AND {allowed}
            ORDER BY w.due_at
            LIMIT share.size
        ) AS turn
        WHERE projects.project IS NOT NULL
        ORDER BY turn.turn, turn.due_at
        LIMIT :size
    """)  # noqa: S608 (conditions are our own; values are parameters)
