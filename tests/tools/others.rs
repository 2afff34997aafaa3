//! tcpdump, capinfos, editcap and mergecap.

use std::collections::BTreeSet;

use crate::{CAPTURES, Expected, Folder, alerts, dwdump, fields, fixture, output};

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
