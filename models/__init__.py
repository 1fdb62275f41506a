"""Forecasters: torch only, and nothing of the other wings.

Read in this order:

- ``spec.py``: a JSON spec becomes the thing it names, or an error that says why not
- ``linear.py``: a linear layer whose rows do not depend on each other
- ``cell.py``: what a recurrent cell is; ``fold``, the definition of a sequence
- ``recurrence.py``: what does not read the state is done for all steps at once
- ``gated.py``: RNN, GRU and LSTM on torch's fused kernels
- ``gates.py``: GRU and LSTM spelled out, with options; DeltaGRU
- ``convolution.py``: causal convolutions, WaveNet
- ``elementwise.py``: minGRU, QRNN, SRU
- ``continuous.py``: CfC, LTC, ODE-RNN, UnICORNN
- ``memory.py``: mLSTM, sLSTM, a Turing machine's memory
- ``patch.py``: a GRU over patches that answers at every bar
- ``attention.py``: over features, over past outputs, across scales
- ``stack.py``: cells one above the other, itself a cell
- ``encoder.py``: encoders that read a whole window anew
- ``decoder.py``: from a context to numbers for every step of the horizon
- ``window.py``: what forecasts from the window of lags, beside the linear highway
- ``head.py``: what those numbers mean: quantiles, and the loss
- ``zoo.py``: every name that a spec may use
- ``network.py``: ``build``: spec and shape in, ``Network`` out
- ``catalogue.py``: what the zoo holds and what each model costs, told and measured
- ``int8.py``: weights that are kept as bytes
- ``compress.py``: int8, pruning and distillation of what was trained
- ``handover.py``: weights that one network takes over from another
- ``advisor.py``: which architecture for which task
"""
