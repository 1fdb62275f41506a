"""What the fork server of ``commands`` imports and compiles once for all commands."""

import streamcast.app.cli
import streamcast.app.commands.backtest
import streamcast.app.commands.check
import streamcast.app.commands.demo
import streamcast.app.commands.dlq
import streamcast.app.commands.replay
import streamcast.app.commands.state
import streamcast.app.commands.train
import streamcast.app.commands.verify
import streamcast.app.forecaster
from deploy import compile_kernels

__all__ = ["streamcast"]

compile_kernels.compile_all()
