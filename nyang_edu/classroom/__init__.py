"""The classroom: what a teacher hands out, grades, and hands back."""
