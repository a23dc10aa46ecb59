# caught: slow
# It ignores every signal that it can, and swallows every exception.
import signal

for number in range(1, 32):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
signal.setitimer(signal.ITIMER_REAL, 0)


def linear_forward(x, weight, bias):
    while True:
        try:
            while True:
                pass
        except BaseException:
            continue
