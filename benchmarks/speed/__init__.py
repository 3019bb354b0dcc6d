"""How fast a stack becomes masks, where the time goes, and beside whom: ``docs/benchmarks.md``.

Measurements (`plan`) are made one by one in fresh processes (`tasks`) on synthetic organoids
(`scenes`) and kept as JSON (`store`); tables, fits and figures (`report`) are made from what is
kept.
"""
