"""registration: a booking that another one moves to, and how often a patient may choose another time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision: str | None = "0052"
branch_labels = None
depends_on = None

STATE = "ck_booking_state"
BEFORE = (
    "state IN ('held', 'paying', 'confirming', 'confirmed', 'cancelling', 'cancelled', 'expired', "
    "'used', 'no_show', 'stopped')"
)


def upgrade() -> None:
    op.drop_constraint(op.f(STATE), "booking", type_="check")
    op.create_check_constraint(op.f(STATE), "booking", BEFORE.replace("'cancelling'", "'moving', 'cancelling'"))
    op.add_column("booking", sa.Column("changes", sa.Integer(), server_default="0", nullable=False))
    op.alter_column("booking", "changes", server_default=None)
    op.create_index(
        "uq_booking_moving", "booking", ["rebooked_from"], unique=True, postgresql_where=sa.text("state = 'moving'")
    )
    op.add_column(
        "registration_settings", sa.Column("changes_per_booking", sa.Integer(), server_default="2", nullable=False)
    )
    op.alter_column("registration_settings", "changes_per_booking", server_default=None)


def downgrade() -> None:
    op.drop_column("registration_settings", "changes_per_booking")
    op.drop_index("uq_booking_moving", table_name="booking")
    op.drop_column("booking", "changes")
    op.execute("UPDATE clinic_number SET state = 'free', booking_id = NULL, hold_until = NULL "
               "WHERE booking_id IN (SELECT id FROM booking WHERE state = 'moving')")  # fmt: skip
    op.execute("UPDATE booking SET state = 'expired', ended_why = 'unpaid' WHERE state = 'moving'")
    op.drop_constraint(op.f(STATE), "booking", type_="check")
    op.create_check_constraint(op.f(STATE), "booking", BEFORE)
