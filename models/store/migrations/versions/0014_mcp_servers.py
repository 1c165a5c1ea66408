"""MCP servers, and people's tokens for them

Revision: 0014, after 0013, 2026-11-23 12:30:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0014'
down_revision = '0013'
branch_labels = None
depends_on = None


def _text(name: str) -> 'sa.Column[str]':
    return sa.Column(name, sa.String(), server_default='', nullable=False)


def _off(name: str) -> 'sa.Column[bool]':
    return sa.Column(name, sa.Boolean(), server_default=sa.text('false'), nullable=False)


def _names(name: str) -> 'sa.Column[list[str]]':
    return sa.Column(name, postgresql.ARRAY(sa.String()), server_default=sa.text("'{}'"), nullable=False)


def _now(name: str) -> 'sa.Column[object]':
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False)


def upgrade() -> None:
    op.create_table(
        'mcp_server_configs',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('display_name', sa.String(), nullable=False),
        sa.Column('slug', sa.String(), nullable=False),
        _text('description'),
        _text('icon_url'),
        sa.Column('transport', sa.String(), nullable=False),
        sa.Column('url', sa.String(), nullable=False),
        sa.Column('auth_type', sa.String(), nullable=False),
        _text('oauth2_client_id'),
        _text('oauth2_client_secret'),
        _text('oauth2_auth_url'),
        _text('oauth2_token_url'),
        _text('oauth2_scopes'),
        _text('oauth2_resource'),
        _text('api_key_header'),
        _text('api_key_value'),
        _text('custom_headers'),
        _names('tool_allow_list'),
        _names('tool_deny_list'),
        sa.Column('availability', sa.String(), nullable=False),
        _off('enabled'),
        _off('model_intent'),
        _off('allow_in_plan_mode'),
        _off('forward_coder_headers'),
        _off('trust_annotations'),
        sa.Column('created_by', sa.Uuid(), nullable=True),
        sa.Column('updated_by', sa.Uuid(), nullable=True),
        _now('created_at'),
        _now('updated_at'),
        sa.CheckConstraint("transport IN ('streamable_http', 'sse')", name=op.f('ck_mcp_server_configs_transport')),
        sa.CheckConstraint(
            "auth_type IN ('none', 'oauth2', 'api_key', 'custom_headers', 'user_oidc')",
            name=op.f('ck_mcp_server_configs_auth_type'),
        ),
        sa.CheckConstraint(
            "availability IN ('force_on', 'default_on', 'default_off')",
            name=op.f('ck_mcp_server_configs_availability'),
        ),
        *(
            sa.ForeignKeyConstraint(
                [column], ['users.id'], name=op.f(f'fk_mcp_server_configs_{column}_users'), ondelete='SET NULL'
            )
            for column in ('created_by', 'updated_by')
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_mcp_server_configs')),
        sa.UniqueConstraint('slug', name=op.f('uq_mcp_server_configs_slug')),
    )
    op.create_table(
        'mcp_server_user_tokens',
        sa.Column('id', sa.Uuid(), nullable=False),
        sa.Column('mcp_server_config_id', sa.Uuid(), nullable=False),
        sa.Column('user_id', sa.Uuid(), nullable=False),
        sa.Column('access_token', sa.String(), nullable=False),
        _text('refresh_token'),
        _text('token_type'),
        sa.Column('expiry', sa.DateTime(timezone=True), nullable=True),
        _now('created_at'),
        _now('updated_at'),
        sa.ForeignKeyConstraint(
            ['mcp_server_config_id'],
            ['mcp_server_configs.id'],
            name=op.f('fk_mcp_server_user_tokens_mcp_server_config_id_mcp_server_configs'),
            ondelete='CASCADE',
        ),
        sa.ForeignKeyConstraint(
            ['user_id'], ['users.id'], name=op.f('fk_mcp_server_user_tokens_user_id_users'), ondelete='CASCADE'
        ),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_mcp_server_user_tokens')),
        sa.UniqueConstraint(
            'mcp_server_config_id',
            'user_id',
            name=op.f('uq_mcp_server_user_tokens_mcp_server_config_id_user_id'),
        ),
    )
    op.create_index('ix_mcp_server_user_tokens_user_id', 'mcp_server_user_tokens', ['user_id'])
