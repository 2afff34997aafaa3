//! The command line as users meet it: what is understood, and what is refused with which words.

use super::*;

mod recording;
mod stack;

#[track_caller]
fn check(words: &str, message: &str, hint: &str) {
    let error = parse_words(words).unwrap_err();
    assert_eq!(error.to_string(), message);
    let found = error.hint.unwrap_or_default();
    assert!(found.contains(hint), "{found}");
}

fn parse_words(words: &str) -> Result<Command, UsageError> {
    parse(
        std::iter::once("dwdump")
            .chain(words.split_whitespace())
            .map(OsString::from),
    )
}

fn captured(words: &str) -> Capture {
    match parse_words(words) {
        Ok(Command::Capture(capture)) => capture,
        other => panic!("{other:?}"),
    }
}

#[test]
fn claps_own_check_of_the_command_line_passes() {
    command().debug_assert();
}

#[test]
fn the_c_tools_options_keep_their_meaning() {
    let capture = captured("-w a.pcap -t 96 -l 500 -b 2M -o sw");
    let owner = Role::Owner {
        trunc_len: Some(96),
        queue_len: Some(500),
        when_busy: WhenBusy::Refuse,
    };
    assert_eq!(capture.live.role, owner);
    assert_eq!(capture.live.buffer, Some(2 * 1024 * 1024));
    assert_eq!(capture.live.origins, Some(Origins::Software));
    assert_eq!(capture.delivery.output, Some(Target::File("a.pcap".into())));
    assert_eq!(captured("-p").live.role, Role::Passive);
    assert_eq!(parse_words("-q"), Ok(Command::Query));
    assert_eq!(parse_words("--stats"), Ok(Command::Statistics));
    assert_eq!(parse_words("-e"), Ok(Command::Stop));
}

#[test]
fn a_check_stands_alone() {
    assert_eq!(parse_words("--check"), Ok(Command::Check(Lines::Auto)));
    let json = Ok(Command::Check(Lines::Json));
    assert_eq!(parse_words("--check --json"), json);
    for words in [
        "--check -w x",
        "--check --source ebpf",
        "--check -r x",
        "--check --print",
    ] {
        let other = words.split(' ').nth(1).unwrap();
        let message = format!("--check and {other} cannot be used together");
        check(words, &message, "does nothing else");
    }
    check(
        "--check tcp",
        "--check and a filter cannot be used together",
        "--json",
    );
    check("--check -q", "-q and --check cannot be used together", "");
    check(
        "--check -d tcp",
        "-d and --check cannot be used together",
        "",
    );
    let message = "--install-wireshark and --check cannot be used together";
    check("--check --install-wireshark", message, "");
}

#[test]
fn what_is_found_can_be_written_into_a_file_of_its_own_alone() {
    let Ok(Command::Why(diagnosis)) = parse_words("--why -w x.pcapng --json tcp") else {
        panic!("--why takes -w");
    };
    assert_eq!(diagnosis.lines, Lines::Json);
    let delivery = diagnosis.output.unwrap();
    assert_eq!(
        (delivery.lines, delivery.output.is_some()),
        (Lines::Auto, true)
    );
    check(
        "--why -w -",
        "--why cannot be used with -w -",
        "choose a file",
    );
    let message = "--why and -w cannot be used together with -r";
    check("--why -r x -w y", message, "`dwdump -r FILE` then prints");
    let message = "--why and --format cannot be used together";
    check("--why -w x --format pcap", message, "-w");
}

#[test]
fn tcpdumps_options_keep_their_meaning() {
    let delivery = captured("-i eth0 -c 3 -U -w -").delivery;
    assert_eq!(delivery.selection.interface.as_deref(), Some("eth0"));
    assert_eq!(delivery.count, Some(3));
    assert_eq!(delivery.flushing, Flushing::EveryPacket);
    assert_eq!(delivery.output, Some(Target::Standard));
    let Ok(Command::Read(read)) = parse_words("-r x -t 64 -o hw") else {
        panic!("a file is read")
    };
    assert_eq!(
        (read.trunc_len, read.file.origins),
        (64, Some(Origins::Hardware))
    );
}

#[test]
fn tcpdumps_habits_are_accepted() {
    for words in ["-n", "-nn", "-nnn", "-n -n"] {
        assert_eq!(captured(words), captured(""), "{words}");
    }
    for words in ["-v", "-vv", "-vvv", "-nnv", "-nnvv -i any", "-vn -v"] {
        let detail = captured(words).delivery.text.detail;
        assert_eq!(detail, Detail::Full, "{words}");
    }
    let shown = parse_words("-d tcp");
    assert!(shown.is_ok());
    assert_eq!(parse_words("-nnvvd tcp"), shown);
    assert_eq!(parse_words("--explain x -n"), parse_words("--explain x"));
}

/// tcpdump's options that are others here, or none, each with what to type.
#[test]
fn tcpdumps_other_options_are_refused_with_what_to_type() {
    for (words, message, hint) in [
        ("-nnvvXSs0", "unknown option -X", "tshark"),
        ("-s0", "unknown option -0", "-t here"),
        ("-nns0", "unknown option -0", "-t here"),
        (
            "--snapshot-length=0",
            "unknown option --snapshot-length",
            "-t LEN",
        ),
        ("-t", "--trunc needs a value", "tcpdump's -t"),
        ("-nt", "--trunc needs a value", "tcpdump's -t"),
        (
            "-en",
            "-e and -n cannot be used together",
            "link-layer headers",
        ),
        (
            "-nne",
            "-e and -n cannot be used together",
            "link-layer headers",
        ),
        ("-qn", "-q and -n cannot be used together", "prints less"),
        ("-le", "", "-U"),
        ("-ln", "", "-U"),
        ("-lni eth0", "", "-U"),
        ("-tttt", "", "--utc"),
        ("-tn", "", "--utc"),
        ("-B 4096", "unknown option -B", "-b BYTES"),
        ("-S", "unknown option -S", "leave it out"),
        ("-f", "unknown option -f", "leave it out"),
        ("-N", "unknown option -N", "leave it out"),
        ("-K", "unknown option -K", "leave it out"),
        ("-O", "unknown option -O", "leave it out"),
        ("-I", "unknown option -I", "leave it out"),
        ("-Q in", "unknown option -Q", "inbound"),
        ("-P in", "unknown option -P", "inbound"),
        ("-j host", "unknown option -j", "leave it out"),
        ("-y EN10MB", "unknown option -y", "--link-type"),
        ("-T vxlan", "unknown option -T", "tshark"),
        ("-E x", "unknown option -E", "tshark"),
        ("-L", "unknown option -L", "ip link"),
        ("-#", "unknown option -#", "cat -n"),
        ("-dd tcp", "-d was given twice", "--kernel-filter"),
        (
            "--list-interfaces",
            "unknown option --list-interfaces",
            "ip link",
        ),
        ("--immediate-mode", "unknown option --immediate-mode", "-U"),
        ("--count", "unknown option --count", "--summary"),
        ("--number", "unknown option --number", "cat -n"),
        ("--direction=in", "unknown option --direction", "inbound"),
        ("--verbose", "unknown option --verbose", "-v"),
    ] {
        let error = parse_words(words).unwrap_err();
        if !message.is_empty() {
            assert_eq!(error.to_string(), message, "{words}");
        }
        let found = error.hint.clone().unwrap_or_default();
        assert!(found.contains(hint), "{words}: {error}: {found}");
    }
}

#[test]
fn counting_is_the_kernels_unless_packets_are_needed() {
    #[track_caller]
    fn check(words: &str, counting: Counting, grouping: Grouping, interval: Option<f64>) {
        let Ok(Command::Summary(summary)) = parse_words(words) else {
            panic!("{words}")
        };
        assert_eq!((summary.counting, summary.grouping), (counting, grouping));
        assert_eq!(summary.interval, interval.map(Duration::from_secs_f64));
    }
    use Counting::{Kernel, Packets};
    use Grouping::{Flow, Location, Reason};
    check("--summary", Kernel, Location, None);
    check("--summary=0.5 -p", Kernel, Location, Some(0.5));
    check("--summary -o hw -b 1M", Kernel, Location, None);
    check("--by reason -t 96 -l 500", Packets, Reason, None);
    check("--summary=60 --by flow", Packets, Flow, Some(60.0));
    // A filter is not a number of seconds, and needs packets.
    check("--summary tcp", Packets, Location, None);
    check("--summary -i eth0", Packets, Location, None);
}

#[test]
fn counting_writes_no_packets() {
    let hint = "a summary counts drops and writes no packets: capture into a file first, \
                then `dwdump -r FILE --summary` counts what is in it";
    check("--summary -w x", "-w cannot be used with --summary", hint);
    check(
        "--by flow --format pcap",
        "--format cannot be used with --summary",
        hint,
    );
    let hint = "the kernel counts, and sends no packets; \
                --by location (or a filter) counts packet by packet";
    check(
        "--summary -l 5",
        "-l cannot be used with --summary alone",
        hint,
    );
    let hint = "-l is for live capture; -r reads a file, with -c, -i, -o and -t";
    check("--by flow -r x -l 5", "-l cannot be used with -r", hint);
}

#[test]
fn a_bad_value_is_refused_with_what_was_expected() {
    let trunc = "expected a number of bytes from 0 to 65527";
    check(
        "-t x",
        &format!("invalid value 'x' for --trunc: {trunc}"),
        "",
    );
    check(
        "-t 65528",
        &format!("invalid value '65528' for --trunc: {trunc}"),
        "",
    );
    check(
        "-t +5",
        &format!("invalid value '+5' for --trunc: {trunc}"),
        "",
    );
    check(
        "-l 0",
        "invalid value '0' for --limit: expected a number of packets from 1 to 4294967295",
        "",
    );
    check(
        "-c 0",
        "invalid value '0' for -c: expected a number of drops from 1 to 18446744073709551615",
        "",
    );
    let size = "expected a size in bytes from 1 to 1073741823, such as 500k or 32M";
    check(
        "-b 0",
        &format!("invalid value '0' for --bufsize: {size}"),
        "",
    );
    check(
        "-b 2000M",
        &format!("invalid value '2000M' for --bufsize: {size}"),
        "",
    );
    check(
        "-b k",
        &format!("invalid value 'k' for --bufsize: {size}"),
        "",
    );
    let seconds = "expected seconds, such as 90 or 0.5, above 0 and up to 1000000000";
    check(
        "--duration 0",
        &format!("invalid value '0' for --duration: {seconds}"),
        "",
    );
    check(
        "--duration inf",
        &format!("invalid value 'inf' for --duration: {seconds}"),
        "",
    );
    let origin = "expected sw (dropped by the kernel) or hw (dropped by a device)";
    check(
        "-o both",
        &format!("invalid value 'both' for --origin: {origin}"),
        "",
    );
    check(
        "--format pdf",
        "invalid value 'pdf' for --format",
        "pcapng, pcap, netlink",
    );
}

#[test]
fn options_that_exclude_each_other_are_refused_with_both_meanings() {
    check(
        "--link-type x",
        "invalid value 'x' for --link-type",
        "auto, ethernet, raw, sll2",
    );

    check(
        "-q -s",
        "-q and -s cannot be used together",
        "tcpdump's -q, which prints less",
    );
    check(
        "-e -w x",
        "-e and -w cannot be used together",
        "stops all monitoring on this host",
    );
    check(
        "-s -r x",
        "-s and -r cannot be used together",
        "snapshot length, which is -t here",
    );
    check("-q -c 5", "-q and -c cannot be used together", "");
    check(
        "-s 0",
        "-s and a filter cannot be used together",
        "snapshot length, which is -t here",
    );
    check(
        "-e tcp",
        "-e and a filter cannot be used together",
        "stops all monitoring on this host",
    );
    check(
        "-F x tcp",
        "-F and a filter cannot be used together",
        "into the file",
    );
    check("-l", "--limit needs a value", "-U");
    check("-D", "unknown option -D", "ip link");
    check("-A", "unknown option -A", "tshark");
    check("-X", "unknown option -X", "tshark");
    check("--zap", "unknown option --zap", "--help");
    check("--pasive", "unknown option --pasive", "--passive");
    check("-c 1 -c 2", "-c was given twice", "");

    for option in [
        "-p",
        "-l 5",
        "-b 5",
        "--force",
        "--duration 5",
        "--kernel-filter",
    ] {
        let name = option.split(' ').next().unwrap();
        check(
            &format!("-r x {option}"),
            &format!("{name} cannot be used with -r"),
            "live capture",
        );
    }
    check("-p -t 5", "-t cannot be used with -p", "changes nothing");
    check("-p -l 5", "-l cannot be used with -p", "changes nothing");
    check(
        "-p --force",
        "--force cannot be used with -p",
        "changes nothing",
    );
    check(
        "-w x --format netlink --link-type raw",
        "--link-type cannot be used with --format netlink",
        "",
    );
    check(
        "-w x --format pcap --link-type auto",
        "--link-type auto cannot be used with --format pcap",
        "sll2",
    );
}

#[test]
fn the_words_of_a_filter_are_joined_wherever_they_stand() {
    let words = |text: &str| FilterText::Words(text.into());
    assert_eq!(
        captured("tcp and port 80").delivery.selection.filter,
        words("tcp and port 80")
    );
    assert_eq!(
        captured("-c 1 tcp -U or udp").delivery.selection.filter,
        words("tcp or udp")
    );
    assert_eq!(
        captured("ip[0] - 4 > -1").delivery.selection.filter,
        words("ip[0] - 4 > -1")
    );
    assert_eq!(captured("").delivery.selection.filter, words(""));
    let file = FilterText::File(Target::File("x".into()));
    assert_eq!(captured("-F x").delivery.selection.filter, file);
    let selection = Selection {
        interface: Some("eth0".into()),
        filter: words("tcp"),
    };
    assert_eq!(
        parse_words("-d -i eth0 tcp"),
        Ok(Command::ShowFilter(
            selection.clone(),
            Filtering::UserSpace,
            SourceChoice::Auto
        ))
    );
    assert_eq!(
        parse_words("-d --kernel-filter --source ebpf -i eth0 tcp"),
        Ok(Command::ShowFilter(
            selection,
            Filtering::KernelToo,
            SourceChoice::Ebpf
        ))
    );
}

#[test]
fn the_kernel_filters_only_where_it_is_asked_to() {
    assert_eq!(captured("tcp").filtering, Filtering::UserSpace);
    for words in ["tcp", "-F x", "-i eth0", "-p tcp", "--source ebpf tcp"] {
        let capture = captured(&format!("--kernel-filter {words}"));
        assert_eq!(capture.filtering, Filtering::KernelToo, "{words}");
    }
    let hint = "nothing to reject";
    check("--kernel-filter", "--kernel-filter needs a filter", hint);
    check("-d --kernel-filter", "--kernel-filter needs a filter", hint);
    check(
        "-q --kernel-filter",
        "-q and --kernel-filter cannot be used together",
        "",
    );
    check(
        "--explain --kernel-filter",
        "--explain and --kernel-filter cannot be used together",
        "",
    );
}

#[test]
fn options_of_the_drop_monitor_are_not_for_ebpf() {
    let source = |words: &str| {
        let live = captured(words).live;
        (live.source, live.net_dm_option)
    };
    assert_eq!(source("-w x"), (SourceChoice::Auto, None));
    for origin in ["sw", "hw"] {
        let words = format!("--source ebpf -b 1M -t 96 -o {origin}");
        assert_eq!(source(&words), (SourceChoice::Ebpf, None));
    }
    assert_eq!(
        source("--source netdm -p"),
        (SourceChoice::NetDm, Some("-p"))
    );
    assert_eq!(source("--kernel-filter udp"), (SourceChoice::Auto, None));
    for words in ["-p", "-l 5", "--force"] {
        let option = words.trim_end_matches(" 5");
        assert_eq!(source(words), (SourceChoice::Auto, Some(option)));
        check(
            &format!("--source ebpf {words}"),
            &format!("{option} cannot be used with --source ebpf"),
            "--source netdm",
        );
    }
    check(
        "-q --source ebpf",
        "-q and --source cannot be used together",
        "",
    );
    check("-r x --source ebpf", "--source cannot be used with -r", "");
    for (words, counting) in [
        ("--summary --source ebpf", Counting::Kernel),
        ("--summary --source ebpf -t 256", Counting::Packets),
    ] {
        let Ok(Command::Summary(summary)) = parse_words(words) else {
            panic!("drops are counted")
        };
        assert_eq!(summary.counting, counting, "{words}");
    }
}
