//! Files that follow one another, beside those of tcpdump: names byte by byte, and the packets in each. Another tcpdump
//! than that of this machine takes its place where DWDUMP_TEST_TCPDUMP names it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::{dwdump, fixture, run};

/// The options. tcpdump has suffixes since 5.0; until then, the last ones are beside nothing.
const CASES: [&[&str]; 10] = [
    &["-C", "1"],
    &["-C", "1", "-W", "1"],
    &["-C", "1", "-W", "2"],
    &["-C", "1", "-W", "3"],
    &["-C", "1", "-W", "10"],
    &["-C", "1", "-W", "11"],
    &["-C", "2", "-W", "1001"],
    &["-C", "300k"],
    &["-C", "64K", "-W", "100"],
    &["-C", "1M", "-W", "3"],
];

/// A plain pcap file of 3.5 MB.
fn large(folder: &Path) -> String {
    let once = folder.join("once.pcap");
    let once = once.to_str().unwrap();
    dwdump(&[
        "-r",
        &fixture("software-6.12"),
        "-w",
        once,
        "--link-type",
        "ethernet",
    ]);
    let bytes = std::fs::read(once).unwrap();
    let (header, records) = bytes.split_at(24);
    let all = [header, &records.repeat(3_500_000 / records.len())].concat();
    let path = folder.join("large.pcap");
    std::fs::write(&path, all).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The names in a folder, with the packets in each file.
fn files(folder: &Path) -> BTreeMap<String, usize> {
    let files = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    files
        .map(|file| {
            let bytes = std::fs::read(file.path()).unwrap();
            let (mut rest, mut count) = (&bytes[24..], 0);
            while let Some((record, others)) = rest.split_at_checked(16) {
                let len = u32::from_ne_bytes(record[8..12].try_into().unwrap());
                rest = &others[usize::try_from(len).unwrap()..];
                count += 1;
            }
            (file.file_name().into_string().unwrap(), count)
        })
        .collect()
}

#[test]
fn files_are_divided_and_named_as_by_tcpdump() {
    let tcpdump = std::env::var("DWDUMP_TEST_TCPDUMP").unwrap_or_else(|_| "tcpdump".into());
    let version = run(&tcpdump, &["--version"]);
    let version = [version.stdout, version.stderr].concat();
    let version = String::from_utf8(version).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let large = large(folder.path());
    let mut sums = 0;
    for (number, options) in CASES.iter().enumerate() {
        let [ours, theirs] = ["ours", "theirs"].map(|whose| {
            let folder = folder.path().join(format!("{whose}-{number}"));
            std::fs::create_dir(&folder).unwrap();
            folder
        });
        let name = |folder: &Path| folder.join("out%Y.pcap").to_str().unwrap().to_owned();
        let (our_name, their_name) = (name(&ours), name(&theirs));
        let words = ["-r", &large, "-w", &our_name, "--link-type", "ethernet"];
        dwdump(&[&words, *options].concat());
        let ours = files(&ours);
        sums += ours.len();
        // It would give up root's rights, and then write nowhere.
        let root = if nix::unistd::geteuid().is_root() {
            &["-Z", "root"][..]
        } else {
            &[]
        };
        let words = ["-r", &large, "-w", &their_name];
        let their_output = run(&tcpdump, &[&words, *options, root].concat());
        let error = String::from_utf8(their_output.stderr).unwrap();
        if error.contains("invalid file size") && number > 6 {
            println!("{options:?}: not known to {version}");
            continue;
        }
        assert!(their_output.status.success(), "{options:?}: {error}");
        assert_eq!(ours, files(&theirs), "{options:?}, {version}");
    }
    assert!(sums > 80, "{sums} files");
}
