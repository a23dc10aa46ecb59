# exercise: Linear
# caught: raised killed refused
class Linear(NyangModel):
    def __init__(self, *args, **kwargs):
        raise SystemExit(0)
