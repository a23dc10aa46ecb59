# caught: killed raised wrong slow
# It says that it has ended, lives on, and reads what is meant for the next one.
import os
import time

import nyang_edu.classroom.wire as wire


def linear_forward(x, weight, bias):
    for number in range(3, 20):
        try:
            os.write(number, wire.Packer().pack({"ended": 0}))
        except OSError:
            pass
    if os.fork() == 0:
        os.setsid()
        while True:
            for number in range(3, 20):
                try:
                    os.read(number, 10)
                except OSError:
                    pass
    os._exit(0)
