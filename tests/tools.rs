//! Our files in the tools that people have: tshark, tcpdump, capinfos, editcap, mergecap. A tool
//! that is not there fails its tests. What they ought to show is taken from the kernel's messages
//! in the fixtures, by the oracle.
//!
//! Not part of a plain `cargo test`: `cargo test --test tools`.

#[path = "oracle/pcap.rs"]
mod pcap;

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pcap::{Message, number};
use tempfile::TempDir;

/// Captures of every kind of drop.
const CAPTURES: [&str; 6] = [
    "software-6.1",
    "software-6.12",
    "hardware-6.12",
    "made/little-endian",
    "made/links",
    "made/no-reason",
];

fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .env("TZ", "UTC")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}: it has to be installed"))
}

/// What a tool prints; it has to succeed.
#[track_caller]
fn output(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program. The packets that it kept and those that it left out of the file.
#[track_caller]
fn dwdump(arguments: &[&str]) -> (usize, usize) {
    let output = run(env!("CARGO_BIN_EXE_dwdump"), arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {error}");
    let count = |what: &str| {
        let line = error.lines().find(|line| line.contains(what))?;
        line.split(' ').next()?.parse::<usize>().ok()
    };
    let kept = count(" kept").unwrap();
    (kept, count(" left out, because link type").unwrap_or(0))
}

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    path.join(format!("{name}.pcap"))
        .to_str()
        .unwrap()
        .to_owned()
}

/// A folder, and files in it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A fixture, converted.
    #[track_caller]
    fn convert(&self, fixture_name: &str, name: &str, options: &[&str]) -> (String, usize, usize) {
        let (input, path) = (fixture(fixture_name), self.file(name));
        let (kept, left_out) = dwdump(&[&["-r", &input, "-w", &path], options].concat());
        (path, kept, left_out)
    }
}

/// The fields that tshark shows of every packet that the filter selects.
#[track_caller]
fn fields(path: &str, filter: &str, names: &[&str]) -> Vec<Vec<String>> {
    let mut arguments = vec![
        "-r",
        path,
        "-T",
        "fields",
        "-E",
        "separator=/t",
        "-E",
        "aggregator=|",
    ];
    if !filter.is_empty() {
        arguments.extend(["-Y", filter]);
    }
    for name in names {
        arguments.extend(["-e", name]);
    }
    let text = output("tshark", &arguments);
    let lines = text.lines();
    lines
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

/// The packet alerts of a capture.
fn alerts(name: &str) -> Vec<Message> {
    let capture = pcap::pcap(&std::fs::read(fixture(name)).unwrap());
    assert_eq!(capture.link, 253);
    let is_big_endian = capture.is_big_endian;
    let records = capture.records.iter();
    let messages = records.flat_map(|record| pcap::messages(&record.data, is_big_endian));
    let alerts = messages.filter(|message| message.kind > 16 && message.command == 5);
    alerts.collect()
}

fn get(attributes: &[(u16, Vec<u8>)], kind: u16) -> Option<&[u8]> {
    let found = attributes.iter().find(|(other, _)| *other == kind);
    found.map(|(_, value)| value.as_slice())
}

/// What tshark has to show of a drop.
struct Expected {
    time: String,
    len: String,
    captured: String,
    interface: String,
    description: String,
    flags: &'static str,
    comments: Vec<String>,
    payload: Vec<u8>,
}

// NET_DM_ATTR_ of linux/net_dropmon.h.
impl Expected {
    fn new(alert: &Message) -> Self {
        let value = |kind| get(&alert.attributes, kind);
        let unsigned = |kind| value(kind).map(|bytes| number(bytes, false));
        let text = |bytes: &[u8]| {
            let text = std::str::from_utf8(bytes).unwrap();
            text.strip_suffix('\0').unwrap().to_owned()
        };
        let mut comments = Vec::new();
        let mut comment = |key: &str, text: Option<String>| {
            comments.extend(text.map(|text| format!("{key}: {text}")));
        };
        comment("reason", value(23).map(text));
        comment("location", value(3).map(text));
        comment("pc", unsigned(2).map(|pc| format!("0x{pc:016x}")));
        comment("trap", value(16).map(text));
        comment("trap_group", value(15).map(text));
        comment("cookie", value(22).map(pcap::hex));
        let time = unsigned(5).unwrap();
        let port = pcap::attributes(value(4).unwrap_or_default(), false);
        let index = get(&port, 0).map(|bytes| number(bytes, false));
        let origin = match unsigned(14).unwrap() {
            0 => "software",
            _ => "hardware",
        };
        let payload = value(7).unwrap_or_default().to_vec();
        Self {
            time: format!("{}.{:09}", time / 1_000_000_000, time % 1_000_000_000),
            len: unsigned(10).unwrap().to_string(),
            captured: payload.len().to_string(),
            interface: match (get(&port, 1), index) {
                (Some(name), _) => text(name),
                (None, Some(index)) => format!("if{index}"),
                (None, None) => "local".into(),
            },
            description: match index {
                Some(index) => format!("ifindex {index}, {origin}"),
                None => format!("locally generated, {origin}"),
            },
            flags: if port.is_empty() {
                "0x00000002"
            } else {
                "0x00000001"
            },
            comments,
            payload,
        }
    }
}

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
fn tcpdump_reads_files_of_one_link_type_whole() {
    let folder = Folder::new();
    for name in CAPTURES {
        for options in [
            &["--link-type", "ethernet"][..],
            &["--link-type", "raw"],
            &["--link-type", "sll2"],
            &["--format", "pcap"],
            &["--format", "pcap", "--link-type", "ethernet"],
            &["--format", "pcap", "--link-type", "raw"],
        ] {
            let (path, kept, left_out) = folder.convert(name, "out", options);
            let written = kept - left_out;
            assert!(written > 0, "{name} {options:?}");
            // One line with the count of what was read.
            let count = output("tcpdump", &["--count", "-nr", &path]);
            let noun = if written == 1 { "packet" } else { "packets" };
            assert_eq!(count, format!("{written} {noun}\n"), "{name} {options:?}");
            // And every packet can be shown, by tshark too.
            output("tcpdump", &["-nvvr", &path]);
            assert_eq!(fields(&path, "", &["frame.number"]).len(), written);
        }
    }
}

#[test]
fn tcpdump_shows_the_protocols_behind_every_link_type() {
    let folder = Folder::new();
    let count = |path: &str, filter: &str| output("tcpdump", &["--count", "-nr", path, filter]);
    for options in [
        &["--link-type", "ethernet"][..],
        &["--link-type", "sll2"],
        &["--link-type", "raw"],
        &["--format", "pcap", "--link-type", "raw"],
    ] {
        let (path, ..) = folder.convert("software-6.12", "out", options);
        let protocols = ["ip proto 89", "ip proto 47", "ip proto 50"];
        for filter in ["udp and dst port 9999"].into_iter().chain(protocols) {
            let count = count(&path, filter);
            assert!(!count.starts_with("0 "), "{options:?}, {filter}: {count}");
        }
    }
}

#[test]
fn capinfos_shows_interfaces_statistics_and_the_application() {
    let folder = Folder::new();
    for name in CAPTURES {
        let (path, kept, _) = folder.convert(name, "out.pcapng", &[]);
        let text = output("capinfos", &[&path]);
        let value = |key: &str| {
            let line = text.lines().find(|line| line.starts_with(key));
            line.and_then(|line| {
                line.rsplit(": ")
                    .next()
                    .map(|value| value.trim().to_owned())
            })
        };
        let application = concat!("dwdump ", env!("CARGO_PKG_VERSION"));
        assert_eq!(value("Capture application").as_deref(), Some(application));
        assert_eq!(value("Number of packets"), Some(kept.to_string()));
        let count: usize = value("Number of interfaces in file")
            .unwrap()
            .parse()
            .unwrap();
        let sources: BTreeSet<(String, String)> = alerts(name)
            .iter()
            .map(Expected::new)
            .map(|expected| (expected.interface, expected.description))
            .collect();
        // Interface 0, each source, and some twice: with another link type, or with a guessed one.
        assert!(count > sources.len(), "{text}");
        assert_eq!(text.matches("Name = ").count(), count);
        assert_eq!(
            text.matches("Number of stat entries = 1\n").count(),
            count,
            "{text}"
        );
        assert!(text.contains("Name = dwdump\n"), "{text}");
        assert!(
            text.contains("Description = kernel drop monitor\n"),
            "{text}"
        );
        for (interface, description) in sources {
            assert!(text.contains(&format!("Name = {interface}\n")), "{text}");
            assert!(
                text.contains(&format!("Description = {description}")),
                "{text}"
            );
        }
    }
    // Where the file says which machine it is from, that is kept.
    let (own, path) = (fixture("made/own") + "ng", folder.file("out.pcapng"));
    dwdump(&["-r", &own, "-w", &path]);
    let text = output("capinfos", &[&path]);
    assert!(text.contains("Capture hardware:    x86_64\n"), "{text}");
    assert!(
        text.contains("Capture oper-sys:    Linux 6.12.0-example\n"),
        "{text}"
    );
}

#[test]
fn every_tool_opens_an_empty_result() {
    let folder = Folder::new();
    for options in [
        &["--link-type", "auto"][..],
        &["--link-type", "raw"],
        &["--link-type", "sll2"],
        &["--format", "pcap"],
        &["--format", "netlink"],
    ] {
        let (path, kept, _) = folder.convert("summary-6.12", "out", options);
        assert_eq!(kept, 0);
        let is_netlink = options == ["--format", "netlink"];
        // The answer that names the family is a packet to them.
        let count = usize::from(is_netlink);
        assert_eq!(fields(&path, "", &["frame.number"]).len(), count);
        let text = output("capinfos", &["-c", &path]);
        assert!(
            text.contains(&format!("Number of packets:   {count}\n")),
            "{text}"
        );
        let noun = if count == 1 { "packet" } else { "packets" };
        assert_eq!(
            output("tcpdump", &["--count", "-r", &path]),
            format!("{count} {noun}\n")
        );
    }
}

#[test]
fn editcap_and_mergecap_keep_what_we_read_back() {
    let folder = Folder::new();
    let text = |path: &str| output(env!("CARGO_BIN_EXE_dwdump"), &["-r", path, "--print"]);
    for name in CAPTURES {
        let (path, kept, _) = folder.convert(name, "out.pcapng", &[]);
        let edited = folder.file("edited.pcapng");
        output("editcap", &[&path, &edited]);
        assert_eq!(text(&edited), text(&path), "{name}");
        // Not the text alone: every fact.
        let [before, after] = [&path, &edited].map(|path| {
            let again = folder.file("again.pcap");
            dwdump(&["-r", path, "-w", &again]);
            std::fs::read(again).unwrap()
        });
        assert!(before == after, "{name}: editcap changed what is read");

        let merged = folder.file("merged.pcapng");
        output("mergecap", &["-a", "-w", &merged, &path, &edited]);
        let (twice, _) = dwdump(&["-r", &merged, "-w", &folder.file("again.pcapng")]);
        assert_eq!(twice, 2 * kept, "{name}");
        assert_eq!(text(&merged), text(&path).repeat(2), "{name}");
    }
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

/// What tshark says of a field in one packet, outermost first.
fn layer<'v>(packet: &'v Value, field: &str) -> Vec<&'v str> {
    let values = packet["_source"]["layers"][field].as_array();
    values
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

#[test]
fn json_says_of_addresses_ports_and_lengths_what_tshark_says() {
    let folder = Folder::new();
    let ports = [
        "udp.srcport",
        "udp.dstport",
        "tcp.srcport",
        "tcp.dstport",
        "sctp.srcport",
        "sctp.dstport",
    ];
    let others = [
        "frame.len",
        "frame.cap_len",
        "ip.src",
        "ip.dst",
        "ipv6.src",
        "ipv6.dst",
        "ip.frag_offset",
        "ip.checksum.status",
        "udp.checksum.status",
        "tcp.checksum.status",
    ];
    let (mut compared, mut bad) = (0, 0);
    for name in CAPTURES.into_iter().chain(["made/malformed"]) {
        let (path, ..) = folder.convert(name, "out.pcapng", &[]);
        // As each packet stands: dwdump puts no fragments together.
        let mut arguments = vec!["-r", &path, "-T", "json", "-o", "ip.defragment:FALSE"];
        arguments.extend(["-o", "ipv6.defragment:FALSE"]);
        for protocol in ["ip", "udp", "tcp"] {
            let choice = format!("{protocol}.check_checksum:TRUE");
            arguments.extend(["-o", choice.leak()]);
        }
        for field in ports.iter().chain(&others) {
            arguments.extend(["-e", field]);
        }
        let theirs: Vec<Value> = serde_json::from_str(&output("tshark", &arguments)).unwrap();
        let ours = output(env!("CARGO_BIN_EXE_dwdump"), &["-r", &path, "--json"]);
        let ours: Vec<Value> = ours
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(ours.len(), theirs.len(), "{name}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let number = |field: &str| layer(theirs, field)[0].parse::<u64>().unwrap();
            assert_eq!(ours["length"], number("frame.len"), "{ours} {theirs}");
            assert_eq!(ours["captured"], number("frame.cap_len"), "{ours} {theirs}");
            let ip = |end: &str| {
                let addresses = [format!("ip.{end}"), format!("ipv6.{end}")];
                addresses
                    .iter()
                    .find_map(|field| layer(theirs, field).first().copied())
            };
            let fault = |name: &str| ours["fault"][name].as_str().unwrap_or_default();
            let is_ip = ["ip", "ip6"].contains(&fault("layer"));
            // Where tshark reads no further, though the bytes are there.
            if is_ip && !["checksum", "ttl", "hop_limit"].contains(&fault("field")) {
                continue;
            }
            if ["ip", "udp", "tcp"].contains(&fault("layer")) && fault("field") == "checksum" {
                let status = layer(theirs, &format!("{}.checksum.status", fault("layer")));
                // Bad, or of a value that is not allowed.
                let depth = ours["fault"]["depth"].as_u64().unwrap_or_default();
                let status = status[usize::try_from(depth).unwrap()];
                assert!(["0", "4"].contains(&status), "{ours} {theirs}");
                bad += 1;
            }
            if ours.get("src").is_some() {
                assert_eq!(ours["src"].as_str(), ip("src"), "{ours} {theirs}");
                assert_eq!(ours["dst"].as_str(), ip("dst"), "{ours} {theirs}");
                compared += 1;
            }
            let Some(transport) = ours["transport"].as_str() else {
                continue;
            };
            let offset = layer(theirs, "ip.frag_offset").first().copied();
            let is_fragment = offset.is_some_and(|offset| offset != "0");
            if !["udp", "tcp", "sctp"].contains(&transport) || is_fragment {
                assert!(ours.get("sport").is_none(), "{ours}");
                continue;
            }
            for (end, field) in [("sport", "srcport"), ("dport", "dstport")] {
                let found = layer(theirs, &format!("{transport}.{field}"))
                    .first()
                    .copied();
                let found = found.map(|port| port.parse::<u64>().unwrap());
                assert_eq!(
                    ours.get(end).and_then(Value::as_u64),
                    found,
                    "{ours} {theirs}"
                );
            }
        }
    }
    assert!(compared > 600, "{compared}");
    assert!(bad >= 4, "{bad}");
}
