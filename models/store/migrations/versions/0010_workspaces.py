"""workspaces: templates, builds, agents and what they are asked to do

Revision: 0010, after 0009, 2026-11-23 07:30:00
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('templates',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('organization_id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('display_name', sa.String(), server_default='', nullable=False),
    sa.Column('description', sa.String(), server_default='', nullable=False),
    sa.Column('icon', sa.String(), server_default='', nullable=False),
    sa.Column('provisioner', sa.String(), nullable=False),
    sa.Column('active_version_id', sa.Uuid(), nullable=True),
    sa.Column('deprecated', sa.String(), server_default='', nullable=False),
    sa.Column('deleted', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('created_by', sa.Uuid(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("provisioner IN ('local', 'docker', 'external')", name=op.f('ck_templates_provisioner')),
    sa.ForeignKeyConstraint(['created_by'], ['users.id'], name=op.f('fk_templates_created_by'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['organization_id'], ['organizations.id'], name=op.f('fk_templates_organization_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_templates'))
    )
    op.create_index('uq_templates_organization_id_name_lower', 'templates', ['organization_id', sa.literal_column('lower(name)')], unique=True, postgresql_where=sa.text('NOT deleted'))
    op.create_table('template_versions',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('template_id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('message', sa.String(), server_default='', nullable=False),
    sa.Column('readme', sa.String(), server_default='', nullable=False),
    sa.Column('spec', postgresql.JSONB(), server_default='{}', nullable=False),
    sa.Column('parameters', postgresql.JSONB(), server_default='[]', nullable=False),
    sa.Column('created_by', sa.Uuid(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['created_by'], ['users.id'], name=op.f('fk_template_versions_created_by'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['template_id'], ['templates.id'], name=op.f('fk_template_versions_template_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_template_versions')),
    sa.UniqueConstraint('template_id', 'name', name='uq_template_versions_template_id_name')
    )
    op.create_foreign_key('fk_templates_active_version_id_template_versions', 'templates', 'template_versions', ['active_version_id'], ['id'])
    op.create_table('workspaces',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('owner_id', sa.Uuid(), nullable=True),
    sa.Column('organization_id', sa.Uuid(), nullable=False),
    sa.Column('template_id', sa.Uuid(), nullable=False),
    sa.Column('preset_id', sa.Uuid(), nullable=True),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('ttl_ms', sa.BigInteger(), nullable=True),
    sa.Column('deadline_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('deleted', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('last_used_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['organization_id'], ['organizations.id'], name=op.f('fk_workspaces_organization_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['owner_id'], ['users.id'], name=op.f('fk_workspaces_owner_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['template_id'], ['templates.id'], name=op.f('fk_workspaces_template_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_workspaces'))
    )
    op.create_index('ix_workspaces_deadline', 'workspaces', ['deadline_at'], postgresql_where=sa.text('deadline_at IS NOT NULL AND NOT deleted'))
    op.create_index('ix_workspaces_organization_id', 'workspaces', ['organization_id'])
    op.create_index('ix_workspaces_prebuilt', 'workspaces', ['preset_id'], postgresql_where=sa.text('owner_id IS NULL AND NOT deleted'))
    op.create_index('ix_workspaces_template_id', 'workspaces', ['template_id'])
    op.create_index('uq_workspaces_owner_id_name_lower', 'workspaces', ['owner_id', sa.literal_column('lower(name)')], unique=True, postgresql_where=sa.text('NOT deleted'))
    op.create_table('template_version_presets',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('template_version_id', sa.Uuid(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('description', sa.String(), server_default='', nullable=False),
    sa.Column('icon', sa.String(), server_default='', nullable=False),
    sa.Column('is_default', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('parameters', postgresql.JSONB(), server_default='{}', nullable=False),
    sa.Column('desired_prebuilds', sa.Integer(), server_default='0', nullable=False),
    sa.Column('failing_since', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['template_version_id'], ['template_versions.id'], name=op.f('fk_template_version_presets_template_version_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_template_version_presets')),
    sa.UniqueConstraint('template_version_id', 'name', name='uq_template_version_presets_template_version_id_name')
    )
    op.create_table('workspace_builds',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('workspace_id', sa.Uuid(), nullable=False),
    sa.Column('template_version_id', sa.Uuid(), nullable=False),
    sa.Column('preset_id', sa.Uuid(), nullable=True),
    sa.Column('build_number', sa.Integer(), nullable=False),
    sa.Column('transition', sa.String(), nullable=False),
    sa.Column('reason', sa.String(), server_default='initiator', nullable=False),
    sa.Column('status', sa.String(), server_default='pending', nullable=False),
    sa.Column('initiator_id', sa.Uuid(), nullable=True),
    sa.Column('parameters', postgresql.JSONB(), server_default='{}', nullable=False),
    sa.Column('attempt', sa.Integer(), server_default='0', nullable=False),
    sa.Column('state', postgresql.JSONB(none_as_null=True), nullable=True),
    sa.Column('error', sa.String(), server_default='', nullable=False),
    sa.Column('error_code', sa.String(), server_default='', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('completed_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("reason IN ('initiator', 'chat', 'prebuild', 'autostop')", name=op.f('ck_workspace_builds_reason')),
    sa.CheckConstraint("status IN ('pending', 'running', 'canceling', 'succeeded', 'failed', 'canceled')", name=op.f('ck_workspace_builds_status')),
    sa.CheckConstraint("transition IN ('start', 'stop', 'delete')", name=op.f('ck_workspace_builds_transition')),
    sa.ForeignKeyConstraint(['initiator_id'], ['users.id'], name=op.f('fk_workspace_builds_initiator_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['template_version_id'], ['template_versions.id'], name=op.f('fk_workspace_builds_template_version_id')),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_workspace_builds_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_workspace_builds')),
    sa.UniqueConstraint('workspace_id', 'build_number', name='uq_workspace_builds_workspace_id_build_number')
    )
    op.create_index('ix_workspace_builds_template_version_id', 'workspace_builds', ['template_version_id'])
    op.create_index('ix_workspace_builds_under_way', 'workspace_builds', ['created_at'], postgresql_where=sa.text("status IN ('pending', 'running', 'canceling')"))
    op.create_index('uq_workspace_builds_under_way', 'workspace_builds', ['workspace_id'], unique=True, postgresql_where=sa.text("status IN ('pending', 'running', 'canceling')"))
    op.create_table('workspace_agents',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('build_id', sa.Uuid(), nullable=False),
    sa.Column('workspace_id', sa.Uuid(), nullable=False),
    sa.Column('parent_id', sa.Uuid(), nullable=True),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('display_order', sa.Integer(), server_default='0', nullable=False),
    sa.Column('hashed_token', sa.LargeBinary(), nullable=False),
    sa.Column('sealed_token', sa.String(), nullable=False),
    sa.Column('directory', sa.String(), server_default='', nullable=False),
    sa.Column('startup_script', sa.String(), server_default='', nullable=False),
    sa.Column('environment', postgresql.JSONB(), server_default='{}', nullable=False),
    sa.Column('external', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('connection_timeout_seconds', sa.Integer(), server_default='120', nullable=False),
    sa.Column('startup_timeout_seconds', sa.Integer(), server_default='600', nullable=False),
    sa.Column('lifecycle', sa.String(), server_default='created', nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ready_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('connection_id', sa.Uuid(), nullable=True),
    sa.Column('facts', postgresql.JSONB(), server_default='{}', nullable=False),
    sa.Column('first_connected_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('last_seen_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('disconnected_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('git', postgresql.JSONB(none_as_null=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("lifecycle IN ('created', 'starting', 'ready', 'start_error', 'start_timeout', 'shutting_down', 'off')", name=op.f('ck_workspace_agents_lifecycle')),
    sa.ForeignKeyConstraint(['build_id'], ['workspace_builds.id'], name=op.f('fk_workspace_agents_build_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['workspace_id'], ['workspaces.id'], name=op.f('fk_workspace_agents_workspace_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_workspace_agents')),
    sa.UniqueConstraint('build_id', 'name', name='uq_workspace_agents_build_id_name')
    )
    op.create_index('ix_workspace_agents_workspace_id', 'workspace_agents', ['workspace_id'])
    op.create_index('uq_workspace_agents_hashed_token', 'workspace_agents', ['hashed_token'], unique=True)
    op.create_table('workspace_build_logs',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=False), nullable=False),
    sa.Column('build_id', sa.Uuid(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('level', sa.String(), server_default='info', nullable=False),
    sa.Column('stage', sa.String(), server_default='', nullable=False),
    sa.Column('output', sa.String(), nullable=False),
    sa.ForeignKeyConstraint(['build_id'], ['workspace_builds.id'], name=op.f('fk_workspace_build_logs_build_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_workspace_build_logs'))
    )
    op.create_index('ix_workspace_build_logs_build_id', 'workspace_build_logs', ['build_id', 'id'])
    op.create_table('workspace_agent_logs',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=False), nullable=False),
    sa.Column('agent_id', sa.Uuid(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('level', sa.String(), server_default='info', nullable=False),
    sa.Column('source', sa.String(), server_default='', nullable=False),
    sa.Column('output', sa.String(), nullable=False),
    sa.ForeignKeyConstraint(['agent_id'], ['workspace_agents.id'], name=op.f('fk_workspace_agent_logs_agent_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_workspace_agent_logs'))
    )
    op.create_index('ix_workspace_agent_logs_agent_id', 'workspace_agent_logs', ['agent_id', 'id'])
    op.create_table('agent_jobs',
    sa.Column('id', sa.Uuid(), nullable=False),
    sa.Column('number', sa.BigInteger(), sa.Identity(always=False), nullable=False),
    sa.Column('agent_id', sa.Uuid(), nullable=False),
    sa.Column('chat_id', sa.Uuid(), nullable=True),
    sa.Column('kind', sa.String(), nullable=False),
    sa.Column('request', postgresql.JSONB(), server_default='{}', nullable=False),
    sa.Column('state', sa.String(), server_default='queued', nullable=False),
    sa.Column('cancel', sa.Boolean(), server_default=sa.text('false'), nullable=False),
    sa.Column('result', postgresql.JSONB(none_as_null=True), nullable=True),
    sa.Column('error', postgresql.JSONB(none_as_null=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('delivered_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("state IN ('queued', 'delivered', 'done', 'canceled', 'lost')", name=op.f('ck_agent_jobs_state')),
    sa.ForeignKeyConstraint(['agent_id'], ['workspace_agents.id'], name=op.f('fk_agent_jobs_agent_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['chat_id'], ['chats.id'], name=op.f('fk_agent_jobs_chat_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_agent_jobs'))
    )
    op.create_index('ix_agent_jobs_chat_id', 'agent_jobs', ['chat_id'])
    op.create_index('ix_agent_jobs_created_at', 'agent_jobs', ['created_at'])
    op.create_index('ix_agent_jobs_open', 'agent_jobs', ['agent_id', 'number'], postgresql_where=sa.text("state IN ('queued', 'delivered')"))
    op.add_column('chats', sa.Column('workspace_id', sa.Uuid(), nullable=True))
    op.add_column('chats', sa.Column('build_id', sa.Uuid(), nullable=True))
    op.add_column('chats', sa.Column('agent_id', sa.Uuid(), nullable=True))
    op.create_index('ix_chats_workspace_id', 'chats', ['workspace_id'], postgresql_where=sa.text('workspace_id IS NOT NULL'))
    op.create_foreign_key(op.f('fk_chats_workspace_id'), 'chats', 'workspaces', ['workspace_id'], ['id'], ondelete='SET NULL')
    op.add_column('tool_executions', sa.Column('progress', postgresql.JSONB(none_as_null=True), nullable=True))
