# caught: slow
while True:
    pass


def linear_forward(x, weight, bias):
    return x
