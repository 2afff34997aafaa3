//! The kernel's drop monitor: there or not, idle or busy.

use super::capabilities::cure;
use super::host::{HostFacts, Listener};
use super::{Finding, Refused};
use crate::net_dm::control::{Control, ControlError};
use crate::net_dm::socket::{KernelConversation, Loading};

const SUBJECT: &str = "NET_DM";
/// The module's file, as `modules.dep` has it.
const MODULE: &str = "/drop_monitor.ko";

/// The answers of the drop monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MonitorState {
    /// It does not answer.
    NotThere(ControlError),
    /// It is there. Only with CAP_NET_ADMIN it tells that it monitors.
    There {
        /// It monitors.
        is_on: Result<bool, ControlError>,
        /// Asking for it loaded the module, as every capture does.
        was_loaded: bool,
    },
}

impl MonitorState {
    /// Asks the drop monitor. `host` was read before.
    pub fn ask(host: &HostFacts) -> Self {
        match KernelConversation::open(Loading::Allowed) {
            Err(error) => Self::NotThere(error),
            Ok(conversation) => {
                let now = std::fs::read_to_string("/proc/modules").unwrap_or_default();
                Self::There {
                    is_on: Control::new(conversation).is_monitoring(),
                    was_loaded: has_module(&now) && !has_module(&host.modules),
                }
            }
        }
    }

    /// Returns whether a capture would not disturb anybody.
    pub fn is_idle(&self) -> bool {
        matches!(
            self,
            Self::There {
                is_on: Ok(false),
                ..
            }
        )
    }
}

/// Returns whether the list of loaded modules has the drop monitor's.
fn has_module(modules: &str) -> bool {
    modules
        .lines()
        .any(|line| line.starts_with("drop_monitor "))
}

/// Returns the line about the drop monitor. `refused` is the refusal of a capture with it, after it had
/// answered.
pub fn finding(host: &HostFacts, state: &MonitorState, refused: Option<&Refused>) -> Finding {
    let (is_on, was_loaded) = match state {
        MonitorState::NotThere(error) => return not_there(host, error),
        MonitorState::There { is_on, was_loaded } => (is_on, *was_loaded),
    };
    let loaded = if was_loaded {
        "; its module was loaded for this check, as for every capture"
    } else {
        ""
    };
    let listeners = &host.listeners;
    match is_on {
        Err(error) => Finding::no(
            SUBJECT,
            format!("{error}; {}{loaded}", listening(listeners)),
            cure(host),
        ),
        Ok(true) if listeners.is_empty() => Finding::no(
            SUBJECT,
            "busy, and nobody listens: it was left on by a program that was killed",
            "`dwdump -e` stops it",
        ),
        Ok(true) => Finding::no(
            SUBJECT,
            format!("busy; {}", listening(listeners)),
            "`dwdump -p` listens along, `--force` takes over (and stops the other), `dwdump -e` stops it",
        ),
        Ok(false) => match refused {
            None => Finding::yes(SUBJECT, format!("idle; {}{loaded}", listening(listeners))),
            Some(refused) => Finding::no(
                SUBJECT,
                refused.error.as_str(),
                refused.hint.as_deref().unwrap_or(cure(host)),
            ),
        },
    }
}

/// Explains why the drop monitor does not answer.
fn not_there(host: &HostFacts, error: &ControlError) -> Finding {
    if !error.is_unloaded() {
        let cure = error.hint().unwrap_or(cure(host));
        return Finding::no(SUBJECT, error.to_string(), cure);
    }
    let namespaces = (&host.own_namespace, &host.first_namespace);
    let is_elsewhere = matches!(namespaces, (Some(own), Some(first)) if own != first);
    if is_elsewhere || has_module(&host.modules) {
        return Finding::no(
            SUBJECT,
            "it answers in the initial network namespace alone, and this is another",
            "run dwdump on the host, outside containers, or with `nsenter -t 1 -n dwdump …`",
        );
    }
    match &host.loadable {
        Some(list) if list.contains(MODULE) => Finding::no(
            SUBJECT,
            "its module drop_monitor is there, and not loaded",
            if host.is_root {
                "`modprobe drop_monitor`"
            } else {
                "`sudo modprobe drop_monitor`"
            },
        ),
        Some(_) => Finding::no(
            SUBJECT,
            "this kernel has no module drop_monitor",
            "nothing to do: eBPF captures without it; hardware drops need a kernel with CONFIG_NET_DROP_MONITOR",
        ),
        None => Finding::no(
            SUBJECT,
            "it does not answer, and this kernel's modules are not in /lib/modules",
            "`modprobe drop_monitor` on the host, outside containers; eBPF captures without it",
        ),
    }
}

/// Says who listens: `dwdump (process 7) listens`.
fn listening(listeners: &[Listener]) -> String {
    let names = listeners.iter().map(|listener| match &listener.process {
        Some((name, number)) => format!("{name} (process {number})"),
        None => "somebody".to_owned(),
    });
    let names: Vec<_> = names.collect();
    match names.as_slice() {
        [] => "nobody listens".into(),
        [one] => format!("{one} listens"),
        [others @ .., last] => format!("{} and {last} listen", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net_dm::control::{Operation, Refusal};

    const LOADED: &str =
        "drop_monitor 28672 0 - Live 0x0000000000000000\nveth 45056 0 - Live 0x0\n";
    const DEPENDENCIES: &str =
        "kernel/net/core/drop_monitor.ko.xz:\nkernel/net/core/pktgen.ko.xz:\n";

    fn error(operation: Operation, errno: i32) -> ControlError {
        let refusal = Refusal { errno, words: None };
        ControlError { operation, refusal }
    }

    fn there(is_on: Result<bool, i32>) -> MonitorState {
        MonitorState::There {
            is_on: is_on.map_err(|errno| error(Operation::Probe, errno)),
            was_loaded: false,
        }
    }

    fn listener(name: &str, number: u32) -> Listener {
        Listener {
            process: Some((name.into(), number)),
        }
    }

    #[track_caller]
    fn check(host: &HostFacts, state: &MonitorState, wanted: &str) {
        assert_eq!(finding(host, state, None).to_string(), wanted);
    }

    #[test]
    fn an_idle_monitor_is_fine_whoever_listens() {
        let mut host = HostFacts::default();
        let idle = there(Ok(false));
        check(&host, &idle, "ok    NET_DM: idle; nobody listens");
        host.listeners = vec![listener("dwdump", 7)];
        check(
            &host,
            &idle,
            "ok    NET_DM: idle; dwdump (process 7) listens",
        );
        let loaded = MonitorState::There {
            is_on: Ok(false),
            was_loaded: true,
        };
        host.listeners.clear();
        check(
            &host,
            &loaded,
            "ok    NET_DM: idle; nobody listens; its module was loaded for this check, as for every capture",
        );
        assert!(idle.is_idle() && loaded.is_idle());
        assert!(!there(Ok(true)).is_idle() && !there(Err(libc::EPERM)).is_idle());
    }

    #[test]
    fn a_busy_monitor_is_left_to_whoever_has_it() {
        let mut host = HostFacts::default();
        let busy = there(Ok(true));
        check(
            &host,
            &busy,
            "no    NET_DM: busy, and nobody listens: it was left on by a program that was killed\n      \
             `dwdump -e` stops it",
        );
        host.listeners = vec![
            listener("dwdump", 7),
            Listener { process: None },
            listener("dropwatch", 8),
        ];
        check(
            &host,
            &busy,
            "no    NET_DM: busy; dwdump (process 7), somebody and dropwatch (process 8) listen\n      \
             `dwdump -p` listens along, `--force` takes over (and stops the other), `dwdump -e` stops it",
        );
    }

    #[test]
    fn without_the_right_to_ask_it_says_so() {
        check(
            &HostFacts::default(),
            &there(Err(libc::EPERM)),
            "no    NET_DM: cannot find out whether monitoring is on: Operation not permitted; nobody listens\n      \
             run `sudo dwdump …`",
        );
    }

    #[test]
    fn a_refused_capture_is_explained() {
        let refused = Refused {
            error: "cannot listen to the drop monitor: Operation not permitted".into(),
            hint: Some("run as root".into()),
        };
        let line = finding(&HostFacts::default(), &there(Ok(false)), Some(&refused)).to_string();
        assert_eq!(
            line,
            "no    NET_DM: cannot listen to the drop monitor: Operation not permitted\n      run as root"
        );
    }

    #[test]
    fn a_missing_monitor_is_missing_for_a_reason() {
        let missing = MonitorState::NotThere(error(Operation::Resolve, libc::ENOENT));
        let host = HostFacts {
            is_root: true,
            own_namespace: Some("net:[4026531840]".into()),
            first_namespace: Some("net:[4026531840]".into()),
            loadable: Some(DEPENDENCIES.into()),
            ..HostFacts::default()
        };
        check(
            &host,
            &missing,
            "no    NET_DM: its module drop_monitor is there, and not loaded\n      `modprobe drop_monitor`",
        );
        let none = HostFacts {
            loadable: Some("kernel/net/core/pktgen.ko.xz:\n".into()),
            ..host.clone()
        };
        check(
            &none,
            &missing,
            "no    NET_DM: this kernel has no module drop_monitor\n      \
             nothing to do: eBPF captures without it; hardware drops need a kernel with CONFIG_NET_DROP_MONITOR",
        );
        let unknown = HostFacts {
            loadable: None,
            ..host.clone()
        };
        check(
            &unknown,
            &missing,
            "no    NET_DM: it does not answer, and this kernel's modules are not in /lib/modules\n      \
             `modprobe drop_monitor` on the host, outside containers; eBPF captures without it",
        );
        // In a container, as root and as nobody, who may not look at process 1.
        for host in [
            HostFacts {
                first_namespace: Some("net:[4026531841]".into()),
                ..host.clone()
            },
            HostFacts {
                first_namespace: None,
                modules: LOADED.into(),
                ..host.clone()
            },
        ] {
            check(
                &host,
                &missing,
                "no    NET_DM: it answers in the initial network namespace alone, and this is another\n      \
                 run dwdump on the host, outside containers, or with `nsenter -t 1 -n dwdump …`",
            );
        }
        let other = MonitorState::NotThere(error(Operation::Resolve, libc::EMFILE));
        check(
            &host,
            &other,
            "no    NET_DM: cannot find the NET_DM netlink family: Too many open files\n      \
             run dwdump on the host, where root has it, outside containers and services",
        );
    }
}
