# caught: raised
class Long(Exception):
    def __str__(self):
        return "<script>alert(1)</script>" * 10**6


def linear_forward(x, weight, bias):
    raise Long
