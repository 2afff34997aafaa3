//! Has the running kernel's verifier look at the programs with all kinds of filters.

use std::io::{self, Write};

use crate::bpf::MAX_LEN;
use crate::ebpf::reasons::Reasons;
use crate::ebpf::tracer::load_each;
use crate::filter::tests::kernel::{PRIMITIVES, TRANSPORT_WORDS, WHOLE};
use crate::filter::tests::parse;

/// Primitives of which only eBPF's filter can evaluate more than the drop monitor's.
pub const MORE: &[&str] = &[
    "reason *SOCKET*",
    "reason = NO_SOCKET",
    "reason = \"\"",
    "reason ?O_SOCKET",
    "reason OVS_*",
    "reason 0x*",
    "iface = \"\"",
    "iface 0",
    "iface 1",
    "protocol 0x0800",
    "protocol = \"\"",
    "trap = \"\"",
    "trap *",
    "pc = \"\"",
    "udp[100] = 0",
    "tcp[130:4] = 0",
    "ether[1200] = 0",
    "ip[60:2] = 0x5555",
    "ip6[41] = 0x55",
    "mark 7",
    "mark 0",
    "cgroup_id 0",
    "mark = \"\"",
    "cgroup_id 7",
    "cgroup_id 30064771081",
    "cgroup_id = \"\"",
    "device lo",
    "device l*",
    "device = eth0",
    "netns 9",
    "netns 4026531840",
    "running nginx",
    "running nginx*",
    "running = \"nginx: worker p\"",
];

/// It takes every filter that the drop monitor's socket takes. Skipped, aloud, where this process
/// may load no program.
#[test]
fn this_kernels_verifier_takes_all_filters() {
    let reasons = Reasons::of_running_kernel();
    // As many of each as fit into the drop monitor's limit.
    let longest = |word: &dyn Fn(usize) -> String| {
        let text = |count| (1..=count).map(word).collect::<Vec<_>>().join(" or ");
        let fits = |count: &usize| parse(&text(*count)).in_program(&reasons, MAX_LEN).is_ok();
        let counts: Vec<usize> = (1..2000).collect();
        text(counts.partition_point(fits))
    };
    let long = [
        longest(&|number| format!("host 10.0.{}.{}", number / 256, number % 256)),
        longest(&|number| format!("net 2001:db8:{number}::/48")),
        longest(&|number| format!("not udp port {number} and ip6")),
        longest(&|number| format!("dst port {} or tcp", 2 * number)),
        longest(&|number| format!("sport {number}")),
        longest(&|number| format!("saddr 10.0.0.0/{} and udp", 8 + number % 24)),
        longest(&|number| format!("tcp[{number}:2] = {number} and len > {number}")),
        longest(&|number| {
            format!(
                "ether src 02:00:00:00:{:02x}:{:02x}",
                number / 256,
                number % 256
            )
        }),
    ];
    let texts = PRIMITIVES
        .iter()
        .chain(MORE)
        .chain(WHOLE)
        .chain(TRANSPORT_WORDS);
    let texts = texts.flat_map(|text| [(*text).to_owned(), format!("not ({text})")]);
    let texts = texts.chain(long);
    let (texts, programs): (Vec<_>, Vec<_>) = texts
        .filter_map(|text| {
            let kernel = parse(&text).in_program(&reasons, MAX_LEN).ok()?;
            Some((text, kernel.program))
        })
        .unzip();
    for (text, loaded) in texts.iter().zip(load_each(&programs)) {
        match loaded {
            Ok(()) => {}
            Err(error) if error.hint().is_some() => {
                // Not by eprintln!, whose text a passing test does not show.
                writeln!(io::stderr(), "SKIPPED: {error}").unwrap();
                return;
            }
            Err(error) => panic!("{error}: {text}"),
        }
    }
    assert!(texts.len() > 150, "{}", texts.len());
}
