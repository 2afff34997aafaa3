//! `--json` beside tshark.

use serde_json::Value;

use crate::{CAPTURES, Folder, output};

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
