# caught: raised
def linear_forward(x, weight, bias):
    hoard = []
    while True:
        hoard.append(np.zeros(10**8))
