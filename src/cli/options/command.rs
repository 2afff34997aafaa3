//! Checks the options and turns them into a [`Command`].

use super::Arguments;
use crate::cli::{
    Capture, CaptureFile, Command, Counting, DebugFiles, Delivery, FilterText, Filtering, Flushing,
    Lines, LinkChoice, Live, OutputFormat, Read, Relinquishment, Role, Selection, SourceChoice,
    Subject, Summary, Target, TextChoice, UsageError,
};
use crate::net_dm::monitoring::WhenBusy;
use crate::sink::{Detail, Precision, Zone};
use crate::source::NotPackets;
use crate::summary::Grouping;

impl Arguments {
    pub(in crate::cli) fn check(self) -> Result<Command, UsageError> {
        if let Some(name) = &self.explain {
            return match self.other_options().find(|&option| option != "-n") {
                None => Ok(Command::Explain(name.clone())),
                Some(other) => Err(UsageError::new(
                    format!("--explain and {other} cannot be used together"),
                    "--explain explains a drop reason or a function and does nothing else",
                )),
            };
        }
        if self.show_filter {
            let of_filters = [
                "-d",
                "-i",
                "-F",
                "-n",
                "-v",
                "--kernel-filter",
                "--source",
                "a filter",
            ];
            return match self
                .other_options()
                .find(|option| !of_filters.contains(option))
            {
                None => Ok(Command::ShowFilter(
                    self.selection()?,
                    self.filtering()?,
                    self.source.unwrap_or_default(),
                )),
                Some(other) => Err(UsageError::new(
                    format!("-d and {other} cannot be used together"),
                    "-d prints the parsed filter, with -i, -F, --kernel-filter and --source, and does nothing else",
                )),
            };
        }
        if let Some(installation) = self.installation()? {
            return Ok(Command::Wireshark(installation));
        }
        if let Some(command) = self.alone()? {
            return Ok(command);
        }
        if self.check {
            let mut others = self.other_options();
            return match others.find(|option| !["--check", "--json"].contains(option)) {
                None => Ok(Command::Check(self.lines()?)),
                Some(other) => Err(UsageError::new(
                    format!("--check and {other} cannot be used together"),
                    "--check finds out what this host can do, with --json for programs, and does nothing else",
                )),
            };
        }
        if self.why {
            return self.diagnosis().map(Command::Why);
        }
        if self.read.is_some() {
            self.refuse_live_options()?;
        }
        if self.summary.is_some() || self.by.is_some() || self.folded {
            return self.summary().map(Command::Summary);
        }
        let filtering = self.filtering()?;
        let delivery = self.delivery()?;
        if let Some(file) = self.capture_file() {
            return Ok(Command::Read(Read {
                file,
                trunc_len: self.trunc.unwrap_or(0),
                delivery,
                relinquishment: self.relinquishment(),
            }));
        }
        Ok(Command::Capture(Capture {
            live: self.live()?,
            filtering,
            delivery,
            relinquishment: self.relinquishment(),
            stats_interval: self.stats_interval,
        }))
    }

    /// Returns the settings for monitoring the running kernel.
    pub(super) fn live(&self) -> Result<Live, UsageError> {
        let role = if self.passive {
            let settings = [
                ("-t", self.trunc.is_some()),
                ("-l", self.limit.is_some()),
                ("--force", self.force),
            ];
            if let Some((option, _)) = settings.into_iter().find(|(_, given)| *given) {
                return Err(UsageError::new(
                    format!("{option} cannot be used with -p"),
                    "-p changes nothing in the kernel: \
                     the program that started the monitoring chose the settings",
                ));
            }
            Role::Passive
        } else {
            let when_busy = if self.force {
                WhenBusy::TakeOver
            } else {
                WhenBusy::Refuse
            };
            Role::Owner {
                trunc_len: self.trunc,
                queue_len: self.limit,
                when_busy,
            }
        };
        let net_dm_option = self.net_dm_option();
        let source = self.source.unwrap_or_default();
        if let Some(option) = self.stack_option() {
            self.check_stack(option, net_dm_option)?;
        }
        if let (SourceChoice::Ebpf, Some(option)) = (source, net_dm_option) {
            return Err(UsageError::new(
                format!("{option} cannot be used with --source ebpf"),
                format!(
                    "{option} is for the kernel's drop monitor: leave it out, or use --source netdm"
                ),
            ));
        }
        Ok(Live {
            source,
            net_dm_option,
            role,
            origins: self.origin,
            buffer: self.bufsize,
            duration: self.duration,
            not_packets: self.not_packets(),
            stack: self.stack_frames(),
            detail: self.detail(),
        })
    }

    /// Returns the first option that only the drop monitor can carry out.
    fn net_dm_option(&self) -> Option<&'static str> {
        let all = [
            ("-p", self.passive),
            ("-l", self.limit.is_some()),
            ("--force", self.force),
        ];
        let first = all.into_iter().find(|(_, given)| *given)?;
        Some(first.0)
    }

    /// Returns the settings for counting drops.
    fn summary(self) -> Result<Summary, UsageError> {
        let of_packets = [
            ("-w", self.write.is_some()),
            ("--format", self.format.is_some()),
            ("--link-type", self.link_type.is_some()),
            ("--source-lines", self.source_lines().is_some()),
            ("-U", self.packet_buffered),
            ("--stats-interval", self.stats_interval.is_some()),
        ];
        let of_packets = of_packets.into_iter().filter(|(_, given)| *given);
        let of_packets = of_packets.map(|(option, _)| option);
        if let Some(option) = of_packets.chain(self.recording_options()).next() {
            return Err(UsageError::new(
                format!("{option} cannot be used with --summary"),
                "a summary counts drops and writes no packets: \
                 capture into a file first, then `dwdump -r FILE --summary` counts what is in it",
            ));
        }
        if self.kernel_filter {
            return Err(UsageError::new(
                "--kernel-filter cannot be used with --summary",
                "a summary also counts what its filter rejects, which a filter in the kernel would not count",
            ));
        }
        let selects =
            self.interface.is_some() || self.filter_file.is_some() || !self.filter.is_empty();
        // An eBPF program counts what it is asked for, and cuts packets where that is needed.
        let is_cut = self.source == Some(SourceChoice::Ebpf) && self.trunc.is_some();
        let has_stacks = self.stack_option().is_some();
        let counting = match self.by {
            None if !selects && !is_cut && !has_stacks => Counting::Kernel,
            _ => Counting::Packets,
        };
        let of_alerts = [("-t", self.trunc.is_some()), ("-l", self.limit.is_some())];
        let useless = of_alerts.into_iter().find(|(_, given)| *given);
        if let (Counting::Kernel, None, Some((option, _))) = (counting, &self.read, useless) {
            return Err(UsageError::new(
                format!("{option} cannot be used with --summary alone"),
                "the kernel counts, and sends no packets; --by location (or a filter) counts packet by packet",
            ));
        }
        self.check_folded()?;
        let lines = self.lines()?;
        Ok(Summary {
            subject: self.subject()?,
            counting,
            grouping: self.by.unwrap_or(if self.folded {
                Grouping::Stack
            } else {
                Grouping::Location
            }),
            interval: self.summary.flatten(),
            selection: self.selection()?,
            count: self.count,
            lines,
            text: self.text(),
            is_folded: self.folded,
            relinquishment: self.relinquishment(),
        })
    }

    /// Returns the command of -q, -s or -e. They stand alone, because they are other options in
    /// tcpdump.
    fn alone(&self) -> Result<Option<Command>, UsageError> {
        let all = [
            (
                self.query,
                "-q",
                Command::Query,
                "shows the drop monitor's settings",
                "prints less",
            ),
            (
                self.stats,
                "-s",
                Command::Statistics,
                "shows the drop monitor's statistics",
                "sets the snapshot length, which is -t here",
            ),
            (
                self.exit,
                "-e",
                Command::Stop,
                "stops all monitoring on this host",
                "prints link-layer headers",
            ),
        ];
        let mut given = all.into_iter().filter(|(given, ..)| *given);
        let Some((_, option, command, ours, tcpdumps)) = given.next() else {
            return Ok(None);
        };
        let second = given.next().map(|(_, option, ..)| option);
        match second.or_else(|| self.first_other_option()) {
            None => Ok(Some(command)),
            Some(other) => Err(UsageError::new(
                format!("{option} and {other} cannot be used together"),
                format!(
                    "{option} {ours} and does nothing else; tcpdump's {option}, which {tcpdumps}, does not exist here"
                ),
            )),
        }
    }

    /// Returns the first option that is not -q, -s or -e.
    fn first_other_option(&self) -> Option<&'static str> {
        self.other_options().next()
    }

    /// Returns the options given that are not -q, -s or -e.
    pub(super) fn other_options(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            ("-w", self.write.is_some()),
            ("-r", self.read.is_some()),
            ("-c", self.count.is_some()),
            ("--summary", self.summary.is_some()),
            ("--by", self.by.is_some()),
            ("--folded", self.folded),
            ("-i", self.interface.is_some()),
            ("-F", self.filter_file.is_some()),
            ("-d", self.show_filter),
            ("--check", self.check),
            ("--why", self.why),
            ("--kernel-filter", self.kernel_filter),
            ("--all", self.all),
            ("--source", self.source.is_some()),
            ("--stack", self.stack.is_some()),
            ("-o", self.origin.is_some()),
            ("-t", self.trunc.is_some()),
            ("-l", self.limit.is_some()),
            ("-b", self.bufsize.is_some()),
            ("-p", self.passive),
            ("-U", self.packet_buffered),
            ("--duration", self.duration.is_some()),
            ("--force", self.force),
            ("-Z", self.relinquish_privileges.is_some()),
            ("--sandbox", self.sandbox.is_some()),
            ("--stats-interval", self.stats_interval.is_some()),
            ("--print", self.print),
            ("--json", self.json),
            ("-v", self.verbose > 0),
            // tcpdump's `-en` must not stop the monitoring.
            ("-n", self.no_names > 0),
            ("--source-lines", self.source_lines),
            ("--vmlinux", self.vmlinux.is_some()),
            ("--modules", self.modules.is_some()),
            ("--format", self.format.is_some()),
            ("--link-type", self.link_type.is_some()),
            ("a filter", !self.filter.is_empty()),
        ];
        given
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(option, _)| option)
            .chain(self.recording_options())
    }

    pub(super) fn refuse_live_options(&self) -> Result<(), UsageError> {
        self.refuse_stack_of_file()?;
        let live = [
            ("--source", self.source.is_some()),
            ("-p", self.passive),
            ("-l", self.limit.is_some()),
            ("-b", self.bufsize.is_some()),
            ("--force", self.force),
            ("--duration", self.duration.is_some()),
            ("--kernel-filter", self.kernel_filter),
            ("--stats-interval", self.stats_interval.is_some()),
        ];
        match live.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((option, _)) => Err(UsageError::new(
                format!("{option} cannot be used with -r"),
                format!("{option} is for live capture; -r reads a file, with -c, -i, -o and -t"),
            )),
        }
    }

    /// Returns the source of the drops.
    pub(super) fn subject(&self) -> Result<Subject, UsageError> {
        Ok(match self.capture_file() {
            Some(file) => Subject::File(file),
            None => Subject::Live(self.live()?),
        })
    }

    fn capture_file(&self) -> Option<CaptureFile> {
        Some(CaptureFile {
            target: Target::new(self.read.clone()?),
            origins: self.origin,
            not_packets: self.not_packets(),
        })
    }

    fn not_packets(&self) -> NotPackets {
        if self.all {
            NotPackets::Take
        } else {
            NotPackets::LeaveOut
        }
    }

    fn filtering(&self) -> Result<Filtering, UsageError> {
        if !self.kernel_filter {
            return Ok(Filtering::UserSpace);
        }
        if self.filter.is_empty() && self.filter_file.is_none() && self.interface.is_none() {
            return Err(UsageError::new(
                "--kernel-filter needs a filter",
                "without one every drop is kept, and the kernel has nothing to reject",
            ));
        }
        Ok(Filtering::KernelToo)
    }

    pub(super) fn relinquishment(&self) -> Relinquishment {
        Relinquishment {
            user: self.relinquish_privileges.clone(),
            sandbox: self.sandbox.unwrap_or_default(),
        }
    }

    pub(super) fn lines(&self) -> Result<Lines, UsageError> {
        match (self.print, self.json) {
            (true, true) => Err(UsageError::new(
                "--print and --json cannot be used together",
                "both write to standard output: text for people, or JSON for programs",
            )),
            (_, true) => Ok(Lines::Json),
            (true, _) => Ok(Lines::Text),
            _ => Ok(Lines::Auto),
        }
    }

    /// Returns the debug information to use. A path to it implies source lines.
    fn source_lines(&self) -> Option<DebugFiles> {
        let is_wanted = self.source_lines || self.vmlinux.is_some() || self.modules.is_some();
        is_wanted.then(|| DebugFiles {
            vmlinux: self.vmlinux.clone(),
            modules: self.modules.clone(),
        })
    }

    pub(super) fn text(&self) -> TextChoice {
        TextChoice {
            color: self.color,
            zone: if self.utc { Zone::Utc } else { Zone::Local },
            precision: if self.nano {
                Precision::Nanoseconds
            } else {
                Precision::Microseconds
            },
            detail: self.detail(),
        }
    }

    fn detail(&self) -> Detail {
        if self.verbose > 0 {
            Detail::Full
        } else {
            Detail::Line
        }
    }

    pub(super) fn selection(&self) -> Result<Selection, UsageError> {
        let filter = match &self.filter_file {
            None => FilterText::Words(self.filter.join(" ")),
            Some(_) if !self.filter.is_empty() => {
                return Err(UsageError::new(
                    "-F and a filter cannot be used together",
                    "put the whole filter into the file, or on the command line",
                ));
            }
            Some(path) if path.as_os_str() == "-" && self.read.as_ref() == Some(path) => {
                return Err(UsageError::new(
                    "-F - and -r - cannot be used together",
                    "both would read standard input: put one of them into a file",
                ));
            }
            Some(path) => FilterText::File(Target::new(path.clone())),
        };
        Ok(Selection {
            interface: self.interface.clone(),
            filter,
        })
    }

    pub(super) fn delivery(&self) -> Result<Delivery, UsageError> {
        let link_type = self.link_type;
        match (self.format, link_type) {
            (Some(OutputFormat::Netlink), Some(_)) => {
                return Err(UsageError::new(
                    "--link-type cannot be used with --format netlink",
                    "netlink files hold the kernel's messages, not packets: use --format pcapng or pcap",
                ));
            }
            (Some(OutputFormat::Pcap), Some(LinkChoice::Auto)) => {
                return Err(UsageError::new(
                    "--link-type auto cannot be used with --format pcap",
                    "a pcap file has one link type: sll2 (the default) holds Ethernet and raw IP, \
                     or use --format pcapng",
                ));
            }
            _ => {}
        }
        Ok(Delivery {
            selection: self.selection()?,
            count: self.count,
            output: self.write.clone().map(Target::new),
            rotation: self.rotation()?,
            trigger: self.trigger()?,
            format: self.format,
            link_type,
            comments: self.comments,
            lines: self.lines()?,
            text: self.text(),
            source_lines: self.source_lines(),
            flushing: if self.packet_buffered {
                Flushing::EveryPacket
            } else {
                Flushing::WhenIdle
            },
        })
    }
}
