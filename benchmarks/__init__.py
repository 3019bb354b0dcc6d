"""Measurements of the whole project, each made by one command."""
