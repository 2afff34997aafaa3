//! What tshark shows of a file, and what it selects.

use std::process::Command;

use crate::{
    CAPTURES, Expected, Folder, alerts, fields, fixture, get, pcap::Message, pcap::number, run,
};

#[test]
fn tshark_shows_every_fact_of_every_drop() {
    let folder = Folder::new();
    for name in CAPTURES {
        let (path, kept, _) = folder.convert(name, "out.pcapng", &["--link-type", "auto"]);
        let shown = fields(
            &path,
            "",
            &[
                "frame.time_epoch",
                "frame.len",
                "frame.cap_len",
                "frame.interface_name",
                "frame.interface_description",
                "frame.packet_flags",
                "frame.comment",
                "frame.protocols",
            ],
        );
        let alerts = alerts(name);
        assert_eq!((shown.len(), kept), (alerts.len(), alerts.len()), "{name}");
        for (number, (shown, alert)) in shown.iter().zip(&alerts).enumerate() {
            let number = number + 1;
            let expected = Expected::new(alert);
            assert_eq!(shown[0], expected.time, "{name}, packet {number}");
            assert_eq!(shown[1], expected.len, "{name}, packet {number}");
            assert_eq!(shown[2], expected.captured, "{name}, packet {number}");
            assert_eq!(shown[3], expected.interface, "{name}, packet {number}");
            let description = shown[4].strip_suffix(", link type assumed");
            let description = description.unwrap_or(&shown[4]);
            assert_eq!(description, expected.description, "{name}, packet {number}");
            assert_eq!(shown[5], expected.flags, "{name}, packet {number}");
            // One more only where the bytes do not say what the kernel called them.
            let mut comments: Vec<&str> = shown[6].split('|').collect();
            comments.retain(|comment| !comment.starts_with("protocol: "));
            assert_eq!(comments, expected.comments, "{name}, packet {number}");
            check_protocols(&expected.payload, &shown[7]);
        }
    }
}

/// Ethernet or raw IP, by what the bytes are to one who looks at them.
#[track_caller]
fn check_protocols(payload: &[u8], protocols: &str) {
    let ethertype = payload.get(12..14);
    // A header of five words, and a length of all there is: the recorded tun packets.
    let length = payload.get(2..4).map(|bytes| number(bytes, true));
    let is_raw = payload.first() == Some(&0x45) && length == Some(payload.len() as u64);
    match ethertype {
        _ if is_raw => assert!(protocols.starts_with("raw:ip"), "{protocols}"),
        Some([0x08, 0x00]) if payload[14..].first() == Some(&0x45) => {
            assert!(protocols.starts_with("eth:ethertype:ip"), "{protocols}");
        }
        Some([0x08, 0x06]) => assert!(protocols.starts_with("eth:ethertype:arp"), "{protocols}"),
        _ => {}
    }
}

/// How many packets of which protocol there are, by their IP header, as the kernel saw them.
fn count_ip_protocol(alerts: &[Message], wanted: u8) -> usize {
    let is_wanted = |alert: &&Message| {
        let payload = get(&alert.attributes, 7).unwrap_or_default();
        payload.get(12..15) == Some(&[8, 0, 0x45]) && payload.get(23) == Some(&wanted)
    };
    alerts.iter().filter(is_wanted).count()
}

#[test]
fn tshark_finds_the_protocols_that_were_dropped() {
    let folder = Folder::new();
    for name in ["software-6.1", "software-6.12"] {
        let (path, ..) = folder.convert(name, "out.pcapng", &[]);
        let alerts = alerts(name);
        let count = |filter: &str| fields(&path, filter, &["frame.number"]).len();
        for (filter, protocol) in [("eth && ospf", 89), ("eth && gre", 47), ("eth && esp", 50)] {
            let expected = count_ip_protocol(&alerts, protocol);
            assert!(expected > 0, "{name} has none of {protocol}");
            assert_eq!(count(filter), expected, "{name}: {filter}");
        }
        // In tunnels and ICMP errors are more.
        assert!(count("eth && udp || eth && ip.proto == 17") >= count_ip_protocol(&alerts, 17));
        assert!(count("eth && ip.proto == 6") >= count_ip_protocol(&alerts, 6));
        assert!(count("ospf && ip.src == 10.10.2.4") > 0);
        assert!(count("gre && ip.dst == 10.10.2.2") > 0);
        assert!(count("vxlan || ip.src == 172.16.14.2") > 0);
        assert!(count("arp") > 0);
        assert!(count("raw && ip && !eth") > 0, "tun");
    }
    let (path, ..) = folder.convert("made/links", "out.pcapng", &[]);
    assert_eq!(fields(&path, "stp", &["frame.number"]), [["1"]]);
    assert_eq!(
        fields(&path, "raw && ip.src == 8.0.1.1", &["frame.number"]),
        [["2"], ["8"]]
    );
    assert_eq!(fields(&path, "raw && ipv6", &["frame.number"]), [["3"]]);
    assert_eq!(
        fields(&path, "vlan.id == 100 && ip", &["frame.number"]),
        [["4"], ["5"]]
    );
}

#[test]
fn tshark_filters_by_our_comments() {
    let folder = Folder::new();
    let (path, ..) = folder.convert("software-6.12", "out.pcapng", &[]);
    let alerts = alerts("software-6.12");
    let has = |alert: &&Message, kind, value: &[u8]| get(&alert.attributes, kind) == Some(value);
    let expected = alerts
        .iter()
        .filter(|alert| has(alert, 23, b"NO_SOCKET\0"))
        .count();
    assert!(expected > 10);
    let filter = "frame.comment == \"reason: NO_SOCKET\"";
    assert_eq!(fields(&path, filter, &["frame.number"]).len(), expected);
    let filter = "frame.comment contains \"udp4_lib_rcv\" && udp.dstport == 9999";
    assert!(!fields(&path, filter, &["frame.number"]).is_empty());

    let (path, ..) = folder.convert("hardware-6.12", "out.pcapng", &[]);
    let alerts = self::alerts("hardware-6.12");
    let trap = get(&alerts[0].attributes, 16).unwrap();
    let expected = alerts.iter().filter(|alert| has(alert, 16, trap)).count();
    let name = std::str::from_utf8(&trap[..trap.len() - 1]).unwrap();
    let filter = format!("frame.comment == \"trap: {name}\"");
    assert_eq!(fields(&path, &filter, &["frame.number"]).len(), expected);
}

#[test]
fn tshark_reads_our_netlink_files_as_the_c_tools() {
    let folder = Folder::new();
    let names = [
        "net_dm.pc",
        "net_dm.symbol",
        "net_dm.timestamp",
        "net_dm.orig_len",
        "net_dm.proto",
        "net_dm.origin",
        "net_dm.hw_trap_name",
        "net_dm.hw_trap_group_name",
        "net_dm.port.netdev_index",
        "net_dm.port.netdev_name",
        "net_dm.cookie",
        "ip.dst",
    ];
    for name in [
        "software-6.1",
        "software-6.12",
        "hardware-6.12",
        "made/little-endian",
    ] {
        let (path, ..) = folder.convert(name, "out.pcap", &[]);
        let [theirs, ours] =
            [&fixture(name), &path].map(|path| fields(path, "net_dm.cmd == 5", &names));
        assert_eq!(ours.len(), alerts(name).len(), "{name}");
        assert_eq!(ours, theirs, "{name}");
    }
    // What the kernel's own selftest asks for.
    let (path, ..) = folder.convert("hardware-6.12", "out.pcap", &["-o", "hw"]);
    let wanted = |alert: &&Message| get(&alert.attributes, 16) == Some(b"blackhole_route\0");
    let expected = alerts("hardware-6.12").iter().filter(wanted).count();
    assert!(expected > 0);
    let selected = fields(
        &path,
        "net_dm.hw_trap_name == blackhole_route",
        &["frame.number"],
    );
    assert_eq!(selected.len(), expected);
    let (path, ..) = folder.convert("software-6.12", "out.pcap", &["-o", "sw"]);
    let destination = [10, 10, 2, 2];
    let wanted = |alert: &&Message| {
        let payload = get(&alert.attributes, 7).unwrap_or_default();
        payload.get(12..14) == Some(&[8, 0]) && payload.get(30..34) == Some(&destination)
    };
    let expected = alerts("software-6.12").iter().filter(wanted).count();
    assert!(expected > 0);
    let selected = fields(&path, "ip.dst == 10.10.2.2", &["frame.number"]);
    assert!(
        selected.len() >= expected,
        "{} of {expected}",
        selected.len()
    );
}

#[test]
fn a_cut_file_is_read_to_its_last_whole_block() {
    let folder = Folder::new();
    let (path, ..) = folder.convert("software-6.12", "out.pcapng", &["-c", "20"]);
    let whole = std::fs::read(path).unwrap();
    let cut = folder.file("cut.pcapng");
    // From behind the section header and interface 0 on, at every remainder of 4.
    for len in (200..whole.len()).step_by(whole.len() / 40) {
        std::fs::write(&cut, &whole[..len]).unwrap();
        let ours = run(env!("CARGO_BIN_EXE_dwdump"), &["-r", &cut, "--print"]);
        let theirs = run(
            "tshark",
            &["-r", &cut, "-T", "fields", "-e", "frame.number"],
        );
        let [ours, theirs] = [ours, theirs].map(|output| String::from_utf8(output.stdout).unwrap());
        assert_eq!(ours.lines().count(), theirs.lines().count(), "cut at {len}");
    }
}

#[test]
fn tshark_reads_from_a_pipe() {
    let line = "$dwdump -r $input | tshark -r - -T fields -e frame.comment";
    let output = Command::new("sh")
        .args(["-c", line])
        .env("dwdump", env!("CARGO_BIN_EXE_dwdump"))
        .env("input", fixture("software-6.12"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), alerts("software-6.12").len());
    assert!(text.lines().all(|line| line.contains("pc: 0x")));
}
