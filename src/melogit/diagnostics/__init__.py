"""Checks of what the method assumes: a fit and its rows -> verdicts in plain words (``melogit.report.checks``)."""
