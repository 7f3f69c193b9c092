"""A network as a list of plain operations, which the page's JavaScript computes for one image at a time.

`torch.export` gives the operations; parts that depend on constants alone are computed here, once; parts that
nothing depends on are dropped. What remains are about twenty operations that `engine.js` knows.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from latentmix.networks import forms


class NoPage(ValueError):
    """A model that the page's JavaScript cannot compute, or that is too large for a page."""


@dataclass
class Graph:
    """What to compute, in order.

    Arguments:
        ops: One dictionary an operation: "op" its name, "in" the names of its operands, further settings.
            Operation number i makes the value named i; -1 is the input; strings name constants.
        constants: Weights and everything that follows from them alone, float32.
    """

    ops: list[dict[str, Any]] = field(default_factory=list)
    constants: dict[str, Tensor] = field(default_factory=dict)


def trace(module: nn.Module, example: Tensor, prefix: str) -> Graph:
    """List the operations of a module for one input.

    Arguments:
        module: Takes and gives one tensor.
        example: An input of batch size 1.
        prefix: Begins the names of the constants.

    Raises:
        NoPage: An operation that the page does not know; it is named.
    """
    with torch.no_grad(), forms.layer_by_layer():
        program = torch.export.export(module, (example,))
    graph = Graph()
    values: dict[str, Any] = {}
    state = {**program.state_dict, **program.constants}
    for spec in program.graph_signature.input_specs:
        kept = spec.target if spec.target in state else None
        values[spec.arg.name] = -1 if kept is None else state[kept]
    program.graph.eliminate_dead_code()
    for node in program.graph.nodes:
        if node.op == "call_function":
            values[node.name] = _take(graph, node, values, prefix)
    result = values[_result(program.graph).name]
    if not isinstance(result, int) or result < 0:
        raise NoPage("the output of this network does not depend on its input")
    return _trimmed(graph, result)


def _take(graph: Graph, node: fx.Node, values: dict[str, Any], prefix: str) -> Any:
    """The value of one node: computed where it is constant, else the number of a new operation."""
    arguments: Any = fx.map_arg(node.args, lambda n: values[n.name])
    settings: Any = fx.map_arg(node.kwargs, lambda n: values[n.name])
    shapes = fx.map_arg(node.args, lambda n: n.meta["val"])
    if node.target is operator.getitem:
        return arguments[0][arguments[1]]
    if not _depends(node, values):
        with torch.no_grad():
            return node.target(*arguments, **settings)  # type: ignore[operator]
    name = str(node.target).removeprefix("aten.").partition(".")[0].rstrip("_")
    if name in ("detach", "alias", "contiguous", "dropout", "feature_dropout", "clone"):
        return arguments[0]
    made = _translated(name, arguments, settings, shapes, node)
    if made is None:
        raise NoPage(f"the page cannot compute {name!r}, which this network needs; use `latentmix explore`")

    def add(op: dict[str, Any]) -> int:
        op["in"] = [_operand(graph, x, prefix) for x in op["in"]]
        graph.ops.append(op)
        return len(graph.ops) - 1

    return [add(op) for op in made] if isinstance(made, list) else add(made)


def _translated(name: str, a: Any, k: dict[str, Any], shapes: Any, node: fx.Node) -> Any:
    """One operation, a list of them for an operation with several results, or None."""
    make = _TABLE.get(name)
    if make is None:
        return None
    shape = [*node.meta["val"].shape] if isinstance(node.meta["val"], Tensor) else None
    return make(a, k, shapes, shape)


def _conv(a: tuple[Any, ...], k: Any, shapes: Any, shape: Any) -> Any:
    x, weight, bias, stride, pad, dilation, groups = (*a, *_DEFAULTS[len(a) :])
    pad = [pad, pad] if isinstance(pad, int) else list(pad)
    if groups != 1 or set(dilation) != {1} or isinstance(pad[0], str):
        return None
    return {
        "op": "conv",
        "in": [x, weight, *([] if bias is None else [bias])],
        "stride": _two(stride),
        "pad": _two(pad),
    }


def _transposed(a: tuple[Any, ...], k: Any, shapes: Any, shape: Any) -> Any:
    x, weight, bias, stride, pad, extra, groups, dilation = (*a, *_DEFAULTS_T[len(a) :])
    if groups != 1 or set(dilation) != {1}:
        return None
    settings = {"stride": _two(stride), "pad": _two(pad), "extra": _two(extra)}
    return {"op": "transposed", "in": [x, weight, *([] if bias is None else [bias])], **settings}


def _group_norm(a: tuple[Any, ...], k: Any, shapes: Any, shape: Any) -> Any:
    x, groups, weight, bias, eps = (*a, *(None, None, 1e-5)[len(a) - 2 :])[:5]
    return {"op": "norm", "in": [x, *_affine(weight, bias)], "groups": groups, "eps": eps}


def _instance_norm(a: Any, k: Any, shapes: Any, shape: Any) -> Any:
    x, weight, bias, _, _, own, _, eps, *_ = a
    channels = shapes[0].shape[1]
    return {"op": "norm", "in": [x, *_affine(weight, bias)], "groups": channels, "eps": eps} if own else None


def _batch_norm(a: Any, k: Any, shapes: Any, shape: Any) -> Any:
    x, weight, bias, mean, variance, training, _, eps, *_ = a
    if training or mean is None:
        return None
    scale = torch.rsqrt(variance + eps) * (1 if weight is None else weight)
    shift = (0 if bias is None else bias) - mean * scale
    return {"op": "scale", "in": [x, scale, shift]}


def _affine(weight: Any, bias: Any) -> list[Any]:
    return [] if weight is None else [weight, bias]


def _pool(a: Any, k: Any, shapes: Any, shape: Any) -> Any:
    size, stride = _two(a[1]), _two(a[2]) if len(a) > 2 and a[2] else _two(a[1])
    if size != stride or len(a) > 3:
        return None
    return {"op": "pool", "in": [a[0]], "size": size}


def _global_pool(a: Any, k: Any, shapes: Any, shape: Any) -> Any:
    if shape[2:] != [1, 1]:
        return None
    return {"op": "pool", "in": [a[0]], "size": [*shapes[0].shape[2:]]}


def _upsample(a: Any, k: Any, shapes: Any, shape: Any) -> Any:
    (height, width), (tall, wide) = shapes[0].shape[2:], shape[2:]
    if tall % height or wide % width:
        return None
    return {"op": "upsample", "in": [a[0]], "factor": [tall // height, wide // width]}


def _pad(a: Any, k: Any, shapes: Any, shape: Any) -> Any:
    left, right, top, bottom = a[1]
    mode = a[2] if len(a) > 2 else "constant"
    value = a[3] if len(a) > 3 and a[3] is not None else 0.0
    if mode not in ("reflect", "constant"):
        return None
    edges = [left, right, top, bottom]
    return {"op": "pad", "in": [a[0]], "edges": edges, "reflect": mode == "reflect", "value": value}


def _linear(a: Any, k: Any, shapes: Any, shape: Any) -> Any:
    return (
        {"op": "linear", "in": [*a[:3]]} if len(a) > 2 and a[2] is not None else {"op": "linear", "in": a[:2]}
    )


def _matmul(a: Any, k: Any, shapes: Any, shape: Any) -> Any:
    if not isinstance(a[1], Tensor) or a[1].ndim != 2:
        return None
    return {"op": "linear", "in": [a[0], a[1].T.contiguous()]}


def _view(a: Any, k: Any, shapes: Any, shape: Any) -> Any:
    return {"op": "view", "in": [a[0]], "shape": shape}


def _chunks(by_size: bool, a: Any, k: Any, shapes: Any, shape: Any) -> Any:
    dim = a[2] if len(a) > 2 else 0
    total = shapes[0].shape[dim]
    sizes = a[1] if by_size else -(-total // a[1])
    sizes = list(sizes) if isinstance(sizes, list | tuple) else [sizes] * (-(-total // sizes))
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    dim %= shapes[0].ndim
    return [
        {"op": "narrow", "in": [a[0]], "dim": dim, "start": s, "size": min(n, total - s)}
        for s, n in zip(starts, sizes)
    ]


def _cat(a: Any, k: Any, shapes: Any, shape: Any) -> Any:
    dim = a[1] if len(a) > 1 else 0
    return {"op": "cat", "in": list(a[0]), "dim": dim % len(shape)}


def _argmin(a: Any, k: Any, shapes: Any, shape: Any) -> Any:
    return {"op": "argmin", "in": [a[0]]} if len(a) > 1 and a[1] in (1, -1) and shapes[0].ndim == 2 else None


def _index(a: Any, k: Any, shapes: Any, shape: Any) -> Any:
    return {"op": "rows", "in": [a[0], a[1][0]]} if len(a[1]) == 1 and isinstance(a[0], Tensor) else None


def _binary(symbol: str) -> Callable[..., Any]:
    def make(a: Any, k: Any, shapes: Any, shape: Any) -> Any:
        if k.get("alpha", 1) != 1:
            return None
        first, second = a[0], a[1]
        # A number becomes a constant of one element; integers that are not operands need the distinction.
        pair = [x if _is_value(s) else torch.tensor(float(x)) for x, s in zip((first, second), shapes)]
        return {"op": symbol, "in": pair}

    return make


def _unary(name: str) -> Callable[..., Any]:
    return lambda a, k, shapes, shape: {"op": name, "in": [a[0]]}


_DEFAULTS: tuple[Any, ...] = (None, None, None, [1, 1], [0, 0], [1, 1], 1)
_DEFAULTS_T: tuple[Any, ...] = (None, None, None, [1, 1], [0, 0], [0, 0], 1, [1, 1])
_TABLE: dict[str, Callable[..., Any]] = {
    "conv2d": _conv,
    "conv_transpose2d": _transposed,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "batch_norm": _batch_norm,
    "leaky_relu": lambda a, k, s, shape: {"op": "leaky", "in": [a[0]], "slope": a[1] if len(a) > 1 else 0.01},
    "relu": lambda a, k, s, shape: {"op": "leaky", "in": [a[0]], "slope": 0},
    "avg_pool2d": _pool,
    "adaptive_avg_pool2d": _global_pool,
    "upsample_nearest2d": _upsample,
    "pad": _pad,
    "linear": _linear,
    "matmul": _matmul,
    "chunk": partial(_chunks, False),
    "split": partial(_chunks, True),
    "split_with_sizes": partial(_chunks, True),
    "cat": _cat,
    "argmin": _argmin,
    "index": _index,
    **dict.fromkeys(("flatten", "unflatten", "reshape", "view", "unsqueeze", "squeeze"), _view),
    "rsub": lambda a, k, shapes, shape: _binary("sub")(a[1::-1], k, shapes[1::-1], shape),
    **{name: _binary(name) for name in ("add", "sub", "mul", "div")},
    **{
        name: _unary(name)
        for name in ("tanh", "sigmoid", "silu", "exp", "square", "sqrt", "neg", "abs", "reciprocal")
    },
}


def _two(x: Any) -> list[int]:
    pair = [x, x] if isinstance(x, int) else list(x)
    return pair * 2 if len(pair) == 1 else pair


def _is_value(meta: Any) -> bool:
    return isinstance(meta, Tensor)


def _depends(node: fx.Node, values: dict[str, Any]) -> bool:
    """Whether a node depends on the input: one of its operands is the number of an operation."""

    def number(value: Any) -> bool:
        return isinstance(value, int) or (isinstance(value, list | tuple) and any(map(number, value)))

    return any(number(values[n.name]) for n in node.all_input_nodes)


def _operand(graph: Graph, value: Any, prefix: str) -> int | str:
    if isinstance(value, int):
        return value
    value = value.detach().float().contiguous()
    for name, known in graph.constants.items():
        if known.shape == value.shape and known.data_ptr() == value.data_ptr():
            return name
    name = f"{prefix}{len(graph.constants)}"
    graph.constants[name] = value
    return name


def _result(graph: fx.Graph) -> fx.Node:
    (output,) = (node for node in graph.nodes if node.op == "output")
    (result,) = output.all_input_nodes
    return result


def _trimmed(graph: Graph, result: int) -> Graph:
    """Only what the result needs, numbered anew; the result comes last."""
    needed = {result}
    for i in range(result, -1, -1):
        if i in needed:
            needed |= {x for x in graph.ops[i]["in"] if isinstance(x, int)}
    order = [i for i in range(result + 1) if i in needed]
    new = {old: i for i, old in enumerate(order)} | {-1: -1}
    ops = [
        {**graph.ops[i], "in": [new[x] if isinstance(x, int) else x for x in graph.ops[i]["in"]]}
        for i in order
    ]
    used = {x for op in ops for x in op["in"] if isinstance(x, str)}
    return Graph(ops, {name: value for name, value in graph.constants.items() if name in used})
