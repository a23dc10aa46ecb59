# caught: killed raised wrong
def linear_forward(x, weight, bias):
    return np.zeros(10**8)
