"""The napari plugin: `session` and `layers` know nothing of Qt, `form` and `widget` show them."""
