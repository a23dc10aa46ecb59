# caught: raised killed slow
import threading
import time


def linear_forward(x, weight, bias):
    while True:
        threading.Thread(target=time.sleep, args=(1000,)).start()
