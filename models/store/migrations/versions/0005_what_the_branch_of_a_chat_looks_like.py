"""what the branch and the pull request of a chat look like

Revision: 0005, after 0004, 2026-11-23 04:15:00
"""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'chat_diff_statuses',
        sa.Column('chat_id', sa.Uuid(), nullable=False),
        sa.Column('url', sa.String(), nullable=True),
        sa.Column('pull_request_state', sa.String(), nullable=True),
        sa.Column('pull_request_title', sa.String(), server_default='', nullable=False),
        sa.Column('pull_request_draft', sa.Boolean(), server_default=sa.text('false'), nullable=False),
        sa.Column('changes_requested', sa.Boolean(), server_default=sa.text('false'), nullable=False),
        sa.Column('additions', sa.Integer(), server_default='0', nullable=False),
        sa.Column('deletions', sa.Integer(), server_default='0', nullable=False),
        sa.Column('changed_files', sa.Integer(), server_default='0', nullable=False),
        sa.Column('author_login', sa.String(), nullable=True),
        sa.Column('author_avatar_url', sa.String(), nullable=True),
        sa.Column('base_branch', sa.String(), nullable=True),
        sa.Column('head_branch', sa.String(), nullable=True),
        sa.Column('pr_number', sa.Integer(), nullable=True),
        sa.Column('commits', sa.Integer(), nullable=True),
        sa.Column('approved', sa.Boolean(), nullable=True),
        sa.Column('reviewer_count', sa.Integer(), nullable=True),
        sa.Column('git_branch', sa.String(), server_default='', nullable=False),
        sa.Column('git_remote_origin', sa.String(), server_default='', nullable=False),
        sa.Column('refreshed_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('stale_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
        sa.CheckConstraint(
            "pull_request_state IN ('open', 'merged', 'closed')",
            name=op.f('ck_chat_diff_statuses_pull_request_state'),
        ),
        sa.ForeignKeyConstraint(
            ['chat_id'], ['chats.id'], name=op.f('fk_chat_diff_statuses_chat_id_chats'), ondelete='CASCADE'
        ),
        sa.PrimaryKeyConstraint('chat_id', name=op.f('pk_chat_diff_statuses')),
    )
    op.create_index('ix_chat_diff_statuses_stale_at', 'chat_diff_statuses', ['stale_at'])
    op.create_index(
        'ix_chat_diff_statuses_url',
        'chat_diff_statuses',
        [sa.text('lower(url)')],
        postgresql_where=sa.text('url IS NOT NULL'),
    )
    op.create_index(
        'ix_chat_diff_statuses_pr_number',
        'chat_diff_statuses',
        ['pr_number'],
        postgresql_where=sa.text('pr_number IS NOT NULL'),
    )
