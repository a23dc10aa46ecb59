# caught: wrong raised killed
def linear_forward(x, weight, bias):
    nest = []
    for _ in range(10**5):
        nest = [nest]
    return nest
