# Exported from chapter 03. Change the notebook, then export again.
"""Check any layer's gradients against numerical ones."""

import numpy as np

from nyang_edu.utility.compare import relative_error


def numerical_gradient(f, x, step=1e-5):
    """Estimate the gradient of f at x by central differences.

    Args:
        f: a function of one array that returns a number.
        x: a float64 array of any shape; it is left unchanged.
        step: how far each element is moved to both sides.

    Returns:
        gradient, an array of x's shape.
    """
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        moved = x.copy()
        moved[index] = x[index] + step
        above = f(moved)
        moved[index] = x[index] - step
        gradient[index] = (above - f(moved)) / (2 * step)
    return gradient


def gradient_errors(layer, x, rng):
    """Compare a layer's gradients with numerical ones.

    Args:
        layer: a NyangModel with float64 parameters.
        x: a float64 input.
        rng: draws the gradient that comes from above, of the output's shape.

    Returns:
        dict from "input" and the parameters' names to relative errors.
    """
    dout = rng.normal(size=layer(x).shape)
    layer.zero_grad()
    layer(x)
    dx = layer.backward(dout)

    def loss(moved):
        return float((layer(moved) * dout).sum())

    errors = {"input": relative_error(dx, numerical_gradient(loss, x))}
    for name, parameter in layer.named_parameters():
        original, analytic = parameter.data, parameter.grad.copy()

        def loss_of(moved, parameter=parameter):
            parameter.data = moved
            return loss(x)

        numeric = numerical_gradient(loss_of, original)
        parameter.data = original
        errors[name] = relative_error(analytic, numeric)
    return errors


def gradcheck(layer, x, rng=None, limit=1e-6):
    """Raise an AssertionError where a gradient of the layer is wrong; else return the errors.

    Args:
        layer: a NyangModel; its parameters become float64.
        x: the input; converted to float64.
        rng: draws the gradient from above; a fixed seed where it is None.
        limit: the largest relative error that passes.
    """
    layer.to(np.float64)
    rng = rng or np.random.default_rng([3, 1, 4])  # unlike any seed that may have drawn x
    errors = gradient_errors(layer, np.asarray(x, np.float64), rng)
    wrong = [f"{name} ({error:.1e})" for name, error in errors.items() if not error <= limit]
    if wrong:
        raise AssertionError(f"{type(layer).__name__}: wrong gradient of {', '.join(wrong)}; "
                             f"the relative error must be at most {limit:g}")
    return errors
