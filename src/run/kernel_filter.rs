//! The filter in the kernel: what of it runs there, attached, told and shown.

use std::fmt::Write;
use std::io;

use super::{hint, say};
use crate::bpf;
use crate::cli::Filtering;
use crate::filter::{Filter, NotInKernel, Part};
use crate::net_dm::family;
use crate::net_dm::socket::AlertSocket;

/// What became of a filter's part in the kernel.
pub enum Attached {
    /// It was not asked for.
    Unwanted,
    /// The kernel can do nothing of this filter.
    Impossible(NotInKernel),
    /// The kernel could, but did not take the program.
    Refused(io::Error),
    /// The kernel rejects what this part does not keep.
    Part(Part),
}

impl Attached {
    /// Attaches what the kernel can do of `filter`, where there is one for it. This process filters in
    /// any case, so that no refusal is an error.
    pub fn new(alerts: &AlertSocket, filter: Option<&Filter>) -> Self {
        let Some(filter) = filter else {
            return Self::Unwanted;
        };
        let mut max_len = bpf::MAX_LEN;
        let mut refusal = None;
        loop {
            let kernel = match filter.in_kernel(alerts.family(), max_len) {
                Ok(kernel) => kernel,
                Err(why) => return refusal.map_or(Self::Impossible(why), Self::Refused),
            };
            match alerts.attach_filter(&kernel.program) {
                Ok(()) => return Self::Part(kernel.part),
                // net.core.optmem_max is the limit, in bytes of what it becomes: less may fit.
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => refusal = Some(error),
                Err(error) => return Self::Refused(error),
            }
            max_len = kernel.program.len() - 1;
        }
    }

    /// Whether the kernel rejects anything.
    pub fn rejects(&self) -> bool {
        matches!(self, Self::Part(_))
    }

    /// Says what the kernel does.
    pub fn tell(&self) {
        match self {
            Self::Unwanted => {}
            Self::Impossible(NotInKernel::Nothing) => {
                say("--kernel-filter: no part of this filter can run in the kernel");
                hint(
                    "addresses, ports, protocols, lengths, reasons and origins can, joined to the rest by `and`; \
                     dwdump-filter(7) has the list",
                );
            }
            Self::Impossible(NotInKernel::TooLong) => {
                say("--kernel-filter: this filter is too long for the kernel");
                hint("the drops are filtered here alone; a network may stand for many hosts");
            }
            Self::Refused(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                say(format_args!(
                    "--kernel-filter: cannot attach the filter to the socket: {}",
                    crate::net_dm::control::strerror(errno)
                ));
                hint(if errno == libc::ENOMEM {
                    "it is too long for `sysctl net.core.optmem_max`: the drops are filtered here alone"
                } else {
                    "the drops are filtered here alone"
                });
            }
            Self::Part(Part::Whole) => say("filtering in the kernel: the whole filter"),
            Self::Part(part) => {
                say(format_args!(
                    "filtering in the kernel: {part}; the rest here"
                ));
            }
        }
    }
}

/// The filter, and the program that would be attached for it.
pub fn shown(filter: &Filter, filtering: Filtering) -> String {
    let mut text = format!("{filter}\n");
    if filtering == Filtering::UserSpace {
        return text;
    }
    let _ = match filter.in_kernel(family::FALLBACK_ID, bpf::MAX_LEN) {
        Err(NotInKernel::Nothing) => writeln!(text, "in the kernel: nothing"),
        Err(NotInKernel::TooLong) => writeln!(text, "in the kernel: nothing, it is too long"),
        Ok(kernel) => write!(
            text,
            "in the kernel: {} ({} instructions)\n{}",
            kernel.part,
            kernel.program.len(),
            kernel.program
        ),
    };
    text
}
