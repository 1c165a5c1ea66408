"""The workflow ring: a real Temporal server, fake performers (tests.workflows.performers)."""

from tests.temporal import pytest_collection_modifyitems, task_queue, temporal, temporal_server

__all__ = ["pytest_collection_modifyitems", "task_queue", "temporal", "temporal_server"]
