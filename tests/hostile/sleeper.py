# caught: slow
import time


def linear_forward(x, weight, bias):
    time.sleep(10**6)
