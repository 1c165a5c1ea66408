"""Tools that live elsewhere: the servers of MCP, asked through the official SDK, which is loaded when it is needed."""
