# caught: raised killed slow
import sys

sys.setrecursionlimit(10**9)


def linear_forward(x, weight, bias):
    return linear_forward(x, weight, bias)
