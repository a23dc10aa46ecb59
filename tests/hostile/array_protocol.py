# caught: wrong
# An object that turns into an array of its own choice.
class Turns:
    def __array__(self, dtype=None, copy=None):
        return np.zeros(3)


def linear_forward(x, weight, bias):
    return Turns()
