# caught: raised killed
import tempfile


def linear_forward(x, weight, bias):
    with tempfile.TemporaryFile() as file:
        while True:
            file.write(bytes(10**6))
