"""The report: one page per image that explains its result, and one that lists the pages."""
