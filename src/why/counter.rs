//! The counters that count losses, and which of the drops that dwdump sees they count as well.

use serde::{Deserialize, Serialize};

use crate::host::counter::DRIVER;

/// A counter that rose during a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterRise {
    /// Its name: as nstat(8) has it, or of a device `eth0 rx_dropped`.
    pub name: String,
    /// The inode of the network namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<u32>,
    /// The namespace's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns_name: Option<String>,
    /// By how much.
    pub count: u64,
    /// Its meaning.
    pub meaning: String,
}

/// The drops that a counter may count: where dwdump saw some of them, it tells nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explained {
    /// Those in functions of TCP.
    Tcp,
    /// Those in functions of UDP.
    Udp,
    /// Those at the device that the counter names.
    Device,
    /// Those by XDP programs.
    Xdp,
    /// Those with this reason, in all namespaces.
    Reason(&'static str),
    /// All of the namespace.
    All,
}

/// A counter of losses.
pub struct CounterText {
    /// Its name, of a device the last word of it, of a driver a part of that.
    pub name: &'static str,
    /// Its meaning.
    pub meaning: &'static str,
    /// The drops that it may count.
    pub explained: Explained,
}

const fn row(name: &'static str, explained: Explained, meaning: &'static str) -> CounterText {
    CounterText {
        name,
        meaning,
        explained,
    }
}

/// The counters.
#[rustfmt::skip]
pub static COUNTERS: &[CounterText] = &[
    row("TcpExtListenOverflows", Explained::Tcp, "connections were not accepted: the accept queue of a socket that listens is full"),
    row("TcpExtListenDrops", Explained::Tcp, "SYNs and final ACKs to a socket that listens were thrown away, by a full accept queue or for lack of memory"),
    row("TcpExtTCPReqQFullDrop", Explained::Tcp, "SYNs were thrown away: the queue of half-open connections is full, and SYN cookies are off"),
    row("TcpExtTCPReqQFullDoCookies", Explained::Tcp, "the queue of half-open connections is full: SYNs were answered with cookies"),
    row("TcpExtTCPBacklogDrop", Explained::Tcp, "segments came while the program used the socket, and the socket's backlog is full"),
    row("TcpExtTCPRcvQDrop", Explained::Tcp, "segments were thrown away: the receive buffer of a connection is full"),
    row("TcpExtPFMemallocDrop", Explained::All, "the machine was short of memory: packets in its reserve are for swapping alone"),
    row("TcpExtTCPMinTTLDrop", Explained::Tcp, "segments had a smaller TTL than the program allows (IP_MINTTL)"),
    row("TcpExtTCPOFODrop", Explained::Tcp, "segments out of order found no room in the receive buffer"),
    row("TcpExtTCPZeroWindowDrop", Explained::Tcp, "segments came while the window was closed: the program does not read"),
    row("TcpExtTCPDeferAcceptDrop", Explained::Tcp, "final ACKs without data to a socket that waits for data (TCP_DEFER_ACCEPT)"),
    row("TcpExtTCPTimeWaitOverflow", Explained::Tcp, "there are too many closed connections that wait (net.ipv4.tcp_max_tw_buckets)"),
    row("TcpExtTCPFastOpenListenOverflow", Explained::Tcp, "the queue for TCP Fast Open of a socket that listens is full"),
    row("TcpExtPruneCalled", Explained::Tcp, "a connection's receive buffer was full: segments out of order were merged or thrown away"),
    row("TcpExtRcvPruned", Explained::Tcp, "segments were thrown away: a receive buffer was full after all was merged"),
    row("TcpExtOfoPruned", Explained::Tcp, "segments out of order were thrown away to make room"),
    row("TcpExtIPReversePathFilter", Explained::All, "packets failed the reverse path filter (rp_filter)"),
    row("TcpExtLockDroppedIcmps", Explained::All, "ICMP messages came while the program used the socket that they were about"),
    row("IpExtInNoRoutes", Explained::All, "packets came for which there is no route"),
    row("IpExtInTruncatedPkts", Explained::All, "packets came that were shorter than they say"),
    row("IpInHdrErrors", Explained::All, "packets came with a bad IP header, or whose TTL ran out"),
    row("IpInAddrErrors", Explained::All, "packets came for addresses that are not for this host, which does not forward"),
    row("IpInDiscards", Explained::All, "packets were thrown away on their way in, though nothing is wrong with them"),
    row("IpOutDiscards", Explained::All, "packets were thrown away on their way out, though nothing is wrong with them"),
    row("IpOutNoRoutes", Explained::All, "packets were to be sent for which there is no route"),
    row("IpReasmFails", Explained::All, "fragments could not be put together"),
    row("IpFragFails", Explained::All, "packets were too big and must not be fragmented"),
    row("Ip6InHdrErrors", Explained::All, "packets came with a bad IPv6 header, or whose hop limit ran out"),
    row("Ip6InAddrErrors", Explained::All, "packets came for addresses that are not for this host"),
    row("Ip6InDiscards", Explained::All, "packets were thrown away on their way in"),
    row("Ip6InNoRoutes", Explained::All, "packets came for which there is no route"),
    row("Ip6OutDiscards", Explained::All, "packets were thrown away on their way out"),
    row("Ip6OutNoRoutes", Explained::All, "packets were to be sent for which there is no route"),
    row("Ip6ReasmFails", Explained::All, "fragments could not be put together"),
    row("Ip6InTooBigErrors", Explained::All, "packets were too big to be forwarded"),
    row("UdpNoPorts", Explained::Udp, "datagrams came to ports at which nobody listens"),
    row("UdpRcvbufErrors", Explained::Udp, "the receive buffer of a socket is full"),
    row("UdpSndbufErrors", Explained::Udp, "a program could not send: the send buffer of its socket is full"),
    row("UdpInCsumErrors", Explained::Udp, "datagrams had a wrong checksum"),
    row("UdpMemErrors", Explained::Udp, "the memory for UDP is used up (net.ipv4.udp_mem)"),
    row("Udp6NoPorts", Explained::Udp, "datagrams came to ports at which nobody listens"),
    row("Udp6RcvbufErrors", Explained::Udp, "the receive buffer of a socket is full"),
    row("Udp6SndbufErrors", Explained::Udp, "a program could not send: the send buffer of its socket is full"),
    row("Udp6InCsumErrors", Explained::Udp, "datagrams had a wrong checksum"),
    row("Udp6MemErrors", Explained::Udp, "the memory for UDP is used up (net.ipv4.udp_mem)"),
    row("TcpInErrs", Explained::Tcp, "segments came that are damaged"),
    row("TcpInCsumErrors", Explained::Tcp, "segments had a wrong checksum"),
    row("drop", Explained::All, "packets were dropped: there was no room to track their connection (net.netfilter.nf_conntrack_max)"),
    row("early_drop", Explained::All, "tracked connections were forgotten early to make room (net.netfilter.nf_conntrack_max)"),
    row("insert_failed", Explained::All, "connections could not be tracked: another one with the same addresses and ports was first"),
    row("rx_dropped", Explained::Device, "the device or its driver threw received packets away, for want of room or because nobody wanted them"),
    row("tx_dropped", Explained::Device, "the device or its driver threw packets away that were to be sent"),
    row("rx_missed_errors", Explained::Device, "the device had no room for packets that came: its ring is too small, or the CPU too slow"),
    row("rx_over_errors", Explained::Device, "the device's buffers overflowed"),
    row("rx_fifo_errors", Explained::Device, "the device's queue overflowed"),
    row("rx_length_errors", Explained::Device, "frames came whose length is not allowed: the MTUs differ, perhaps"),
    row("rx_crc_errors", Explained::Device, "frames came damaged: a cable or a transceiver is bad"),
    row("rx_frame_errors", Explained::Device, "frames came damaged: a cable or a transceiver is bad"),
    row("rx_nohandler", Explained::Device, "packets came by an inactive port of a bond or team, and were thrown away"),
    row("tx_carrier_errors", Explained::Device, "the link was down when packets were to be sent"),
    row("tx_fifo_errors", Explained::Device, "the device's send queue failed"),
    row("tx_aborted_errors", Explained::Device, "the device gave up sending packets"),
    row("qdisc_drops", Explained::Device, "the queueing discipline of the device threw packets away"),
    row("dropped", Explained::Reason("CPU_BACKLOG"), "the queue of a CPU was full (net.core.netdev_max_backlog)"),
    row("flow_limit", Explained::Reason("CPU_BACKLOG"), "one flow took too much of a CPU's queue (net.core.flow_limit_cpu_bitmap)"),
];

/// The counters of `/proc/net/xfrm_stat` that count what was let through.
const XFRM: CounterText = row(
    "Xfrm",
    Explained::All,
    "IPsec refused packets: ip-xfrm(8) shows associations and policies, the name which of them",
);

/// Parts of the names that drivers give to their counters of losses, each driver its own; the first one that fits.
#[rustfmt::skip]
static DRIVERS: &[CounterText] = &[
    row("xdp_drop", Explained::Xdp, "the device's XDP program dropped packets before the kernel made any of them: bpftool net shows it"),
    row("xdp_abort", Explained::Xdp, "the device's XDP program failed, and the packets were dropped: bpftool prog tracelog may tell why"),
    row("out_of_buf", Explained::Device, "the driver had no buffer for packets that came: ethtool -G makes the ring larger"),
    row("no_buf", Explained::Device, "the driver had no buffer for packets that came: ethtool -G makes the ring larger"),
    row("nobuf", Explained::Device, "the driver had no buffer for packets that came: ethtool -G makes the ring larger"),
    row("alloc_fail", Explained::Device, "the driver found no memory for a buffer"),
    row("alloc_err", Explained::Device, "the driver found no memory for a buffer"),
    row("missed", Explained::Device, "the device had no room for packets that came: its ring is too small, or the CPU too slow"),
    row("discard", Explained::Device, "the device threw packets away: ethtool -S shows all its counters"),
    row("drop", Explained::Device, "the device or its driver threw packets away: ethtool -S shows all its counters"),
];

/// Returns what is known about a counter; `None` where it counts no losses.
pub fn text(name: &str) -> Option<&'static CounterText> {
    let of_driver = name
        .split_once(' ')
        .and_then(|(_, rest)| rest.strip_prefix(DRIVER)?.strip_prefix(' '));
    if let Some(counter) = of_driver {
        let counter = counter.to_ascii_lowercase();
        return DRIVERS.iter().find(|row| counter.contains(row.name));
    }
    if name.starts_with("Xfrm") {
        // The kernel had to ask for an association, which is no loss yet.
        return (name != "XfrmAcquireError").then_some(&XFRM);
    }
    let last = name.rsplit(' ').next().unwrap_or(name);
    COUNTERS.iter().find(|counter| counter.name == last)
}

impl Explained {
    /// Returns whether a drop in this function, with this reason and at this device is one that the counter
    /// counts.
    pub fn fits(
        self,
        counter: &str,
        function: Option<&str>,
        reason: Option<&str>,
        device: Option<&str>,
    ) -> bool {
        let is_in = |part: &str| function.is_none_or(|function| function.contains(part));
        match self {
            Self::Tcp => is_in("tcp"),
            Self::Udp => is_in("udp"),
            Self::Xdp => reason == Some("XDP") || is_in("xdp"),
            Self::Device => device.is_none_or(|device| {
                counter
                    .strip_prefix(device)
                    .is_some_and(|rest| rest.starts_with(' '))
            }),
            Self::Reason(wanted) => reason == Some(wanted),
            Self::All => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_from_other_counters() {
        assert!(text("TcpExtListenDrops").is_some());
        assert!(text("eth 0 rx_dropped").is_some());
        assert!(text("XfrmInNoStates").is_some());
        let [xdp, full] = ["eth0 driver rx0_xdp_drops", "eth0 driver rx_out_of_buffer"];
        assert_eq!(text(xdp).unwrap().explained, Explained::Xdp);
        assert!(text(full).unwrap().meaning.contains("ethtool -G"));
        assert!(text("eth0 driver Rx Discards").is_some());
        for name in [
            "TcpExtTCPPureAcks",
            "conntrack found",
            "XfrmAcquireError",
            "eth0 driver rx0_xdp_packets",
            "drop driver rx0_packets",
            "",
        ] {
            assert!(text(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_drop_explains_a_counter_of_its_protocol_and_device() {
        let fits = |rule: Explained, counter, function, device| {
            rule.fits(counter, Some(function), None, Some(device))
        };
        assert!(fits(Explained::Tcp, "TcpInErrs", "tcp_v4_rcv", "eth0"));
        assert!(!fits(Explained::Tcp, "TcpInErrs", "udp_rcv", "eth0"));
        assert!(fits(Explained::Device, "eth0 rx_dropped", "x", "eth0"));
        assert!(!fits(Explained::Device, "eth01 rx_dropped", "x", "eth0"));
    }
}
