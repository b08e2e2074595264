"""A workflow's version rises with what is run of it: not when it is switched off, or gets another trigger."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_CREATE = """
CREATE OR REPLACE TRIGGER bump_version BEFORE UPDATE ON workflows FOR EACH ROW
    WHEN ({condition}) EXECUTE FUNCTION automation_bump_version()
"""


def upgrade() -> None:
    changed = "(OLD.name, OLD.config) IS DISTINCT FROM (NEW.name, NEW.config)"
    op.execute(_CREATE.format(condition=f"OLD.version = NEW.version AND {changed}"))


def downgrade() -> None:
    op.execute(_CREATE.format(condition="OLD.version = NEW.version"))
