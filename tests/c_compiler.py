"""Whether this machine has a C compiler. One that fails on our code is a failure, not a reason to skip."""

from __future__ import annotations

import pytest

from awbench.records.environment import c_compiler, c_compiler_command

needs_compiler = pytest.mark.skipif(c_compiler(c_compiler_command()) == "none", reason="no C compiler")
