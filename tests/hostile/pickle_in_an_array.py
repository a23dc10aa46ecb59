# caught: wrong raised killed
# Unpickled, the result would run a command.
import os


class Runs:
    def __reduce__(self):
        return os.system, ("touch /tmp/was_here",)


def linear_forward(x, weight, bias):
    return np.array([Runs(), Runs()], dtype=object)
