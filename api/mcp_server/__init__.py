"""Turnstone as tools for other agents: what `/mcp` offers, and how it asks our own routes for it."""
