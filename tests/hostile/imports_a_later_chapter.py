# caught: raised
# A layer of a later chapter does the same for it.
from nyang_edu.model.conv import Conv2d


def linear_forward(x, weight, bias):
    layer = Conv2d(x.shape[1], len(bias), 1)
    layer.weight.data, layer.bias.data = weight[..., None, None], bias
    return layer.forward(x[..., None, None])[..., 0, 0]
