"""What the fork server of ``commands`` imports and compiles once for all commands."""

import kafka

import streamcast.app.cli
import streamcast.app.commands.demo
import streamcast.app.commands.deployment.check.command
import streamcast.app.commands.deployment.dlq
import streamcast.app.commands.deployment.state
import streamcast.app.commands.deployment.verify
import streamcast.app.commands.files.backtest
import streamcast.app.commands.files.replay
import streamcast.app.commands.files.train
import streamcast.app.forecaster
from deploy import compile_kernels

__all__ = ["kafka", "streamcast"]

compile_kernels.compile_all()
