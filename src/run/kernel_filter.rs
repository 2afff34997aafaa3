//! The part of the filter that runs in the kernel: attaches it, reports on it, and shows it.

use std::error::Error;
use std::fmt::Write;
use std::io;

use super::diagnostics::{hint, note, say};
use crate::bpf::{self, BpfProgram};
use crate::cli::{Filtering, SourceChoice};
use crate::ebpf::program::filter::listing;
use crate::ebpf::reasons::Reasons;
use crate::ebpf::tracer::TracerError;
use crate::errno::strerror;
use crate::filter::{Filter, KernelFilter, KernelPart, NotInKernel};
use crate::net_dm::socket::AlertSocket;
use crate::net_dm::{family, listeners};

/// The reason for which one listener's filter in the kernel disturbs the others.
const REPORTED_AS_DROPS: &str = "this kernel reports an alert as a drop of its own when another listener receives it and a \
     filter rejects it; --kernel-filter works while dwdump is the only listener";

/// The state of a filter's part that runs in the kernel.
pub enum Attached {
    /// The user asked for no filter in the kernel.
    Unwanted,
    /// The kernel can run no part of this filter.
    Impossible(NotInKernel),
    /// The kernel refused the program.
    Refused(io::Error),
    /// The kernel refused the eBPF program with the filter in it.
    NotLoaded(TracerError),
    /// This many other sockets listen, and the kernel would report to them every alert that it
    /// rejects here.
    Disturbing(usize),
    /// The kernel rejects the alerts that do not match this part.
    Part(KernelPart),
    /// The filter was detached, because the kernel reported a rejected alert as a drop.
    Withdrawn,
}

impl Attached {
    /// Attaches the part of `filter` that the kernel can run, if a filter in the kernel is wanted.
    /// A refusal is not an error, because this process applies the whole filter in any case.
    pub fn new(alerts: &AlertSocket, filter: Option<&Filter>) -> Self {
        let Some(filter) = filter else {
            return Self::Unwanted;
        };
        match other_listeners(alerts) {
            Ok(others @ 1..) if reports_rejected_alerts() => return Self::Disturbing(others),
            // A listener that is missed here is detected when its alerts arrive.
            Ok(_) | Err(_) => {}
        }
        let mut max_len = bpf::MAX_LEN;
        let mut refusal = None;
        loop {
            let kernel = match filter.in_kernel(alerts.family(), max_len) {
                Ok(kernel) => kernel,
                Err(why) => return refusal.map_or(Self::Impossible(why), Self::Refused),
            };
            match alerts.attach_filter(&kernel.program) {
                Ok(()) => return Self::Part(kernel.part),
                // The limit is net.core.optmem_max, in bytes of the converted program: a shorter
                // one may be accepted.
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => refusal = Some(error),
                Err(error) => return Self::Refused(error),
            }
            max_len = kernel.program.len() - 1;
        }
    }

    /// Makes the filter for an eBPF program, if a filter in the kernel is wanted. It is yet to be loaded.
    pub fn for_ebpf(filter: Option<&Filter>, reasons: &Reasons) -> (Self, Option<BpfProgram>) {
        let Some(filter) = filter else {
            return (Self::Unwanted, None);
        };
        match filter.in_program(reasons, bpf::MAX_LEN) {
            Ok(kernel) => (Self::Part(kernel.part), Some(kernel.program)),
            Err(why) => (Self::Impossible(why), None),
        }
    }

    /// Detaches the filter after a rejected alert became a drop of its own. This process goes on
    /// filtering.
    pub fn withdraw(&mut self, detach: impl FnOnce() -> io::Result<()>) {
        say("the kernel filter was turned off: dwdump filters all drops itself");
        hint(REPORTED_AS_DROPS);
        if let Err(error) = detach() {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            say(format_args!(
                "cannot detach the filter from the socket: {}",
                strerror(errno)
            ));
        }
        *self = Self::Withdrawn;
    }

    /// Returns whether the kernel rejects alerts.
    pub fn rejects(&self) -> bool {
        matches!(self, Self::Part(_))
    }

    /// Reports the state of the filter in the kernel.
    pub fn tell(&self) {
        match self {
            // A withdrawal is reported when it happens.
            Self::Unwanted | Self::Withdrawn => {}
            Self::Impossible(NotInKernel::Nothing) => {
                say("--kernel-filter: no part of this filter can run in the kernel");
                hint(
                    "addresses, ports, protocols, lengths, reasons and origins can, joined to the rest by `and`; \
                     dwdump-filter(7) has the list",
                );
            }
            Self::Impossible(NotInKernel::TooLong) => {
                say("--kernel-filter: this filter is too long for the kernel");
                hint(
                    "dwdump filters all drops itself; to shorten the filter, write a network instead of many hosts",
                );
            }
            Self::Refused(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                say(format_args!(
                    "--kernel-filter: cannot attach the filter to the socket: {}",
                    strerror(errno)
                ));
                hint(if errno == libc::ENOMEM {
                    "it is too long for the sysctl net.core.optmem_max: dwdump filters all drops itself"
                } else {
                    "dwdump filters all drops itself"
                });
            }
            Self::NotLoaded(error) => {
                let because = error.source().map(|source| format!(": {source}"));
                let because = because.unwrap_or_default();
                say(format_args!("--kernel-filter: {error}{because}"));
                hint("dwdump filters all drops itself");
            }
            Self::Disturbing(others) => {
                let who = match others {
                    1 => "another program listens".into(),
                    more => format!("{more} other programs listen"),
                };
                say(format_args!(
                    "--kernel-filter: {who} to the drop monitor: dwdump filters all drops itself"
                ));
                hint(REPORTED_AS_DROPS);
            }
            Self::Part(KernelPart::Whole) => note("filtering in the kernel: the whole filter"),
            Self::Part(part) => {
                note(format_args!(
                    "filtering in the kernel: {part}; dwdump filters the rest"
                ));
            }
        }
    }
}

/// Counts the sockets that listen to the drop monitor beside this one.
fn other_listeners(alerts: &AlertSocket) -> io::Result<usize> {
    listeners::others(alerts.port()?)
}

/// Returns whether this kernel reports an alert that it frees as a dropped packet. Linux 6.1 does
/// not; 6.12 and 7.2 do; those in between were not tested.
fn reports_rejected_alerts() -> bool {
    let release = nix::sys::utsname::uname();
    let release = release
        .as_ref()
        .map(|uname| uname.release().to_string_lossy());
    release.map_or(true, |release| is_after_6_1(&release))
}

/// Returns whether a release, such as `6.12.107+deb13-amd64`, is later than 6.1.
fn is_after_6_1(release: &str) -> bool {
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map(|digits| digits.parse::<u32>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) => (major, minor) > (6, 1),
        _ => true,
    }
}

/// Returns a filter and the program that the kernel would run for it, as text.
pub fn shown(filter: &Filter, filtering: Filtering, source: SourceChoice) -> String {
    let mut text = format!("{filter}\n");
    if filtering == Filtering::UserSpace {
        return text;
    }
    let shown = match source {
        SourceChoice::Auto | SourceChoice::NetDm => {
            let kernel = filter.in_kernel(family::FALLBACK_ID, bpf::MAX_LEN);
            kernel.map(|KernelFilter { part, program }| (part, program.len(), program.to_string()))
        }
        SourceChoice::Ebpf => {
            let kernel = filter.in_program(&Reasons::of_running_kernel(), bpf::MAX_LEN);
            kernel.map(|KernelFilter { part, program }| {
                let listing = listing(&program);
                (part, listing.len(), listing.to_string())
            })
        }
    };
    let _ = match shown {
        Err(NotInKernel::Nothing) => writeln!(text, "in the kernel: nothing"),
        Err(NotInKernel::TooLong) => writeln!(
            text,
            "in the kernel: nothing, because the filter is too long"
        ),
        Ok((part, len, program)) => {
            write!(
                text,
                "in the kernel: {part} ({len} instructions)\n{program}"
            )
        }
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_their_first_two_numbers() {
        #[track_caller]
        fn check(release: &str, expected: bool) {
            assert_eq!(is_after_6_1(release), expected, "{release}");
        }
        check("5.15.0-91-generic", false);
        check("6.1.0-56-amd64", false);
        check("6.2.0", true);
        check("6.12.117+deb13-amd64", true);
        check("7.2.13+deb14-amd64", true);
        check("odd", true);
    }
}
