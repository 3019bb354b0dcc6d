"""The commands: thin skins over the public API."""
