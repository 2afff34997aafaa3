//! Begins a live run: joins the socket to the alerts, starts the monitoring or listens to another
//! process's, and explains why the kernel refuses.

use std::time::Duration;

use super::capacity;
use super::diagnostics::{hint, say};
use super::failure::Failure;
use super::kernel_filter::Attached;
use crate::cli::{Counting, Live, Role};
use crate::filter::Filter;
use crate::net_dm::control::{
    AlertMode, Control, ControlError, Operation, Origins, Refusal, Settings,
};
use crate::net_dm::monitoring::{BeginError, Monitoring, Reporting, Wanted};
use crate::net_dm::ownership::OwnershipFile;
use crate::net_dm::socket::{AlertSocket, KernelConversation, ReceiveBuffer};

/// Bytes of each packet that are needed for counting: the headers, including those inside a tunnel.
pub const COUNTED_LEN: u32 = 256;

/// The reports that a run needs from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Packets, truncated to this many bytes unless the user chose a length; 0 means whole packets.
    Packets(u32),
    /// Counts for each location.
    Counts,
}

impl From<Counting> for Purpose {
    fn from(counting: Counting) -> Self {
        match counting {
            Counting::Kernel => Self::Counts,
            Counting::Packets => Self::Packets(COUNTED_LEN),
        }
    }
}

impl Purpose {
    /// Returns the number of bytes of a frame that eBPF programs capture. They do not count by
    /// themselves.
    pub fn snaplen(self, role: Role) -> u32 {
        let trunc_len = match role {
            Role::Owner { trunc_len, .. } => trunc_len,
            Role::Passive => None,
        };
        let default = match self {
            Self::Packets(default) => default,
            Self::Counts => COUNTED_LEN,
        };
        match trunc_len.unwrap_or(default) {
            0 => u32::MAX,
            len => len,
        }
    }

    /// Returns the reports that the kernel is to send.
    pub fn reporting(self, role: Role) -> Reporting {
        let (trunc_len, queue_len) = match role {
            Role::Owner {
                trunc_len,
                queue_len,
                ..
            } => (trunc_len, queue_len),
            Role::Passive => (None, None),
        };
        match self {
            Self::Packets(default) => Reporting::Packets {
                trunc_len: trunc_len.unwrap_or(default),
                queue_len: queue_len.unwrap_or_else(capacity::queue_len),
            },
            Self::Counts => Reporting::Counts,
        }
    }
}

/// The way in which a run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Monitoring was started.
    Started {
        /// The origins that are monitored.
        origins: Origins,
        /// The user named no origins, and the kernel does not support hardware drops.
        without_hardware: bool,
    },
    /// The run listens to another process's monitoring, which has these settings.
    Listening(Settings),
    /// eBPF programs were attached.
    Tracing,
}

/// The drops that eBPF programs report, for the opening line.
pub const TRACED: &str = "software drops with eBPF";

/// A socket that receives alerts.
pub struct Joined {
    /// The socket.
    pub alerts: AlertSocket,
    buffer: ReceiveBuffer,
    /// The longest time for which alerts may gather in the socket.
    pub rest: Duration,
    /// The state of the part of the filter that the kernel runs.
    pub attached: Attached,
}

impl Joined {
    /// Joins the group, and attaches as much of the filter `in_kernel` as the kernel can run.
    pub fn new(live: &Live, family: u16, in_kernel: Option<&Filter>) -> Result<Self, ControlError> {
        let alerts = AlertSocket::join(family)?;
        let bytes = live.buffer.unwrap_or_else(capacity::buffer_bytes);
        let buffer = alerts
            .set_receive_buffer(bytes)
            .map_err(|error| ControlError {
                operation: Operation::Join,
                refusal: Refusal {
                    errno: error.raw_os_error().unwrap_or(libc::EIO),
                    words: None,
                },
            })?;
        // Alerts that arrive before the filter is attached are filtered by this process.
        let attached = Attached::new(&alerts, in_kernel);
        let rest = capacity::rest(alerts.receive_buffer().unwrap_or(0));
        Ok(Self {
            alerts,
            buffer,
            rest,
            attached,
        })
    }
}

/// Monitoring under way.
pub struct Begun {
    /// The monitoring.
    pub monitoring: Monitoring<KernelConversation>,
    /// The socket that receives its alerts.
    pub joined: Joined,
    /// Another process's monitoring was stopped for it.
    pub took_over: bool,
    /// Monitoring is known to be on. Without privileges this is unknown.
    pub is_on: bool,
}

/// Starts monitoring, or joins another process's, and announces it.
pub fn begin(
    live: &Live,
    purpose: Purpose,
    conversation: KernelConversation,
    join: impl FnOnce() -> Result<Joined, ControlError>,
    announce: impl FnOnce(Beginning),
) -> Result<Begun, Failure> {
    let ownership = OwnershipFile::of_this_host(conversation.family());
    let control = Control::new(conversation);
    let (monitoring, joined, took_over, is_on) = match live.role {
        Role::Owner { when_busy, .. } => {
            let wanted = Wanted {
                origins: live.origins,
                reporting: purpose.reporting(live.role),
                when_busy,
            };
            let begun = Monitoring::begin(control, &ownership, wanted, join);
            let (monitoring, joined, started) = begun.map_err(|error| refused(error, purpose))?;
            if started.took_over {
                say("took over the drop monitor: the earlier monitoring was stopped");
            }
            announce(Beginning::Started {
                origins: started.origins,
                without_hardware: started.without_hardware,
            });
            (monitoring, joined, started.took_over, true)
        }
        Role::Passive => {
            let (mut monitoring, joined, settings) = Monitoring::listen(control, join)?;
            announce(Beginning::Listening(settings));
            let is_on = monitoring.is_on() != Some(false);
            if !is_on {
                say("monitoring is off: no drops arrive until a program starts it");
            }
            (monitoring, joined, false, is_on)
        }
    };
    if let (Some(asked), ReceiveBuffer::Clamped(got)) = (live.buffer, joined.buffer) {
        say(format_args!(
            "the socket buffer has {got} bytes instead of {asked}"
        ));
        hint("without CAP_NET_ADMIN its limit is the sysctl net.core.rmem_max");
    }
    joined.attached.tell();
    Ok(Begun {
        monitoring,
        joined,
        took_over,
        is_on,
    })
}

/// Explains why monitoring could not begin. The kernel sends either counts or packets, the same to
/// all listeners.
fn refused(error: BeginError, purpose: Purpose) -> Failure {
    let hint = match (&error, purpose) {
        (BeginError::Busy(AlertMode::Packet, _), Purpose::Counts) => {
            "the kernel either counts drops or sends packets, and it sends packets to another program now: \
             `dwdump --summary -p` counts those, `--force` takes over (and stops the other), \
             `dwdump -e` stops it"
        }
        (BeginError::Busy(AlertMode::Summary, _), Purpose::Packets(_)) => {
            "the kernel either counts drops or sends packets, and it counts for another program now \
             (dwdump --summary, dropwatch): `dwdump --summary -p` shows the counts, \
             `--force` takes over (and stops the other), `dwdump -e` stops it"
        }
        (BeginError::Busy(AlertMode::Summary, _), Purpose::Counts) => {
            "`dwdump --summary -p` shows its counts, `--force` takes over (and stops the other), \
             `dwdump -e` stops it"
        }
        _ => return error.into(),
    };
    Failure::new(error, Some(hint))
}
