# caught: killed wrong
# A view that begins before its array and ends behind it.
def linear_forward(x, weight, bias):
    return np.lib.stride_tricks.as_strided(x, (100, 100), (-800, 8))
