"""Causal convolutions: the state is the inputs that the next step still looks at.

Shapes: T steps, B rows, F inputs, H outputs, P inputs remembered, X numbers that one output is made of.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from streamcast.models.cells.cell import State
from streamcast.models.cells.recurrence import Unrolled, initialise
from streamcast.models.linear import RowLinear
from streamcast.models.spec import multiple_of_eight, within


def taps(x_TBF: Tensor, past_BPF: Tensor, kernel: int, dilation: int = 1) -> tuple[Tensor, Tensor]:
    """Return for each step the inputs it looks at, oldest first, [T, B, kernel·F], and the next past [B, P, F].

    The past must hold at least (kernel - 1)·dilation inputs, oldest first.
    """
    remembered = past_BPF.shape[1]
    line = torch.cat([past_BPF.transpose(0, 1), x_TBF])
    first = remembered - (kernel - 1) * dilation
    looked_at = [line[first + k * dilation :][: len(x_TBF)] for k in range(kernel)]
    return torch.cat(looked_at, -1), line[len(line) - remembered :].transpose(0, 1).contiguous()


class CausalConvolution(Unrolled):
    """Convolutions over the last inputs, one for each width k in ``kernels``, side by side.

    y = relu(W[x_{t-k+1}; ...; x_t] + b).  Before a recurrent cell it is the CNN-GRU of LSTNet (Lai 2018, arXiv
    1703.07015); several widths see several scales.
    """

    def __init__(self, inputs: int, channels: int = 32, kernels: Sequence[int] = (3,)) -> None:
        super().__init__()
        multiple_of_eight("channels", channels)
        within("the number of kernels", len(kernels), 1, 16)
        for kernel in kernels:
            within("kernel", kernel, 2, 512)
        self.inputs, self.outputs = inputs, channels * len(kernels)
        self.kernels = tuple(kernels)
        self.state_shape = {"past": (max(kernels) - 1, inputs)}
        linears = [RowLinear(kernel * inputs, channels) for kernel in kernels]
        for linear in linears:
            initialise(linear, 1)
        self.linears = nn.ModuleList(linears)

    def unroll(self, x_TBF: Tensor, state: State, dt_TB: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the outputs [T, B, H] and the last inputs."""
        del dt_TB
        outputs, past = [], state["past"]
        for kernel, linear in zip(self.kernels, self.linears, strict=True):
            x_TBX, past = taps(x_TBF, state["past"], kernel)
            outputs.append(linear(x_TBX).relu())
        return torch.cat(outputs, -1), {"past": past}


class WaveNet(Unrolled):
    """Gated causal convolutions whose dilation doubles from layer to layer (van den Oord 2016, arXiv 1609.03499).

    x⁰ = Wx + b;  z = tanh(Wf * xˡ + bf)⊙σ(Wg * xˡ + bg), * over K steps 2ˡ apart;  xˡ⁺¹ = xˡ + V z;  y = relu(Σ S z).
    It looks at (K - 1)(2ᴸ - 1) + 1 inputs.
    """

    def __init__(self, inputs: int, hidden: int = 32, layers: int = 6, kernel: int = 2) -> None:
        super().__init__()
        multiple_of_eight("hidden", hidden)
        within("layers", layers, 1, 12)
        within("kernel", kernel, 2, 16)
        self.inputs, self.outputs, self.kernel = inputs, hidden, kernel
        self.state_shape = {f"past{layer}": ((kernel - 1) * 2**layer, hidden) for layer in range(layers)}
        self.entry = RowLinear(inputs, hidden)
        gates = [RowLinear(kernel * hidden, 2 * hidden) for _ in range(layers)]
        mixers = [RowLinear(hidden, 2 * hidden) for _ in range(layers)]
        initialise(self.entry, 1)
        for linear in (*gates, *mixers):
            initialise(linear, 2)
        self.gates, self.mixers = nn.ModuleList(gates), nn.ModuleList(mixers)

    def unroll(self, x_TBF: Tensor, state: State, dt_TB: Tensor | None = None) -> tuple[Tensor, State]:
        """Return the outputs [T, B, H] and every layer's last inputs, a layer at a time."""
        del dt_TB
        x_TBH, after = self.entry(x_TBF), {}
        skips_TBH = torch.zeros_like(x_TBH)
        for layer, (gates, mixer) in enumerate(zip(self.gates, self.mixers, strict=True)):
            name = f"past{layer}"
            x_TBX, after[name] = taps(x_TBH, state[name], self.kernel, 2**layer)
            filter_TBH, gate_TBH = gates(x_TBX).chunk(2, -1)
            residual_TBH, skip_TBH = mixer(filter_TBH.tanh() * gate_TBH.sigmoid()).chunk(2, -1)
            x_TBH, skips_TBH = x_TBH + residual_TBH, skips_TBH + skip_TBH
        return skips_TBH.relu(), after
