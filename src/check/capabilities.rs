//! The capabilities of this process, each with what it is for.

use super::Finding;
use super::host::HostFacts;

/// A capability: its number (linux/capability.h), its name, and what it is for.
struct Capability {
    bit: u32,
    name: &'static str,
    purpose: &'static str,
    /// CAP_SYS_ADMIN includes it.
    is_included: bool,
}

const SYS_ADMIN: u32 = 21;

const CAPABILITIES: [Capability; 6] = [
    Capability {
        bit: 12,
        name: "CAP_NET_ADMIN",
        purpose: "starts NET_DM's monitoring",
        is_included: false,
    },
    Capability {
        bit: SYS_ADMIN,
        name: "CAP_SYS_ADMIN",
        purpose: "listens to NET_DM, since Linux 6.7",
        is_included: false,
    },
    Capability {
        bit: 39,
        name: "CAP_BPF",
        purpose: "loads eBPF programs",
        is_included: true,
    },
    Capability {
        bit: 38,
        name: "CAP_PERFMON",
        purpose: "lets them read packets",
        is_included: true,
    },
    Capability {
        bit: 14,
        name: "CAP_IPC_LOCK",
        purpose: "allows large eBPF buffers, for floods",
        is_included: false,
    },
    Capability {
        bit: 34,
        name: "CAP_SYSLOG",
        purpose: "shows the kernel's addresses, for whole symbols of the drop monitor",
        is_included: false,
    },
];

/// Returns a line for each capability.
pub fn findings(host: &HostFacts) -> Vec<Finding> {
    let held = effective(&host.status).unwrap_or(0);
    let has = |bit: u32| held >> bit & 1 == 1;
    let counts = is_initial(&host.uid_map);
    let findings = CAPABILITIES.iter().map(|capability| {
        let Capability { name, purpose, .. } = *capability;
        if !counts && has(capability.bit) {
            Finding::no(
                name,
                format!("held in a user namespace only; it {purpose}"),
                "run dwdump on the host, outside containers: there, it counts",
            )
        } else if has(capability.bit) {
            Finding::yes(name, purpose)
        } else if capability.is_included && counts && has(SYS_ADMIN) {
            Finding::yes(name, format!("CAP_SYS_ADMIN includes it; it {purpose}"))
        } else {
            Finding::no(name, format!("missing; it {purpose}"), cure(host))
        }
    });
    findings.collect()
}

/// Returns the cure for a missing right.
pub fn cure(host: &HostFacts) -> &'static str {
    if host.is_root {
        "run dwdump on the host, where root has it, outside containers and services"
    } else {
        "run `sudo dwdump …`"
    }
}

/// Returns the effective capabilities that `/proc/PID/status` tells, a bit each.
fn effective(status: &str) -> Option<u64> {
    let mut lines = status.lines();
    let digits = lines.find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(digits.trim(), 16).ok()
}

/// Returns whether a process with this `/proc/PID/uid_map` is in the initial user namespace, where every
/// user is himself.
pub fn is_initial(uid_map: &str) -> bool {
    let words: Vec<_> = uid_map.split_ascii_whitespace().collect();
    // What cannot be read is taken for the usual.
    words.is_empty() || words == ["0", "0", "4294967295"]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a root shell, Linux 6.12.
    const ROOT: &str = "Name:\tcat\nUid:\t0\t0\t0\t0\nCapInh:\t0000000000000000\n\
        CapPrm:\t000001ffffffffff\nCapEff:\t000001ffffffffff\nCapBnd:\t000001ffffffffff\n";
    const INITIAL: &str = "         0          0 4294967295\n";

    fn host(status: &str) -> HostFacts {
        HostFacts {
            status: status.into(),
            uid_map: INITIAL.into(),
            ..HostFacts::default()
        }
    }

    fn missing(host: &HostFacts) -> Vec<String> {
        let findings = findings(host).into_iter();
        let findings = findings.filter(|finding| !finding.is_ok());
        findings.map(|finding| finding.subject).collect()
    }

    #[test]
    fn root_has_all_and_a_user_none() {
        assert_eq!(missing(&host(ROOT)), [""; 0]);
        let user = host("CapEff:\t0000000000000000\n");
        assert_eq!(missing(&user).len(), CAPABILITIES.len());
        let lines = findings(&user);
        assert_eq!(
            lines[2].to_string(),
            "no    CAP_BPF: missing; it loads eBPF programs\n      run `sudo dwdump …`"
        );
        // Nothing is known.
        assert_eq!(missing(&host("Name:\tcat\n")).len(), CAPABILITIES.len());
    }

    #[test]
    fn each_missing_one_is_named() {
        // CAP_BPF and CAP_PERFMON alone.
        assert_eq!(
            missing(&host("CapEff:\t000000c000000000\n")),
            [
                "CAP_NET_ADMIN",
                "CAP_SYS_ADMIN",
                "CAP_IPC_LOCK",
                "CAP_SYSLOG"
            ]
        );
        // CAP_NET_ADMIN, CAP_SYS_ADMIN and CAP_SYSLOG, as the copy for a group has them.
        assert_eq!(
            missing(&host("CapEff:\t0000000400201000\n")),
            ["CAP_IPC_LOCK"]
        );
    }

    #[test]
    fn those_of_a_user_namespace_count_for_nothing() {
        let host = HostFacts {
            uid_map: "         0       1000          1\n".into(),
            is_root: true,
            ..host(ROOT)
        };
        assert_eq!(missing(&host).len(), CAPABILITIES.len());
        let line = findings(&host)[0].to_string();
        assert!(line.contains("user namespace only"), "{line}");
        assert!(line.contains("outside containers"), "{line}");
    }

    #[test]
    fn root_without_a_capability_is_sent_out_of_the_container() {
        let host = HostFacts {
            is_root: true,
            // Docker's default.
            ..host("CapEff:\t00000000a80425fb\n")
        };
        assert_eq!(missing(&host).len(), CAPABILITIES.len());
        let line = findings(&host)[0].to_string();
        assert!(line.contains("on the host"), "{line}");
        assert!(!line.contains("sudo"), "{line}");
    }
}
