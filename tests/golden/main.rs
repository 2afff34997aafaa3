//! Golden runs: the real program on the captures in `fixtures`, and all that it says and writes.
//!
//! One line a case; what is expected stands in `tests/golden/NAME.out`. After a change that is
//! meant, `UPDATE_GOLDEN=1 cargo test --test golden` writes them anew: review the difference.
//! Capture files are shown as text, by readers that are not the program's.

mod dump;
#[path = "../oracle/pcap.rs"]
mod pcap;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Name and arguments. Words are split at spaces; a relative path is one in a folder of its own,
/// where `fixtures` are, and where every file that appears is shown.
#[rustfmt::skip]
const CASES: &[(&str, &str)] = &[
    // Text, of everything.
    ("text-software-6.1", "-r fixtures/software-6.1.pcap --print"),
    ("text-software-6.12", "-r fixtures/software-6.12.pcap --print"),
    ("text-hardware-6.12", "-r fixtures/hardware-6.12.pcap --print -c 60"),
    ("text-summary-6.12", "-r fixtures/summary-6.12.pcap --print"),
    ("text-no-reason", "-r fixtures/made/no-reason.pcap --print"),
    ("text-odd-attributes", "-r fixtures/made/odd-attributes.pcap --print"),
    ("text-in-port", "-r fixtures/made/in-port.pcap --print"),
    ("text-several-messages", "-r fixtures/made/several-messages.pcap --print"),
    ("text-little-endian", "-r fixtures/made/little-endian.pcap --print"),
    ("text-big-endian", "-r fixtures/made/big-endian.pcap --print"),
    ("text-nanoseconds", "-r fixtures/made/nanoseconds.pcap --print"),
    ("text-rewritten", "-r fixtures/made/rewritten.pcap --print"),
    ("text-netlink-in-pcapng", "-r fixtures/made/netlink.pcapng --print"),
    ("text-links", "-r fixtures/made/links.pcap --print"),
    ("text-lengths", "-r fixtures/made/lengths.pcap --print"),
    ("text-names", "-r fixtures/made/names.pcap --print"),
    ("text-no-family", "-r fixtures/made/no-family.pcap --print"),
    ("text-no-family-foreign", "-r fixtures/made/no-family-foreign.pcap --print"),
    ("text-nlmon", "-r fixtures/made/nlmon.pcap --print"),
    ("text-own", "-r fixtures/made/own.pcapng --print"),
    ("text-stacks", "-r fixtures/made/stacks.pcapng --print"),
    ("text-ebpf", "-r fixtures/made/ebpf.pcapng --print"),
    ("text-plain-pcap", "-r fixtures/made/plain.pcap --print"),
    ("text-plain-pcapng", "-r fixtures/made/plain.pcapng --print"),
    ("text-header-only", "-r fixtures/made/header-only.pcap --print"),
    // The same with all there is to tell, and for machines.
    ("verbose-software-6.1", "-r fixtures/software-6.1.pcap --print -v"),
    ("verbose-software-6.12", "-r fixtures/software-6.12.pcap --print -v"),
    ("verbose-hardware-6.12", "-r fixtures/hardware-6.12.pcap --print -v -c 60"),
    ("verbose-summary-6.12", "-r fixtures/summary-6.12.pcap --print -v"),
    ("verbose-no-reason", "-r fixtures/made/no-reason.pcap --print -v"),
    ("verbose-odd-attributes", "-r fixtures/made/odd-attributes.pcap --print -v"),
    ("verbose-in-port", "-r fixtures/made/in-port.pcap --print -v"),
    ("verbose-several-messages", "-r fixtures/made/several-messages.pcap --print -v"),
    ("verbose-little-endian", "-r fixtures/made/little-endian.pcap --print -v"),
    ("verbose-big-endian", "-r fixtures/made/big-endian.pcap --print -v"),
    ("verbose-nanoseconds", "-r fixtures/made/nanoseconds.pcap --print -v"),
    ("verbose-rewritten", "-r fixtures/made/rewritten.pcap --print -v"),
    ("verbose-netlink-in-pcapng", "-r fixtures/made/netlink.pcapng --print -v"),
    ("verbose-links", "-r fixtures/made/links.pcap --print -v"),
    ("verbose-lengths", "-r fixtures/made/lengths.pcap --print -v"),
    ("verbose-names", "-r fixtures/made/names.pcap --print -v"),
    ("verbose-no-family", "-r fixtures/made/no-family.pcap --print -v"),
    ("verbose-no-family-foreign", "-r fixtures/made/no-family-foreign.pcap --print -v"),
    ("verbose-nlmon", "-r fixtures/made/nlmon.pcap --print -v"),
    ("verbose-own", "-r fixtures/made/own.pcapng --print -v"),
    ("verbose-stacks", "-r fixtures/made/stacks.pcapng --print -v"),
    ("verbose-ebpf", "-r fixtures/made/ebpf.pcapng --print -v"),
    ("verbose-plain-pcap", "-r fixtures/made/plain.pcap --print -v"),
    ("verbose-plain-pcapng", "-r fixtures/made/plain.pcapng --print -v"),
    ("verbose-header-only", "-r fixtures/made/header-only.pcap --print -v"),
    ("json-stacks", "-r fixtures/made/stacks.pcapng --json"),
    ("json-software-6.1", "-r fixtures/software-6.1.pcap --json"),
    ("json-software-6.12", "-r fixtures/software-6.12.pcap --json"),
    ("json-hardware-6.12", "-r fixtures/hardware-6.12.pcap --json -c 60"),
    ("json-summary-6.12", "-r fixtures/summary-6.12.pcap --json"),
    ("json-no-reason", "-r fixtures/made/no-reason.pcap --json"),
    ("json-odd-attributes", "-r fixtures/made/odd-attributes.pcap --json"),
    ("json-in-port", "-r fixtures/made/in-port.pcap --json"),
    ("json-several-messages", "-r fixtures/made/several-messages.pcap --json"),
    ("json-little-endian", "-r fixtures/made/little-endian.pcap --json"),
    ("json-big-endian", "-r fixtures/made/big-endian.pcap --json"),
    ("json-nanoseconds", "-r fixtures/made/nanoseconds.pcap --json"),
    ("json-rewritten", "-r fixtures/made/rewritten.pcap --json"),
    ("json-netlink-in-pcapng", "-r fixtures/made/netlink.pcapng --json"),
    ("json-links", "-r fixtures/made/links.pcap --json"),
    ("json-lengths", "-r fixtures/made/lengths.pcap --json"),
    ("json-names", "-r fixtures/made/names.pcap --json"),
    ("json-no-family", "-r fixtures/made/no-family.pcap --json"),
    ("json-no-family-foreign", "-r fixtures/made/no-family-foreign.pcap --json"),
    ("json-nlmon", "-r fixtures/made/nlmon.pcap --json"),
    ("json-own", "-r fixtures/made/own.pcapng --json"),
    ("json-ebpf", "-r fixtures/made/ebpf.pcapng --json"),
    ("json-plain-pcap", "-r fixtures/made/plain.pcap --json"),
    ("json-plain-pcapng", "-r fixtures/made/plain.pcapng --json"),
    ("json-header-only", "-r fixtures/made/header-only.pcap --json"),
    // What is no packet.
    ("text-no-packets", "-r fixtures/made/no-packets.pcap --print -v"),
    ("text-no-packets-all", "-r fixtures/made/no-packets.pcap --print --all"),
    ("json-no-packets-all", "-r fixtures/made/no-packets.pcap --json --all"),
    ("pcapng-no-packets-all", "-r fixtures/made/no-packets.pcap --all -w out.pcapng"),
    ("netlink-no-packets-all", "-r fixtures/made/no-packets.pcap --all -w out.pcap"),
    ("ethernet-of-no-packets", "-r fixtures/made/no-packets.pcap --all -w out.pcapng --link-type ethernet"),
    ("summary-no-packets", "-r fixtures/made/no-packets.pcap --by reason --all"),
    // Malformed packets.
    ("text-malformed", "-r fixtures/made/malformed.pcap --print"),
    ("text-malformed-verbose", "-r fixtures/made/malformed.pcap --print -v -c 24 not udp"),
    ("json-malformed", "-r fixtures/made/malformed.pcap --json"),
    ("summary-malformed-by-flow", "-r fixtures/made/malformed.pcap --by flow"),
    ("filter-of-a-malformed-packet", "-r fixtures/made/malformed.pcap --print reason IP_INHDR and sport 40000"),
    // Files of our own.
    ("pcapng-software-6.1", "-r fixtures/software-6.1.pcap -w out.pcapng -c 12"),
    ("pcapng-software-6.12", "-r fixtures/software-6.12.pcap -w out.pcapng -c 12"),
    ("pcapng-hardware-6.12", "-r fixtures/hardware-6.12.pcap -w out.pcapng -c 12"),
    ("pcapng-summary-6.12", "-r fixtures/summary-6.12.pcap -w out.pcapng"),
    ("pcapng-no-reason", "-r fixtures/made/no-reason.pcap -w out.pcapng"),
    ("pcapng-odd-attributes", "-r fixtures/made/odd-attributes.pcap -w out.pcapng"),
    ("pcapng-in-port", "-r fixtures/made/in-port.pcap -w out.pcapng"),
    ("pcapng-several-messages", "-r fixtures/made/several-messages.pcap -w out.pcapng"),
    ("pcapng-little-endian", "-r fixtures/made/little-endian.pcap -w out.pcapng"),
    ("pcapng-big-endian", "-r fixtures/made/big-endian.pcap -w out.pcapng"),
    ("pcapng-netlink-in-pcapng", "-r fixtures/made/netlink.pcapng -w out.pcapng"),
    ("pcapng-links", "-r fixtures/made/links.pcap -w out.pcapng"),
    ("pcapng-lengths", "-r fixtures/made/lengths.pcap -w out.pcapng"),
    ("pcapng-names", "-r fixtures/made/names.pcap -w out.pcapng"),
    ("pcapng-own", "-r fixtures/made/own.pcapng -w out.pcapng"),
    ("pcapng-stacks", "-r fixtures/made/stacks.pcapng -w out.pcapng"),
    ("pcapng-ebpf", "-r fixtures/made/ebpf.pcapng -w out.pcapng"),
    ("pcapng-ebpf-raw", "-r fixtures/made/ebpf.pcapng -w out.pcapng --link-type raw"),
    ("pcapng-plain", "-r fixtures/made/plain.pcapng -w out.pcapng"),
    ("pcapng-to-standard-output", "-r fixtures/made/little-endian.pcap -w -"),
    ("pcapng-without-w", "-r fixtures/made/little-endian.pcap"),
    ("pcapng-and-text", "-r fixtures/made/little-endian.pcap -w out.pcapng --print"),
    // Selections.
    ("origin-hardware", "-r fixtures/made/several-messages.pcap --print -o hw"),
    ("origin-software", "-r fixtures/made/several-messages.pcap --print -o sw"),
    ("interface-by-name", "-r fixtures/made/several-messages.pcap --print -i eth1"),
    ("interface-in-a-namespace", "-r fixtures/made/ebpf.pcapng --print iface eth0 and netns blue"),
    ("packets-of-a-socket", "-r fixtures/made/ebpf.pcapng --print socket *53*close or mark 0xffffffff"),
    ("interface-by-index", "-r fixtures/made/several-messages.pcap --print -i 5"),
    ("truncation", "-r fixtures/made/little-endian.pcap -w out.pcapng -t 20"),
    ("count", "-r fixtures/made/several-messages.pcap --print -c 2"),
    ("nothing-selected", "-r fixtures/made/own.pcapng -w out.pcapng -i nowhere"),
    // Files of one link type.
    ("ethernet", "-r fixtures/made/links.pcap -w out.pcapng --link-type ethernet"),
    ("raw", "-r fixtures/made/links.pcap -w out.pcapng --link-type raw"),
    ("sll2", "-r fixtures/made/links.pcap -w out.pcapng --link-type sll2"),
    ("auto", "-r fixtures/made/links.pcap -w out.pcapng --link-type auto"),
    ("lengths-sll2", "-r fixtures/made/lengths.pcap -w out.pcapng --link-type sll2"),
    ("lengths-raw", "-r fixtures/made/lengths.pcap -w out.pcapng --link-type raw"),
    ("pcap-format", "-r fixtures/made/links.pcap -w out --format pcap"),
    ("pcap-raw", "-r fixtures/made/links.pcap -w out.pcap --link-type raw"),
    // The C tool's format.
    ("netlink-by-name", "-r fixtures/made/own.pcapng -w out.PCAP"),
    ("netlink-by-option", "-r fixtures/made/own.pcapng -w out --format netlink"),
    ("netlink-ebpf", "-r fixtures/made/ebpf.pcapng -w out.pcap"),
    ("netlink-odd-attributes", "-r fixtures/made/odd-attributes.pcap -w out.pcap"),
    ("netlink-lengths", "-r fixtures/made/lengths.pcap -w out.pcap"),
    ("netlink-names", "-r fixtures/made/names.pcap -w out.pcap"),
    ("netlink-plain", "-r fixtures/made/plain.pcap -w out.pcap"),
    ("netlink-empty", "-r fixtures/made/header-only.pcap -w out.pcap"),
    ("netlink-no-family", "-r fixtures/made/no-family.pcap -w out.pcap"),
    ("netlink-big-endian", "-r fixtures/made/big-endian.pcap -w out.pcap"),
    ("pcapng-by-option", "-r fixtures/made/little-endian.pcap -w out.pcap --format pcapng"),
    // What other readers take as well.
    ("odd-interface-name", "-r fixtures/odd/f1-ifname.pcapng --json"),
    ("odd-interface-name-to-file", "-r fixtures/odd/f1-ifname.pcapng -w out.pcapng"),
    ("odd-interface-speed", "-r fixtures/odd/f1-ifspeed4.pcapng --json"),
    ("odd-picoseconds", "-r fixtures/odd/f1-tsresol-ps.pcapng --json"),
    ("odd-before-1970", "-r fixtures/odd/f1-tsoffset.pcapng --json"),
    ("odd-before-1970-to-file", "-r fixtures/odd/f1-tsoffset.pcapng -w out.pcapng"),
    ("odd-name-resolution", "-r fixtures/odd/f1-nrb.pcapng --print"),
    ("odd-statistics", "-r fixtures/odd/f1-isb-if9.pcapng --print"),
    ("odd-merged-name", "-r fixtures/odd/mx.pcapng --by reason"),
    ("host-1", "-r fixtures/odd/host1.pcap --by reason"),
    ("host-2", "-r fixtures/odd/host2.pcap --by reason"),
    ("hosts-merged", "-r fixtures/odd/mm.pcapng --by reason"),
    ("cut-alert", "-r fixtures/odd/nlsnap.pcap --print -v"),
    ("cut-alert-to-file", "-r fixtures/odd/nlsnap.pcap -w out.pcapng"),
    ("no-time", "-r fixtures/odd/spb.pcapng --print"),
    ("no-time-json", "-r fixtures/odd/spb.pcapng --json"),
    ("no-time-to-file", "-r fixtures/odd/spb.pcapng -w out.pcapng"),
    ("no-time-to-pcap", "-r fixtures/odd/spb.pcapng -w out --format pcap --link-type ethernet"),
    ("no-time-summary", "-r fixtures/odd/spb.pcapng --summary=1 --by flow"),
    ("direction-out", "-r fixtures/odd/dir.pcapng --print outbound"),
    ("direction-in", "-r fixtures/odd/dir.pcapng --print inbound"),
    ("no-direction", "-r fixtures/made/plain.pcap --print inbound or outbound"),
    ("direction-to-file", "-r fixtures/odd/dir.pcapng -w out.pcapng"),
    ("obsolete-block", "-r fixtures/odd/opb.pcapng -w out.pcapng"),
    ("modified-pcap", "-r fixtures/odd/p-kuz-le.pcap --json"),
    ("pcap-2.3", "-r fixtures/odd/p-v23swap.pcap --json"),
    ("odd-links", "-r fixtures/odd/links.pcapng --print -v"),
    ("odd-links-json", "-r fixtures/odd/links.pcapng --json"),
    ("odd-links-to-file", "-r fixtures/odd/links.pcapng -w out.pcapng"),
    ("odd-links-sll2", "-r fixtures/odd/links.pcapng -w out.pcapng --link-type sll2"),
    ("odd-links-raw", "-r fixtures/odd/links.pcapng -w out.pcapng --link-type raw"),
    ("odd-links-filtered", "-r fixtures/odd/links.pcapng --print ip6 and udp port 53"),
    ("odd-links-outbound", "-r fixtures/odd/links.pcapng --print outbound"),
    ("gzip", "-r fixtures/odd/own.pcapng.gz --print"),
    ("zstd", "-r fixtures/odd/own.pcapng.zst --print"),
    ("xz", "-r fixtures/odd/own.pcapng.xz --print"),
    ("gzip-cut", "-r fixtures/odd/cut.pcapng.gz --print"),
    ("bzip2", "-r fixtures/odd/own.pcapng.bz2 --print"),
    ("compressed-live", "-w x.pcapng.gz"),
    ("lz4", "-r fixtures/odd/own.pcapng.lz4 --print"),
    // Counts.
    ("summary-software-6.1", "-r fixtures/software-6.1.pcap --summary"),
    ("summary-software-6.12-modules-named", "-r fixtures/software-6.12.pcap --summary -v"),
    ("summary-hardware-6.12", "-r fixtures/hardware-6.12.pcap --summary"),
    ("summary-counted-6.12", "-r fixtures/summary-6.12.pcap --summary"),
    ("summary-by-stack", "-r fixtures/made/stacks.pcapng --by stack"),
    ("summary-by-stack-json", "-r fixtures/made/stacks.pcapng --by stack --json"),
    ("summary-folded", "-r fixtures/made/stacks.pcapng --folded"),
    ("summary-folded-of-no-stacks", "-r fixtures/made/several-messages.pcap --summary --by stack --folded"),
    ("filter-by-stack", "-r fixtures/made/stacks.pcapng --print stack run_ksoftirqd and not stack gre_rcv"),
    ("folded-each-second", "-r fixtures/made/stacks.pcapng --folded --summary=1"),
    ("stack-of-a-file", "-r fixtures/made/stacks.pcapng --stack --print"),
    ("stack-of-the-drop-monitor", "--stack --source netdm"),
    ("summary-made", "-r fixtures/made/summary.pcap --summary"),
    ("summary-made-json", "-r fixtures/made/summary.pcap --summary --json"),
    ("summary-made-by-reason", "-r fixtures/made/summary.pcap --by reason"),
    ("summary-made-hardware", "-r fixtures/made/summary.pcap --summary -o hw"),
    ("summary-made-filtered", "-r fixtures/made/summary.pcap --summary trap blackhole_route"),
    ("summary-by-reason", "-r fixtures/software-6.12.pcap --by reason"),
    ("summary-by-interface", "-r fixtures/software-6.12.pcap --by interface"),
    ("summary-by-flow", "-r fixtures/software-6.12.pcap --by flow"),
    ("summary-ebpf-by-interface", "-r fixtures/made/ebpf.pcapng --by interface"),
    ("summary-ebpf-by-device", "-r fixtures/made/ebpf.pcapng --by device --json"),
    ("summary-ebpf-by-netns", "-r fixtures/made/ebpf.pcapng --by netns --json"),
    ("summary-ebpf-by-running", "-r fixtures/made/ebpf.pcapng --by running"),
    ("summary-ebpf-by-cgroup", "-r fixtures/made/ebpf.pcapng --by cgroup"),
    ("summary-ebpf-by-unit", "-r fixtures/made/ebpf.pcapng --by unit"),
    ("summary-ebpf-by-mark", "-r fixtures/made/ebpf.pcapng --by mark"),
    ("summary-by-module", "-r fixtures/software-6.12.pcap --by module"),
    ("summary-by-flow-json", "-r fixtures/software-6.12.pcap --by flow --json"),
    ("summary-each-second", "-r fixtures/software-6.12.pcap --summary=1 --by module"),
    ("summary-filtered", "-r fixtures/software-6.12.pcap --summary reason NETFILTER_DROP"),
    ("summary-of-names", "-r fixtures/made/names.pcap --summary"),
    ("summary-of-plain-packets", "-r fixtures/made/plain.pcap --by location"),
    ("summary-of-a-cut-file", "-r fixtures/made/cut.pcap --summary"),
    ("summary-of-so-many", "-r fixtures/software-6.12.pcap --summary -c 10"),
    ("summary-into-a-file", "--summary -w x.pcapng"),
    ("summary-cut-short", "--summary -t 64"),
    ("summary-by-nothing", "--summary --by colour"),
    ("summary-of-no-time", "--summary=0"),
    // Cut and damaged files: all that stands before the damage.
    ("cut-pcap", "-r fixtures/made/cut.pcap --print"),
    ("cut-pcapng", "-r fixtures/made/cut.pcapng --print"),
    ("cut-pcapng-to-file", "-r fixtures/made/cut.pcapng -w out.pcapng"),
    ("damaged-length", "-r fixtures/made/damaged-length.pcapng --print"),
    ("damaged-interface", "-r fixtures/made/damaged-interface.pcapng --print"),
    ("damaged-packet", "-r fixtures/made/damaged-packet.pcap --print"),
    // What is no capture.
    ("missing-file", "-r fixtures/none.pcap --print"),
    ("missing-file-to-file", "-r fixtures/none.pcap -w out.pcapng"),
    ("empty-file", "-r fixtures/made/empty --print"),
    ("compressed-gzip", "-r fixtures/made/compressed.gz --print"),
    ("compressed-zstd", "-r fixtures/made/compressed.zst --print"),
    ("compressed-xz", "-r fixtures/made/compressed.xz --print"),
    ("not-a-capture", "-r fixtures/made/notes.txt -w out.pcapng"),
    ("directory", "-r fixtures --print"),
    ("standard-input-is-empty", "-r - --print"),
    // Outputs that cannot be.
    ("output-in-no-folder", "-r fixtures/made/own.pcapng -w none/out.pcapng"),
    ("output-is-a-folder", "-r fixtures/made/own.pcapng -w fixtures"),
    ("output-is-the-input", "-r own.pcapng -w own.pcapng"),
    ("output-is-the-input-by-another-name", "-r own.pcapng -w ./own.pcapng"),
    ("print-to-where-packets-go", "-r fixtures/made/own.pcapng -w - --print"),
    ("format-without-file", "-r fixtures/made/own.pcapng --print --format pcap"),
    // The command line.
    ("help", "--help"),
    // As Wireshark asks.
    ("extcap-interfaces", "--extcap-interfaces --extcap-version=4.0"),
    ("extcap-dlts", "--extcap-dlts --extcap-interface drops"),
    ("extcap-config", "--extcap-config --extcap-interface drops"),
    ("extcap-config-ssh", "--extcap-config --extcap-interface drops-ssh"),
    ("extcap-filter", "--extcap-interface drops --extcap-capture-filter udp"),
    ("extcap-filter-error", "--extcap-interface drops --extcap-capture-filter port"),
    ("extcap-later", "--extcap-interface drops --extcap-of-a-later-version 7"),
    ("extcap-capture-filter-error", "--capture --extcap-interface drops --fifo f --extcap-capture-filter=port"),
    ("extcap-capture-unknown-option", "--capture --extcap-interface drops --fifo f --frobnicate"),
    ("help-short", "-h"),
    ("version", "--version"),
    ("version-short", "-V"),
    ("unknown-option", "--jsn"),
    ("unknown-short-option", "-Z"),
    ("tcpdump-option", "-r fixtures/made/own.pcapng -n"),
    ("filter", "-r fixtures/software-6.12.pcap --print saddr 10.10.2.4 and proto ospf"),
    ("filter-of-the-drop", "-r fixtures/hardware-6.12.pcap --print -c 2 trap blackhole_route and iface eth0"),
    ("filter-error", "-r fixtures/made/own.pcapng tcp and port 70000"),
    ("nanoseconds-in-utc", "-r fixtures/software-6.1.pcap --print --utc --nano -c 12"),
    ("verbose-hardware", "-r fixtures/hardware-6.12.pcap --print -v trap ingress_flow_action_drop"),
    ("colour", "-r fixtures/software-6.1.pcap --print --color always -c 3"),
    ("json-with-a-pipe", "-r fixtures/made/names.pcap --json -w -"),
    ("meanings", "-r fixtures/software-6.12.pcap -w out.pcapng --comments full -c 4"),
    ("explain", "--explain skb_drop_reason_no_socket"),
    ("explain-function", "--explain gre_rcv"),
    ("explain-typo", "--explain NETFILTER_DORP"),
    ("noise", "-r fixtures/software-6.12.pcap --print noise"),
    ("filter-as-shown", "-r fixtures/software-6.12.pcap --print -c 1 iface if5 and location gre_rcv+0x41/0xb0"),
    ("filter-sign", "-r fixtures/made/own.pcapng reason != NO_SOCKET"),
    ("interface-any", "-r fixtures/software-6.12.pcap --print -i any -c 1"),
    ("shown-with-a-file", "-d -w x tcp"),
    ("pcap-of-any-link", "-r fixtures/made/own.pcapng -w x.pcap --link-type auto"),
    ("source-lines-missing", "-r fixtures/software-6.12.pcap --print --source-lines -c 1"),
    ("source-lines-without-text", "-r fixtures/made/own.pcapng -w x.pcap --source-lines"),
    ("filter-in-upper-case", "-d tcp AND udp"),
    ("filter-of-another-tool", "-d tcp.port == 80"),
    ("filter-of-a-tunnel", "-d vxlan"),
    ("filter-from-no-file", "-d -F none.txt"),
    ("filter-from-a-capture", "-d -F fixtures/made/own.pcapng"),
    ("tcpdumps-cluster", "-nnvvXSs0"),
    ("tcpdumps-times", "-tttt"),
    ("tcpdumps-headers", "-nne"),
    ("names-and-details-more-than-once", "-nnvvv -r fixtures/made/own.pcapng --print -c 1"),
    ("filter-never-true", "-d ip6 and tcp[tcpflags] & tcp-syn != 0"),
    ("filter-never-true-of-a-file", "-r fixtures/made/own.pcapng --print icmp6[0] = 135 and ip"),
    ("filter-never-true-and-its-opposite", "-d host 10.0.0.1 and not host 10.0.0.1"),
    ("filter-never-true-in-all-alternatives", "-d (tcp and udp) or (ip and vlan)"),
    ("filter-never-true-with-an-interface", "-d -i eth0 tcp and iface eth1"),
    ("filter-never-true-alone", "-d tcp[tcpflags] & tcp-syn = 1"),
    ("filter-shown", "-d -i eth0 tcp port 80 or 443"),
    ("kernel-filter-shown", "-d --kernel-filter origin hw and noise"),
    ("kernel-filter-of-ebpf", "-d --kernel-filter --source ebpf iface 2 and location ip_rcv*"),
    ("kernel-filter-impossible", "-d --kernel-filter tcp or location ip_rcv*"),
    ("kernel-filter-without-a-filter", "--kernel-filter"),
    ("kernel-filter-with-a-file", "-r fixtures/made/own.pcapng --kernel-filter tcp"),
    ("bad-count", "-r fixtures/made/own.pcapng -c none"),
    ("bad-truncation", "-r fixtures/made/own.pcapng -t 65528"),
    ("bad-origin", "-r fixtures/made/own.pcapng -o both"),
    ("bad-format", "-r fixtures/made/own.pcapng -w x --format pdf"),
    ("bad-link-type", "-r fixtures/made/own.pcapng -w x --link-type ppp"),
    ("missing-value", "-r"),
    ("live-option-with-a-file", "-r fixtures/made/own.pcapng -p"),
    ("query-with-a-file", "-q -r fixtures/made/own.pcapng"),
    ("statistics-with-a-number", "-s 0"),
    ("link-type-of-netlink", "-r fixtures/made/own.pcapng -w x --format netlink --link-type raw"),
];

#[test]
fn the_program_says_and_writes_what_it_used_to() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut differences = String::new();
    for (name, arguments) in CASES {
        let found = run(arguments);
        let path = of_this_build(name);
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        if found == expected {
            continue;
        }
        if update {
            std::fs::write(&path, &found).unwrap();
        } else {
            writeln!(differences, "\n{name}:\n{}", difference(&expected, &found)).unwrap();
        }
    }
    assert!(
        differences.is_empty(),
        "{differences}\nif this is meant: UPDATE_GOLDEN=1 cargo test --test golden"
    );
}

#[test]
fn every_golden_file_belongs_to_a_case() {
    let cases: BTreeSet<PathBuf> = CASES.iter().map(|(name, _)| golden(name)).collect();
    assert_eq!(cases.len(), CASES.len(), "a name is there twice");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_golden = path.extension().is_some_and(|extension| extension == "out");
        assert!(!is_golden || cases.contains(&path), "{path:?} has no case");
    }
}

#[test]
fn every_made_capture_has_a_case() {
    for folder in ["fixtures/made", "fixtures/odd"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in std::fs::read_dir(path).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let word = format!("{folder}/{name}");
            let is_used = |arguments: &str| arguments.split(' ').any(|other| other == word);
            assert!(
                CASES.iter().any(|(_, arguments)| is_used(arguments)),
                "{name}"
            );
        }
    }
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.out"))
}

/// A build without source lines says so where they are asked for; a big-endian kernel gets other filters.
fn of_this_build(name: &str) -> PathBuf {
    let usual = golden(name);
    let folder = if big_endian_program().is_some() {
        "big-endian"
    } else if cfg!(feature = "source-lines") {
        return usual;
    } else {
        "without-source-lines"
    };
    let special = usual.with_file_name(format!("{folder}/{name}.out"));
    if special.exists() { special } else { usual }
}

/// The command that `tests/big_endian/run` gives, of a program that was built for a big-endian machine.
fn big_endian_program() -> Option<String> {
    std::env::var("DWDUMP_BIG_ENDIAN").ok()
}

fn program() -> Command {
    let Some(words) = big_endian_program() else {
        return Command::new(env!("CARGO_BIN_EXE_dwdump"));
    };
    let mut words = words.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(words);
    command
}

/// Runs the program in a folder of its own. All that comes out of it, as text.
fn run(arguments: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    std::os::unix::fs::symlink(&fixtures, folder.path().join("fixtures")).unwrap();
    let own = folder.path().join("own.pcapng");
    std::fs::copy(fixtures.join("made/own.pcapng"), &own).unwrap();

    let output = program()
        .args(arguments.split(' '))
        .current_dir(folder.path())
        .env("TZ", "UTC")
        .env("COLUMNS", "100")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut text = format!("$ dwdump {arguments}\n");
    section(&mut text, "standard output", &output.stdout);
    section(&mut text, "standard error", &output.stderr);

    assert_eq!(
        std::fs::read(&own).unwrap(),
        std::fs::read(fixtures.join("made/own.pcapng")).unwrap(),
        "{arguments}: the input was changed"
    );
    let names = std::fs::read_dir(folder.path()).unwrap();
    let names: BTreeSet<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    for name in names {
        let name = name.to_str().unwrap();
        if name != "fixtures" && name != "own.pcapng" {
            let bytes = std::fs::read(folder.path().join(name)).unwrap();
            section(&mut text, name, &bytes);
        }
    }
    match output.status.code() {
        Some(code) => writeln!(text, "--- exit status {code}").unwrap(),
        None => writeln!(text, "--- {}", output.status).unwrap(),
    }
    text.replace(
        concat!("dwdump ", env!("CARGO_PKG_VERSION")),
        "dwdump VERSION",
    )
}

/// Left out where there is nothing in it.
fn section(text: &mut String, title: &str, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    writeln!(text, "--- {title}").unwrap();
    match dump::capture(bytes) {
        Some(dump) => text.push_str(&dump),
        None => text.push_str(std::str::from_utf8(bytes).unwrap()),
    }
}

/// What stands between the lines that both begin with and those that both end with.
fn difference(expected: &str, found: &str) -> String {
    let [expected, found] = [expected, found].map(|text| text.lines().collect::<Vec<_>>());
    let same = |(one, other): &(&&str, &&str)| one == other;
    let before = expected.iter().zip(&found).take_while(same).count();
    let [expected_rest, found_rest] = [&expected[before..], &found[before..]];
    let pairs = expected_rest.iter().rev().zip(found_rest.iter().rev());
    let behind = pairs.take_while(same).count();
    let mut text = String::new();
    for (sign, lines) in [("-", expected_rest), ("+", found_rest)] {
        for line in &lines[..lines.len() - behind] {
            writeln!(text, "{:>5} {sign} {line}", before + 1).unwrap();
        }
    }
    text
}
