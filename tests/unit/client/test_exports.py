"""What the package offers is there, and costs nothing before it is used."""

import subprocess
import sys

import pytest

import vibehq_nb
import vibehq_nb.client


@pytest.mark.parametrize("package", [vibehq_nb, vibehq_nb.client])
def test_every_public_name_is_there(package):
    assert all(hasattr(package, name) for name in package.__all__)


@pytest.mark.parametrize("package", [vibehq_nb, vibehq_nb.client])
def test_another_name_is_not(package):
    with pytest.raises(AttributeError, match="nosuch"):
        _ = package.nosuch


def test_an_import_alone_loads_no_websocket_library():
    code = "import sys, vibehq_nb.client; print('websockets' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"
