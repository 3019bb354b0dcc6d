"""How good the models are: every table and figure of the accuracy report, from any manifest."""
