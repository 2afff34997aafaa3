//! IPv6 packets on an interface that has IPv6 off.

use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade, is_plain};
use crate::host::link::NetworkLinks;
use crate::host::sysctl::Sysctl;
use crate::host::{HostState, Unseen};

/// The name of the cause.
const IPV6_OFF: &str = "ipv6_off";

/// The least MTU of IPv6 (RFC 8200, 5): the kernel takes IPv6 off a device that has a smaller one.
const LEAST_MTU: u32 = 1280;

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "IPv6",
    drops: &["IPV6DISABLED"],
    concerns: |case| case.has_reason("IPV6DISABLED"),
    judge,
    causes: &[CauseText {
        id: IPV6_OFF,
        title: "IPv6 is off on the interface",
        evidence: "net.ipv6.conf.INTERFACE.disable_ipv6; where there is none, the interface's MTU. Certain where \
                   the first is 1, or the MTU is below 1280.",
        cure: "sysctl(8) sets it to 0. The interface lost its addresses with IPv6: add them again.",
    }],
};

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let interface = case.input_interface()?;
    let setting = Sysctl::ipv6(interface, "disable_ipv6");
    match host.ask(&setting).as_deref() {
        Ok("0") => None,
        Ok(value) => Some(turned_off(interface, &setting, value, host)),
        Err(Unseen::Absent(_)) => narrow(interface, host),
        Err(_) => None,
    }
}

fn turned_off(interface: &str, setting: &Sysctl, value: &str, host: &HostState) -> CauseFinding {
    let name = setting.name();
    let all = Sysctl::ipv6("all", "disable_ipv6");
    let mut finding = CauseFinding::new(
        IPV6_OFF,
        Grade::Certain,
        format!("IPv6 is off on {interface}"),
    )
    .object(format!("sysctl {name}"))
    .seen(&name, value);
    if let Ok(value) = host.ask(&all) {
        finding = finding.seen(all.name(), value);
    }
    let finding = if is_plain(interface) {
        finding.cure(format!("sysctl -w {name}=0"))
    } else {
        finding
    };
    finding.advise("add the addresses again that the interface lost with IPv6")
}

fn narrow(interface: &str, host: &HostState) -> Option<CauseFinding> {
    let links = host.ask(&NetworkLinks).ok()?;
    let link = links.iter().find(|link| link.name == interface)?;
    if link.mtu >= LEAST_MTU {
        return None;
    }
    let finding = CauseFinding::new(
        IPV6_OFF,
        Grade::Certain,
        format!("{interface} has no IPv6, because its MTU is below {LEAST_MTU}"),
    )
    .object(format!("{interface} mtu {}", link.mtu))
    .seen(
        format!("ip link show {interface}"),
        format!("mtu {}", link.mtu),
    );
    Some(if is_plain(interface) {
        finding.cure(format!("ip link set dev {interface} mtu {LEAST_MTU}"))
    } else {
        finding
    })
}
