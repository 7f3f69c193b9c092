"""Attribute vectors: directions in code space that represent an attribute, and image editing with them.

GAIA's code fits all vectors at once by least squares. AMR's paper describes GAIA's vectors as averages over
the images with an attribute, which other attributes confound: the vector for makeup, for example, is mostly
the one for female. Both forms are here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latentmix.methods.portions import in_portions
from latentmix.methods.roles import Autoencodes


def least_squares(codes: Tensor, attributes: Tensor) -> Tensor:
    """Fit h = b + sum_a y_a v_a over all images by ordinary least squares.

    Arguments:
        codes: Shape (N, ...).
        attributes: Numbers, binary or not, shape (N, A); other covariates of the images, such as pose, may be
            further columns and are then accounted for.

    Returns:
        The vectors v, shape (A, ...), of the same type as the codes.

    Raises:
        ValueError: The numbers of rows differ, there are fewer images than unknowns, or a column depends on
            others (a constant column, for example), so that its vector is not defined.

    References:
        The released code of Sainburg et al., 2018.
    """
    y = _checked(codes, attributes)
    design = torch.cat([y, torch.ones(len(y), 1, dtype=y.dtype)], 1)
    if len(design) < design.shape[1]:
        raise ValueError(f"{len(design)} images cannot decide {design.shape[1]} unknowns")
    rank = int(torch.linalg.matrix_rank(design))
    if rank < design.shape[1]:
        raise ValueError(
            f"{y.shape[1]} attributes and a constant have rank {rank}: some are constant or depend on others"
        )
    vectors = torch.linalg.lstsq(design, codes.flatten(1).cpu().double()).solution[:-1]
    return vectors.reshape(-1, *codes.shape[1:]).to(codes)


def class_means(codes: Tensor, attributes: Tensor) -> Tensor:
    """The mean code of the images that have each attribute.

    Arguments:
        codes: Shape (N, ...).
        attributes: Binary, shape (N, A).

    Returns:
        Mean codes, shape (A, ...).

    Raises:
        ValueError: The numbers of rows differ, or no image has an attribute.

    References:
        AMR, section 3, on GAIA.
    """
    y = _checked(codes, attributes)
    counts = y.sum(0)
    if (counts == 0).any():
        missing = ", ".join(str(i) for i in (counts == 0).nonzero().flatten().tolist())
        raise ValueError(f"no image has attribute {missing}, so it has no mean")
    means = (y / counts).T @ codes.flatten(1).cpu().double()
    return means.reshape(-1, *codes.shape[1:]).to(codes)


def differences(codes: Tensor, attributes: Tensor) -> Tensor:
    """Mean code with an attribute minus mean code without it; adding it gives an image the attribute.

    Arguments, shapes and errors are those of `class_means`; an attribute that every image has is refused too.
    """
    return class_means(codes, attributes) - class_means(codes, 1 - attributes.cpu().double())


def edit(method: Autoencodes, x: Tensor, vector: Tensor, amount: float | Tensor = 1.0) -> Tensor:
    """Move images along an attribute: g(f(x) + amount v), without gradients and in portions that fit memory.

    Arguments:
        method: In evaluation mode.
        x: Images (B, C, H, W) in [-1, 1].
        vector: The vector of one attribute, of the shape of a code.
        amount: Multiple of the vector to add: a number, or one for each image, shape (B,). GAIA's figures use
            values up to 3.

    Raises:
        ValueError: The vector does not have the shape of this method's codes.
    """
    h = in_portions(method, "encode", x)
    if vector.shape != h.shape[1:]:
        raise ValueError(f"codes have shape {tuple(h.shape[1:])}, the vector {tuple(vector.shape)}")
    steps = torch.as_tensor(amount, dtype=h.dtype, device=h.device)
    return in_portions(method, "decode", h + steps.reshape(-1, *[1] * vector.ndim) * vector.to(h))


def _checked(codes: Tensor, attributes: Tensor) -> Tensor:
    if attributes.ndim != 2 or len(attributes) != len(codes):
        raise ValueError(f"attributes of shape {tuple(attributes.shape)} do not fit {len(codes)} codes")
    return attributes.cpu().double()  # in this order, because not every device supports double
