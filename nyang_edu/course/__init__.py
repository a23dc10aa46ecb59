"""The course engine: check, hint and finish for a notebook; build, export, prove behind them."""

from .notebook import check, finish, hint

__all__ = ["check", "finish", "hint"]
