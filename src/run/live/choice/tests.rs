//! Which sources are opened, in which order, and what the opening line says: a table of cases.

use std::ffi::OsString;
use std::io;

use super::*;
use crate::cli::{self, Capture, Command};
use crate::filter::{Filter, SystemNames};
use crate::net_dm::control::{AlertMode, ControlError, Refusal, Settings};
use crate::net_dm::monitoring::Holder;
use crate::run::failure::Exit;
use crate::run::selection;

/// The state of the drop monitor.
#[derive(Clone, Copy)]
enum Monitor {
    Idle,
    WithoutHardware,
    Busy,
    Missing,
    Forbidden,
}

/// What the kernel thinks of eBPF.
#[derive(Clone, Copy)]
enum Programs {
    Allowed,
    Forbidden,
    WithoutBtf,
}

use Monitor::{Busy, Idle, Missing, WithoutHardware};
use Programs::{Allowed, WithoutBtf};

/// A kernel in this state, and what was opened.
struct ScriptedOpeners {
    live: Live,
    monitor: Monitor,
    programs: Programs,
    opened: Vec<&'static str>,
}

impl Openers for ScriptedOpeners {
    type NetDm = ();
    type Ebpf = ();

    fn net_dm(&mut self, part: MonitoredPart) -> Result<((), Beginning), BeginError> {
        let error = |operation, errno| {
            let refusal = Refusal { errno, words: None };
            Err(BeginError::Control(ControlError { operation, refusal }))
        };
        let takes_over = self.live.net_dm_option == Some("--force");
        match self.monitor {
            Missing => return error(Operation::Resolve, libc::ENOENT),
            Monitor::Forbidden => return error(Operation::Probe, libc::EPERM),
            Busy if self.live.role == Role::Passive => {
                self.opened.push("joined");
                let settings = Settings {
                    mode: AlertMode::Packet,
                    trunc_len: 0,
                    queue_len: 1000,
                };
                return Ok(((), Beginning::Listening(settings)));
            }
            Busy if !takes_over => {
                return Err(BeginError::Busy(AlertMode::Packet, Holder::Dwdump(7)));
            }
            Idle | WithoutHardware | Busy => {}
        }
        let wanted = match part {
            MonitoredPart::AsAsked => self.live.origins,
            MonitoredPart::Hardware => Some(Origins::Hardware),
        };
        let has_hardware = !matches!(self.monitor, WithoutHardware);
        let origins = match wanted {
            None if has_hardware => Origins::Both,
            None | Some(Origins::Software) => Origins::Software,
            Some(origins) if has_hardware => origins,
            Some(origins) => return error(Operation::Start(origins), libc::EOPNOTSUPP),
        };
        self.opened.push(match origins {
            Origins::Software => "netdm sw",
            Origins::Hardware => "netdm hw",
            Origins::Both => "netdm",
        });
        let started = Started {
            origins,
            software: SoftwareSource::NetDm,
            without_hardware: wanted.is_none() && !has_hardware,
        };
        Ok(((), Beginning::Started(started)))
    }

    fn ebpf(&mut self, selection: DropSelection) -> Result<(), TracerError> {
        match self.programs {
            Programs::Forbidden => Err(TracerError::Map(io::Error::from_raw_os_error(libc::EPERM))),
            WithoutBtf => Err(TracerError::NoBtf(io::ErrorKind::NotFound.into())),
            Allowed => {
                self.opened.push(match selection {
                    DropSelection::All => "ebpf",
                    DropSelection::WithoutMacHeader => "ebpf beside",
                });
                Ok(())
            }
        }
    }
}

/// Opens the sources for a command line. Returns what was opened, joined, and the opening line.
fn opened(
    words: &str,
    ebpf_for: Option<&'static str>,
    monitor: Monitor,
    programs: Programs,
) -> Result<(String, String, Option<String>), Failure> {
    let arguments = std::iter::once("dwdump").chain(words.split_whitespace());
    let (live, purpose) = match cli::parse(arguments.map(OsString::from)).unwrap() {
        Command::Capture(capture) => (capture.live, Purpose::Packets(0)),
        Command::Summary(summary) => {
            let cli::Subject::Live(live) = &summary.subject else {
                panic!("{summary:?}")
            };
            let filter = Filter::parse("", &SystemNames).unwrap();
            (*live, Purpose::of_summary(&summary, live, &filter))
        }
        other => panic!("{other:?}"),
    };
    let mut script = ScriptedOpeners {
        live,
        monitor,
        programs,
        opened: Vec::new(),
    };
    let needs = Needs {
        purpose,
        ebpf_for,
        better_with_ebpf: words.contains("vlan").then_some("vlan"),
    };
    let chosen = open(&live, needs, &mut script)?;
    let opening = match chosen.beginning {
        Beginning::Started(started) => format!("{}{}", started.drops(), started.remark()),
        Beginning::Listening(_) => "listening".into(),
    };
    Ok((script.opened.join(", "), opening, chosen.no_hardware))
}

#[track_caller]
fn check(words: &str, monitor: Monitor, programs: Programs, sources: &str, line: &str) {
    let (found, said, _) = opened(words, None, monitor, programs).unwrap();
    assert_eq!((&*found, &*said), (sources, line), "{words}");
}

#[track_caller]
fn check_refusal(words: &str, monitor: Monitor, programs: Programs, text: &str) {
    let failure = opened(words, None, monitor, programs).unwrap_err();
    assert_eq!(failure.exit, Exit::Failure);
    let found = failure.to_string();
    assert!(found.starts_with(text), "{words}: {found}");
}

const BUSY: &str = "drops are already being monitored, by another dwdump (process 7)";
const NO_DROP_MONITOR: &str = "cannot find the NET_DM netlink family: No such file or directory";

#[test]
fn auto_opens_both_where_it_can() {
    const BOTH: &str = "software and hardware drops";
    check("", Idle, Allowed, "netdm, ebpf beside", BOTH);
    check("--force", Busy, Allowed, "netdm, ebpf beside", BOTH);
    check("-l 500", Idle, Allowed, "netdm, ebpf beside", BOTH);
    check("--by reason", Idle, Allowed, "netdm, ebpf beside", BOTH);
    let (sources, line) = ("netdm sw, ebpf beside", "software drops");
    check("", WithoutHardware, Allowed, sources, line);
    check("-o sw", Idle, Allowed, sources, line);
    check("-o hw", Idle, Allowed, "netdm hw", "hardware drops");
    // What counts skips nothing.
    check("--summary", Idle, Allowed, "netdm", BOTH);
    // That is another's monitoring.
    check("-p", Busy, Allowed, "joined", "listening");
}

#[test]
fn a_vlan_is_looked_for_with_ebpf_where_that_is_possible() {
    let line = "software drops with eBPF and hardware drops: vlan needs eBPF";
    check("vlan 5", Idle, Allowed, "ebpf, netdm hw", line);
    let (found, said, _) = opened("vlan 5", None, Idle, WithoutBtf).unwrap();
    assert_eq!(found, "netdm");
    assert!(said.contains("are not seen"), "{said}");
    for (words, monitor, sources) in [
        ("--source netdm vlan 5", Idle, "netdm"),
        ("-o hw vlan 5", Idle, "netdm hw"),
        ("-p vlan 5", Busy, "joined"),
    ] {
        let (found, _, _) = opened(words, None, monitor, Allowed).unwrap();
        assert_eq!(found, sources, "{words}");
    }
}

#[test]
fn call_stacks_come_with_ebpf_for_all_software_drops() {
    let (_, said, _) = opened("--stack", None, Idle, Allowed).unwrap();
    assert!(said.contains("--stack needs eBPF"), "{said}");
    let failure = opened("--stack -o hw", None, Idle, Allowed).unwrap_err();
    let text = failure.to_string();
    assert!(
        text.starts_with("--stack cannot be used with -o hw"),
        "{text}"
    );
}

#[test]
fn a_filter_that_asks_for_a_stack_has_stacks_captured() {
    let command = cli::parse(["dwdump"].map(OsString::from)).unwrap();
    let Command::Capture(Capture { mut live, .. }) = command else {
        panic!("{command:?}")
    };
    let frames = |live: &Live, ebpf_for| {
        let purpose = Purpose::Packets(0);
        let needs = Needs {
            purpose,
            ebpf_for,
            better_with_ebpf: None,
        };
        needs.stack_frames(live)
    };
    assert_eq!(frames(&live, None), None);
    assert_eq!(frames(&live, Some("netns")), None);
    assert_eq!(frames(&live, Some("stack")), Some(24));
    live.stack = Some(5);
    assert_eq!(frames(&live, Some("stack")), Some(5));
    let filter = |text| Filter::parse(text, &SystemNames).unwrap();
    let word = |text| selection::word_of_ebpf(&filter(text));
    assert_eq!(word("netns 7 and stack ip_rcv"), Some("stack"));
    assert_eq!(word("netns 7 and mark 1"), Some("netns"));
}

#[test]
fn ebpf_takes_the_place_of_a_drop_monitor_that_cannot_be_used() {
    let busy = format!("software drops with eBPF: {BUSY}");
    check("", Busy, Allowed, "ebpf", &busy);
    check("--summary", Busy, Allowed, "ebpf", &busy);
    let missing = "software drops with eBPF: there is no drop monitor here";
    check("", Missing, Allowed, "ebpf", missing);
    check("-o sw", Missing, Allowed, "ebpf", missing);
    check(
        "",
        Monitor::Forbidden,
        Allowed,
        "ebpf",
        "software drops with eBPF: cannot find out whether monitoring is on: Operation not permitted",
    );
}

#[test]
fn the_drop_monitor_alone_says_what_is_not_seen() {
    let (sources, unseen) = (
        "netdm",
        "software and hardware drops; those without a link-layer header, such as the OUTPUT hook's, are not seen",
    );
    let line = format!("{unseen}: cannot create an eBPF map: Operation not permitted");
    check("", Idle, Programs::Forbidden, sources, &line);
    check("--force", Busy, Programs::Forbidden, sources, &line);
    let (found, said, _) = opened("", None, Idle, WithoutBtf).unwrap();
    assert_eq!(found, sources);
    assert!(
        said.starts_with(unseen) && said.contains("/sys/kernel/btf/vmlinux"),
        "{said}"
    );
    // It was chosen, or nothing is missing.
    for words in ["--source netdm", "--summary"] {
        check(
            words,
            Idle,
            Programs::Forbidden,
            sources,
            "software and hardware drops",
        );
    }
}

#[test]
fn both_causes_are_told_where_nothing_can_be_used() {
    let no_btf = "cannot read /sys/kernel/btf/vmlinux: ";
    check_refusal("", Busy, WithoutBtf, &format!("{BUSY}; {no_btf}"));
    let missing = format!("{NO_DROP_MONITOR}; {no_btf}");
    check_refusal("", Missing, WithoutBtf, &missing);
    let failure = opened("", None, Monitor::Forbidden, Programs::Forbidden).unwrap_err();
    assert!(failure.lacks_privileges());
    let text = failure.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[0],
        "cannot find out whether monitoring is on: Operation not permitted; \
         cannot create an eBPF map: Operation not permitted"
    );
    assert!(
        lines[1].starts_with("hint: ") && lines[1].contains("CAP_NET_ADMIN"),
        "{text}"
    );
    assert!(
        lines[2].starts_with("hint: ") && lines[2].contains("CAP_BPF"),
        "{text}"
    );
}

#[test]
fn what_only_the_drop_monitor_does_is_refused_without_it() {
    for words in ["--source netdm", "-l 500", "-o hw", "--source ebpf -o hw"] {
        check_refusal(words, Busy, Allowed, BUSY);
        check_refusal(words, Missing, Allowed, NO_DROP_MONITOR);
    }
    check_refusal("--force", Missing, Allowed, NO_DROP_MONITOR);
    check_refusal("-p", Missing, Allowed, NO_DROP_MONITOR);
}

#[test]
fn ebpf_leaves_hardware_drops_to_the_drop_monitor() {
    const ALONE: &str = "software drops with eBPF";
    const BOTH: &str = "software drops with eBPF and hardware drops";
    check("--source ebpf", Idle, Allowed, "ebpf, netdm hw", BOTH);
    check("--source ebpf -o sw", Idle, Allowed, "ebpf", ALONE);
    check(
        "--source ebpf -o hw",
        Idle,
        Allowed,
        "netdm hw",
        "hardware drops",
    );
    for (monitor, cause) in [
        (Busy, BUSY),
        (Missing, "there is no drop monitor here"),
        (
            WithoutHardware,
            "cannot start monitoring hardware drops: Operation not supported",
        ),
    ] {
        let (sources, line, no_hardware) = opened("--source ebpf", None, monitor, Allowed).unwrap();
        assert_eq!((&*sources, &*line), ("ebpf", ALONE));
        assert_eq!(no_hardware.as_deref(), Some(cause));
    }
    check_refusal(
        "--source ebpf",
        Idle,
        Programs::Forbidden,
        "cannot create an eBPF map: Operation not permitted\nhint: ",
    );
}

#[test]
fn what_only_ebpf_knows_chooses_it() {
    let (sources, line, _) = opened("", Some("netns"), Idle, Allowed).unwrap();
    assert_eq!(sources, "ebpf, netdm hw");
    assert_eq!(
        line,
        "software drops with eBPF and hardware drops: netns needs eBPF"
    );
    let (sources, line, _) = opened("--summary -o sw", Some("netns"), Idle, Allowed).unwrap();
    assert_eq!(sources, "ebpf");
    assert_eq!(line, "software drops with eBPF: netns needs eBPF");
    let failure = opened("", Some("netns"), Idle, Programs::Forbidden).unwrap_err();
    assert_eq!(failure.exit, Exit::Failure);
    for (words, option) in [
        ("-p", "-p"),
        ("-l 5", "-l"),
        ("--force", "--force"),
        ("-o hw", "-o hw"),
        ("--source netdm -l 5", "--source netdm"),
    ] {
        let failure = opened(words, Some("netns"), Idle, Allowed).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        let text = failure.to_string();
        assert!(
            text.starts_with(&format!("netns cannot be used with {option}\nhint: ")),
            "{text}"
        );
    }
}
