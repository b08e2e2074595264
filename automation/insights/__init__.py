"""Insights: what people do in their projects, and how much of it."""
