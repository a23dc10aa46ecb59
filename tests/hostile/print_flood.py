# caught: slow
def linear_forward(x, weight, bias):
    while True:
        print("x" * 10**6)
