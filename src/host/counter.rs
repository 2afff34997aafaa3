//! The counters of a network namespace: what the kernel counts beside the packets that it frees as dropped.

use std::collections::BTreeMap;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};

use super::backlog::{self, BacklogState};
use super::{read_file, rtnetlink};
use crate::sys::ethtool::driver_counters;

/// Counters by name: as nstat(8) has it, of a device `eth0 rx_dropped`, or of its driver `eth0 driver rx_discards`.
pub type CounterValues = BTreeMap<String, u64>;

/// The word behind a device's name in the names of its driver's counters.
pub const DRIVER: &str = "driver";

/// Returns the counters of the network namespace of this thread. What is not there counts nothing.
pub fn read() -> CounterValues {
    let mut values = CounterValues::new();
    let file = |name: &str| read_file(&format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    add_tables(&file("snmp"), &mut values);
    add_tables(&file("netstat"), &mut values);
    add_names(&file("snmp6"), &mut values);
    // It is there once the kernel's part of IPsec is.
    add_names(&file("xfrm_stat"), &mut values);
    // As is this one with the tracking of connections.
    add_cpus(&file("stat/nf_conntrack"), &mut values);
    add_devices(&mut values);
    values
}

/// Returns the counters that all namespaces share: those of the CPUs' queues.
pub fn read_shared() -> CounterValues {
    let BacklogState {
        drops, flow_drops, ..
    } = backlog::counters().unwrap_or_default();
    let dropped = drops.iter().map(|&(_, drops)| drops);
    let dropped = dropped.fold(0, u64::saturating_add);
    CounterValues::from([
        ("softnet dropped".to_owned(), dropped),
        ("softnet flow_limit".to_owned(), flow_drops),
    ])
}

fn add(values: &mut CounterValues, name: String, value: u64) {
    let sum = values.entry(name).or_default();
    *sum = sum.saturating_add(value);
}

fn hexadecimal(word: &str) -> Option<u64> {
    u64::from_str_radix(word, 16).ok()
}

/// Parses `/proc/net/snmp` and `netstat`: a line with names and one with numbers, both behind `TcpExt:`.
fn add_tables(text: &str, values: &mut CounterValues) {
    let mut lines = text.lines();
    while let (Some(names), Some(numbers)) = (lines.next(), lines.next()) {
        let (Some((table, names)), Some((_, numbers))) =
            (names.split_once(':'), numbers.split_once(':'))
        else {
            return;
        };
        for (name, number) in names.split_whitespace().zip(numbers.split_whitespace()) {
            add(
                values,
                format!("{table}{name}"),
                number.parse().unwrap_or(0),
            );
        }
    }
}

/// Parses `/proc/net/snmp6` and `xfrm_stat`: a name and a number on each line.
fn add_names(text: &str, values: &mut CounterValues) {
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(number)) = (words.next(), words.next()) {
            add(values, name.to_owned(), number.parse().unwrap_or(0));
        }
    }
}

/// Parses `/proc/net/stat/nf_conntrack`: a line with names, and one for each CPU with hexadecimal numbers.
fn add_cpus(text: &str, values: &mut CounterValues) {
    let mut lines = text.lines();
    let Some(names) = lines.next() else {
        return;
    };
    for line in lines {
        for (name, number) in names.split_whitespace().zip(line.split_whitespace()) {
            let value = hexadecimal(number).unwrap_or(0);
            add(values, format!("conntrack {name}"), value);
        }
    }
}

/// Adds those of the devices and of their queueing disciplines.
fn add_devices(values: &mut CounterValues) {
    let links = rtnetlink::dump(RouteNetlinkMessage::GetLink(LinkMessage::default()));
    let mut names = BTreeMap::new();
    for link in links.unwrap_or_default() {
        let RouteNetlinkMessage::NewLink(link) = link else {
            continue;
        };
        let name = link
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            });
        let stats = link
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::Stats64(stats) => Some(stats),
                _ => None,
            });
        let (Some(name), Some(stats)) = (name, stats) else {
            continue;
        };
        let counts = [
            ("rx_dropped", stats.rx_dropped),
            ("tx_dropped", stats.tx_dropped),
            ("rx_missed_errors", stats.rx_missed_errors),
            ("rx_over_errors", stats.rx_over_errors),
            ("rx_fifo_errors", stats.rx_fifo_errors),
            ("rx_length_errors", stats.rx_length_errors),
            ("rx_crc_errors", stats.rx_crc_errors),
            ("rx_frame_errors", stats.rx_frame_errors),
            ("rx_nohandler", stats.rx_nohandler),
            ("tx_carrier_errors", stats.tx_carrier_errors),
            ("tx_fifo_errors", stats.tx_fifo_errors),
            ("tx_aborted_errors", stats.tx_aborted_errors),
        ];
        for (counter, value) in counts {
            add(values, format!("{name} {counter}"), value);
        }
        for (counter, value) in driver_counters(&name).unwrap_or_default() {
            add(values, format!("{name} {DRIVER} {counter}"), value);
        }
        names.insert(link.header.index, name);
    }
    let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
    for qdisc in rtnetlink::dump(request).unwrap_or_default() {
        let RouteNetlinkMessage::NewQueueDiscipline(qdisc) = qdisc else {
            continue;
        };
        let name = u32::try_from(qdisc.header.index)
            .ok()
            .and_then(|index| names.get(&index));
        let drops = qdisc
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                TcAttribute::Stats(stats) => Some(stats.drops),
                _ => None,
            });
        // The root counts what those below it drop.
        if let (Some(name), Some(drops), TcHandle::ROOT) = (name, drops, qdisc.header.parent) {
            add(values, format!("{name} qdisc_drops"), drops.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_by_table_and_column() {
        let mut values = CounterValues::new();
        add_tables(
            "TcpExt: A ListenDrops\nTcpExt: 1 7\nUdp: NoPorts\nUdp: 3\nodd",
            &mut values,
        );
        add_names("XfrmInError  \t4\n\nx\n", &mut values);
        add_cpus(
            "entries drop\n00000001 0000000a\n00000001 00000002\n",
            &mut values,
        );
        let expected = [
            ("TcpExtA", 1),
            ("TcpExtListenDrops", 7),
            ("UdpNoPorts", 3),
            ("XfrmInError", 4),
            ("conntrack drop", 12),
            ("conntrack entries", 2),
        ];
        let values: Vec<_> = values
            .iter()
            .map(|(name, &value)| (name.as_str(), value))
            .collect();
        assert_eq!(values, expected);
    }

    #[test]
    fn this_namespace_has_counters() {
        let values = read();
        for name in ["lo rx_dropped", "TcpExtListenDrops", "UdpNoPorts"] {
            assert!(values.contains_key(name), "{name}: {values:?}");
        }
        assert!(read_shared().contains_key("softnet dropped"));
    }
}
