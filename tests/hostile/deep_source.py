# caught: raised
linear_forward = lambda x, weight, bias: DEEP
def linear_forward(x, weight, bias):
    return DEEP
