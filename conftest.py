"""Tests must never touch a student's progress or package: kernels inherit this switch."""

import os

os.environ["NYANG_PROGRESS"] = "off"
collect_ignore_glob = ["tests/hostile/*"]  # submissions, to be graded and never to be run here
