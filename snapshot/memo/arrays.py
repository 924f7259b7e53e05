"""How arrays and tensors are written: numpy's and torch's."""

from __future__ import annotations

import sys
from typing import Any

from snapshot.memo.kinds import reduced, write_state
from snapshot.memo.writing import Handler, Refusal, Writer, buffer, plain, sequence, special

_EXTENDED = 10  # bytes that count of a long double, of which the rest is never set


def raw(array: Any) -> bytes:
    """The form of the items of an array without objects, in the order of their indices."""
    np: Any = sys.modules["numpy"]

    dtype = array.dtype
    if dtype.names is not None and dtype.itemsize != sum(dtype[n].itemsize for n in dtype.names):
        return sequence(b"(", [raw(array[name]) for name in dtype.names])
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    if not array.nbytes:
        return plain(b"")
    octets = array.view(np.ndarray).reshape(-1).view("u1")
    if dtype.char in "gG" and dtype.itemsize % 16 == 0 and np.finfo("g").nmant == 63:
        octets = np.ascontiguousarray(octets.reshape(-1, 16)[:, :_EXTENDED]).reshape(-1)
    return buffer(memoryview(octets))


def items(writer: Writer, array: Any) -> bytes:
    """The form of the items of any array."""
    if array.dtype.hasobject:  # strings of any length have this, too
        return writer.write(array.reshape(-1).tolist())
    return raw(array)


def _ndarray(writer: Writer, array: Any) -> bytes:
    """Type of the items, shape, and order in memory: by rows, by columns, or not one block."""
    kind = type(array)
    form = _form(writer, array)
    np: Any = sys.modules["numpy"]
    if kind is np.ndarray:
        return special("ndarray", form)
    state: Any = object.__getstate__(array)
    if kind is np.memmap:
        state = None
    elif kind is np.ma.MaskedArray:
        state = {name: each for name, each in state.items() if name in _OF_MASKED}
    elif kind.__reduce__ is not np.ndarray.__reduce__ and not issubclass(kind, np.ma.MaskedArray):
        return special("ndarray", form, reduced(writer, array))
    return special("ndarray", form, writer.write(kind), write_state(writer, state))


# The other attributes of a masked array say how it was made.
_OF_MASKED = frozenset({"_mask", "_fill_value", "_hardmask", "_optinfo"})


def _form(writer: Writer, array: Any) -> bytes:
    array = array.view(sys.modules["numpy"].ndarray)
    flags = array.flags
    order = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
    return sequence(
        b"(",
        [
            writer.write(array.dtype),
            plain((array.shape, order)),
            items(writer, array.T if order == "F" else array),
        ],
    )


def _scalar(writer: Writer, scalar: Any) -> bytes:
    array = sys.modules["numpy"].asarray(scalar)
    return special("scalar", writer.write(type(scalar)), _form(writer, array))


def _dtype(writer: Writer, dtype: Any) -> bytes:
    if dtype.kind in "biufcmMSU" and dtype.isbuiltin < 2 and not dtype.metadata:
        return special("dtype", plain(dtype.str))
    return reduced(writer, dtype)


def _tensor(writer: Writer, tensor: Any) -> bytes:
    """Neither strides nor the number of a device count."""
    torch: Any = sys.modules["torch"]
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        raise Refusal("the tensor", "only a dense one that has its data can be told from another")
    flat = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    data = flat.view(torch.uint8).numpy() if flat.numel() else b""
    told = (str(tensor.dtype), tuple(tensor.shape), tensor.device.type, tensor.requires_grad)
    parts = [plain(told), buffer(memoryview(data))]
    if tensor.is_leaf and tensor.grad is not None:
        parts.append(writer.at(".grad", tensor.grad))
    if type(tensor) is torch.Tensor and not vars(tensor):
        return special("tensor", *parts)
    attributes = writer.mapping(vars(tensor).items(), ".{}")
    return special("tensor", writer.write(type(tensor)), attributes, *parts)


DERIVED: dict[str, Handler] = {
    "numpy.ndarray": _ndarray,
    "numpy.generic": _scalar,
    "numpy.dtype": _dtype,
    "torch.Tensor": _tensor,
}
