//! Begins with the drop monitor: joins the socket to the alerts, starts the monitoring or listens to
//! another process's, and explains why the kernel refuses.

use std::time::Duration;

use super::beginning::{Beginning, SoftwareSource, Started};
use super::capacity;
use super::diagnostics::{hint, say};
use super::failure::Failure;
use super::kernel_filter::Attached;
use crate::cli::{Counting, Live, Role, Summary};
use crate::filter::Filter;
use crate::net_dm::control::{AlertMode, Control, ControlError, Operation, Origins, Refusal};
use crate::net_dm::monitoring::{BeginError, Monitoring, Reporting, Wanted, WhenBusy};
use crate::net_dm::ownership::OwnershipFile;
use crate::net_dm::socket::{AlertSocket, KernelConversation, ReceiveBuffer};
use crate::source::NotPackets;

/// Bytes of each packet that are needed for counting: the headers, including those inside a tunnel.
pub const COUNTED_LEN: u32 = 256;

/// The reports that a run needs from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Packets, truncated to this many bytes unless the user chose a length; 0 means whole packets.
    Packets(u32),
    /// Counts for each location.
    Counts,
    /// Counts for each location, reason and interface, which eBPF programs can make; NET_DM has to send
    /// packets, truncated to [`COUNTED_LEN`].
    Facts,
}

impl Purpose {
    /// Returns the purpose of a summary of the drops that `filter` keeps.
    pub fn of_summary(command: &Summary, live: &Live, filter: &Filter) -> Self {
        let is_cut = matches!(
            live.role,
            Role::Owner {
                trunc_len: Some(_),
                ..
            }
        );
        let facts_suffice =
            command.grouping.needs_no_packet() && filter.needs_no_packet() && live.stack.is_none();
        match command.counting {
            Counting::Kernel => Self::Counts,
            // A number of packets is exact only where they come one by one.
            Counting::Packets if facts_suffice && !is_cut && command.count.is_none() => Self::Facts,
            Counting::Packets => Self::Packets(COUNTED_LEN),
        }
    }

    /// Returns whether eBPF programs count in the kernel and send no packets. They cannot tell NET_DM's own
    /// alerts, which are never counted, from other messages, so with `--all` they send what they see.
    pub fn is_counted_by_ebpf(self, live: &Live) -> bool {
        let counts = matches!(self, Self::Counts | Self::Facts);
        counts && live.not_packets == NotPackets::LeaveOut
    }

    /// Returns how many bytes of a frame eBPF programs capture, unless they count.
    pub fn snaplen(self, role: Role) -> u32 {
        let trunc_len = match role {
            Role::Owner { trunc_len, .. } => trunc_len,
            Role::Passive => None,
        };
        let default = match self {
            Self::Packets(default) => default,
            Self::Counts | Self::Facts => COUNTED_LEN,
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
        let packets = |default| Reporting::Packets {
            trunc_len: trunc_len.unwrap_or(default),
            queue_len: queue_len.unwrap_or_else(capacity::queue_len),
        };
        match self {
            Self::Packets(default) => packets(default),
            Self::Facts => packets(COUNTED_LEN),
            Self::Counts => Reporting::Counts,
        }
    }
}

/// The drops that the drop monitor is to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MonitoredPart {
    /// Those that the command line asks for.
    AsAsked,
    /// Hardware drops, beside eBPF, which has all software drops. Nobody else's monitoring is touched.
    Hardware,
}

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

/// The beginning of monitoring.
pub struct Begun {
    /// The socket that receives its alerts.
    pub joined: Joined,
    /// Another process's monitoring was stopped for it.
    pub took_over: bool,
    /// Monitoring is known to be on. Without privileges this is unknown.
    pub is_on: bool,
}

/// Starts monitoring, or joins another process's.
pub fn begin(
    live: &Live,
    purpose: Purpose,
    part: MonitoredPart,
    conversation: KernelConversation,
    join: impl FnOnce() -> Result<Joined, ControlError>,
) -> Result<(Monitoring<KernelConversation>, Begun, Beginning), BeginError> {
    let ownership = OwnershipFile::of_this_host(conversation.family());
    let control = Control::new(conversation);
    let Role::Owner { when_busy, .. } = live.role else {
        let (mut monitoring, joined, settings) = Monitoring::listen(control, join)?;
        let is_on = monitoring.is_on() != Some(false);
        let begun = Begun {
            joined,
            took_over: false,
            is_on,
        };
        return Ok((monitoring, begun, Beginning::Listening(settings)));
    };
    let reporting = purpose.reporting(live.role);
    let wanted = match part {
        MonitoredPart::AsAsked => Wanted {
            origins: live.origins,
            reporting,
            when_busy,
        },
        MonitoredPart::Hardware => Wanted {
            origins: Some(Origins::Hardware),
            reporting,
            when_busy: WhenBusy::Refuse,
        },
    };
    let (monitoring, joined, started) = Monitoring::begin(control, &ownership, wanted, join)?;
    let begun = Begun {
        joined,
        took_over: started.took_over,
        is_on: true,
    };
    let beginning = Beginning::Started(Started {
        origins: started.origins,
        software: SoftwareSource::NetDm,
        without_hardware: started.without_hardware,
    });
    Ok((monitoring, begun, beginning))
}

impl Begun {
    /// Reports what is different from what was asked for.
    pub fn tell(&self, live: &Live) {
        if self.took_over {
            say("took over the drop monitor: the earlier monitoring was stopped");
        }
        if !self.is_on {
            say("monitoring is off: no drops arrive until a program starts it");
        }
        if let (Some(asked), ReceiveBuffer::Clamped(got)) = (live.buffer, self.joined.buffer) {
            say(format_args!(
                "the socket buffer has {got} bytes instead of {asked}"
            ));
            hint("without CAP_NET_ADMIN its limit is the sysctl net.core.rmem_max");
        }
        self.joined.attached.tell();
    }
}

/// Explains why monitoring could not begin. The kernel sends either counts or packets, the same to
/// all listeners.
pub fn refused(error: BeginError, purpose: Purpose) -> Failure {
    let hint = match (&error, purpose) {
        (BeginError::Busy(AlertMode::Packet, _), Purpose::Counts) => {
            "the kernel either counts drops or sends packets, and it sends packets to another program now: \
             `dwdump --summary -p` counts those, `--force` takes over (and stops the other), \
             `dwdump -e` stops it"
        }
        (BeginError::Busy(AlertMode::Summary, _), Purpose::Packets(_) | Purpose::Facts) => {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{self, Command, Subject};
    use crate::filter::SystemNames;

    #[test]
    fn ebpf_programs_count_where_no_packet_is_needed() {
        #[track_caller]
        fn check(words: &str, filter: &str, wanted: Purpose, counts: bool) {
            let words = ["dwdump", "--source", "ebpf"]
                .into_iter()
                .chain(words.split(' '));
            let words = words.chain(filter.split_terminator(' ')).map(Into::into);
            let Ok(Command::Summary(command)) = cli::parse(words) else {
                panic!("no summary")
            };
            let Subject::Live(live) = &command.subject else {
                panic!("not live")
            };
            let filter = Filter::parse(filter, &SystemNames).unwrap();
            let purpose = Purpose::of_summary(&command, live, &filter);
            assert_eq!(
                (purpose, purpose.is_counted_by_ebpf(live)),
                (wanted, counts)
            );
        }
        let packets = Purpose::Packets(COUNTED_LEN);
        check("--summary", "", Purpose::Counts, true);
        check("--summary=60 -c 5", "", Purpose::Counts, true);
        check("--by reason", "", Purpose::Facts, true);
        check("--by interface -i eth0", "noise", Purpose::Facts, true);
        check(
            "--by module --json",
            "not reason NO_SOCKET",
            Purpose::Facts,
            true,
        );
        check("--by flow", "", packets, false);
        check("--by stack", "", packets, false);
        check("--by reason --stack", "", packets, false);
        check("--by reason", "stack ip_rcv", packets, false);
        check("--by reason", "udp", packets, false);
        check("--by reason -c 5", "", packets, false);
        // Who wants packets cut wants packets, and NET_DM's own alerts have to be told apart.
        check("--summary -t 256", "", packets, false);
        check("--summary --all", "", Purpose::Counts, false);
        check("--by reason --all", "", Purpose::Facts, false);
    }
}
