# exercise: Memory
# caught: slow
class Memory:
    remembering = True

    def save(self, *values):
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass

    def saved(self):
        return 0

    def forget(self):
        pass
