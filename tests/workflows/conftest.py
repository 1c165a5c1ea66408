"""The workflow ring: a real Temporal server, fake performers (tests.workflows.performers)."""

from tests.temporal import task_queue, temporal, temporal_server

__all__ = ["task_queue", "temporal", "temporal_server"]
