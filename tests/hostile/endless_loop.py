# caught: slow
def linear_forward(x, weight, bias):
    while True:
        pass
