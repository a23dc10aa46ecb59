"""Fixtures that several files of tests share."""

from tinyschool import school  # noqa: F401
