# caught: raised
def linear_forward(x, weight, bias):
    return x  # NULL
