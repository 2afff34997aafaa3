"""Hardware drops, of a simulated switch (netdevsim)."""

import os
import pathlib

from network import command

COOKIE = "deadbeef00112233"
SWITCH = "netdevsim/netdevsim1337"


def hardware_setup(module, traps=("blackhole_route",)):
    """Makes a simulated switch that drops one packet every 100 ms for each of these
    traps (and for `fid_miss` and `ttl_value_is_too_small`, always), and returns how to
    recognise them. `module` is the netdevsim.ko built for this kernel."""
    command("modprobe", "psample")
    command("insmod", module)
    pathlib.Path("/sys/bus/netdevsim/new_device").write_text("1337 1")
    # The switch starts to drop when its port is up.
    (port,) = os.listdir("/sys/bus/netdevsim/devices/netdevsim1337/net")
    command("ip", "link", "set", port, "up")
    # The cookie that a tc rule would have; this switch has one for all.
    if not os.path.ismount("/sys/kernel/debug"):
        command("mount", "-t", "debugfs", "none", "/sys/kernel/debug")
    debug = pathlib.Path("/sys/kernel/debug/netdevsim/netdevsim1337")
    (debug / "trap_flow_action_cookie").write_text(COOKIE + "\n")  # EINVAL without the newline.
    for trap in traps:
        hardware_trap(trap, "trap")
    # What netdevsim invents: nsim_dev_trap_skb_build() in drivers/net/netdevsim/dev.c.
    invented = {"ifname": port, "src": "192.0.2.1", "dst": "198.51.100.1", "proto": 17}
    return [
        {"trap": trap, "cookie": COOKIE if trap.endswith("_flow_action_drop") else None} | invented
        for trap in traps
    ]


def hardware_trap(trap, action):
    """Turns the reporting of one trap on (`trap`) or off (`drop`)."""
    command("devlink", "trap", "set", SWITCH, "trap", trap, "action", action)
