# caught: killed
import ctypes


def linear_forward(x, weight, bias):
    ctypes.string_at(0)
