# exercise: numerical_gradient
# caught: wrong raised killed slow
# It calls the function that it was given, with whatever it likes, for ever.
def numerical_gradient(f, x, step=1e-5):
    for value in (None, "x", [], {}, object(), np.zeros(10**6), f, np.zeros((0, 5))):
        try:
            f(value)
        except Exception:
            pass
    while True:
        f(x)
