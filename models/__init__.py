"""Forecasters: they need torch and nothing else.

In reading order:

- ``spec.py``: builds what a JSON spec names, or says why it cannot
- ``linear.py``: a linear layer whose rows do not depend on each other
- ``cells/``: everything recurrent

  - ``cell.py``: the contract of a cell; ``fold`` defines a sequence
  - ``recurrence.py``: two ways to run a sequence faster than step by step
  - ``fused.py``: RNN, GRU and LSTM on torch's fused kernels
  - ``gated.py``: GRU and LSTM gate by gate, with options; DeltaGRU
  - ``elementwise.py``: minGRU, QRNN, SRU
  - ``continuous.py``: CfC, LTC, ODE-RNN, UnICORNN
  - ``convolution.py``: causal convolutions, WaveNet
  - ``patch.py``: a GRU over patches that answers at every bar
  - ``matrix_memory.py``: mLSTM, sLSTM, a Turing machine's memory
  - ``stack.py``: cells on top of each other or side by side, again a cell

- ``readout/``: from states to a horizon

  - ``attention.py``: over features, over past outputs and across scales
  - ``encoder.py``: encoders that re-read a whole window
  - ``decoder.py``: from a context to numbers for every step of the horizon
  - ``aligned.py``: for each step, what is known at the cutoff about its own bar
  - ``head.py``: the distribution that those numbers describe, and its loss
  - ``lag_window.py``: a forecaster from the lags, beside the linear highway

- ``zoo.py``: every name that a spec may use
- ``network.py``: recurrent stacks and one read-out, together a ``Network``
- ``ensemble.py``: several networks whose mean forecasts
- ``build.py``: spec and shape in, ``Network`` out
- ``int8.py``: weights stored as bytes
- ``surgery/``: ``compress.py`` (int8, pruning, distillation), ``handover.py`` (weights from another network)
- ``guide/``: ``catalogue.py`` (what each model is and costs), ``advisor.py`` (which one fits a task)
"""
