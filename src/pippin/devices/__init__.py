"""Devices: the compute devices of this machine, and the reason for each absent one.

In: `ComputeUnits`. Out: `ComputeDevice`s, with the engines that reach them.
"""

from .detect import all_compute_devices as all_compute_devices
from .detect import available_compute_devices as available_compute_devices
from .detect import devices_of as devices_of
from .device import ComputeDevice as ComputeDevice
from .device import DeviceKind as DeviceKind
