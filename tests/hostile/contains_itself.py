# caught: wrong raised killed
def linear_forward(x, weight, bias):
    ring = [1.0]
    ring.append(ring)
    return ring
