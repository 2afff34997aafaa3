//! The multicast groups that interfaces have joined.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::{Question, Unseen, of_thread, read_file};

/// The groups that an interface has joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memberships(pub String);

/// The file with the groups of IPv4.
pub const IPV4_GROUPS: &str = "/proc/net/igmp";
/// The file with the groups of IPv6.
pub const IPV6_GROUPS: &str = "/proc/net/igmp6";

impl Question for Memberships {
    const NAME: &'static str = "memberships";
    type Answer = Vec<IpAddr>;

    fn look(&self) -> Result<Vec<IpAddr>, Unseen> {
        let mut groups = ipv4_groups(&read_file(&of_thread(IPV4_GROUPS))?, &self.0);
        match read_file(&of_thread(IPV6_GROUPS)) {
            Ok(text) => groups.extend(ipv6_groups(&text, &self.0)),
            Err(Unseen::Absent(_)) => {}
            Err(unseen) => return Err(unseen),
        }
        Ok(groups)
    }
}

/// Parses `/proc/net/igmp` (`igmp_mc_seq_show`, net/ipv4/igmp.c): a line for each interface, and indented below
/// it, one for each group, whose address is a hexadecimal number in the byte order of this machine.
fn ipv4_groups(text: &str, interface: &str) -> Vec<IpAddr> {
    let mut groups = Vec::new();
    let mut is_it = false;
    for line in text.lines().skip(1) {
        let mut words = line.split_whitespace();
        if line.starts_with(['\t', ' ']) {
            let group = words
                .next()
                .and_then(|word| u32::from_str_radix(word, 16).ok());
            let group = group.map(|group| Ipv4Addr::from(group.to_ne_bytes()));
            groups.extend(group.filter(|_| is_it).map(IpAddr::V4));
        } else {
            is_it = words.nth(1).map(|name| name.trim_end_matches(':')) == Some(interface);
        }
    }
    groups
}

/// Parses `/proc/net/igmp6` (`igmp6_mc_seq_show`, net/ipv6/mcast.c): a line for each interface and group, with
/// the ifindex, the name and the address.
fn ipv6_groups(text: &str, interface: &str) -> Vec<IpAddr> {
    let group = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let is_it = words.next()? == interface;
        let group = u128::from_str_radix(words.next()?, 16).ok()?;
        is_it.then(|| IpAddr::V6(Ipv6Addr::from(group)))
    };
    text.lines().filter_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [IpAddr; 0] = [];

    #[test]
    fn groups_are_those_of_the_interface() {
        let number = u32::from_ne_bytes([224, 0, 0, 1]);
        let other = u32::from_ne_bytes([224, 0, 0, 5]);
        let text = format!(
            "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n\
             1\tlo        :     1      V3\n\t\t\t\t{number:08X}     1 0:00000000\t\t0\n\
             2\teth0      :     2      V3\n\t\t\t\t{other:08X}     1 0:00000000\t\t0\n\
             \t\t\t\t{number:08X}     1 0:00000000\t\t0\n"
        );
        let expected: [IpAddr; 2] = ["224.0.0.5".parse().unwrap(), "224.0.0.1".parse().unwrap()];
        assert_eq!(ipv4_groups(&text, "eth0"), expected);
        assert_eq!(ipv4_groups(&text, "eth1"), NONE);
        let text = "1    lo              ff020000000000000000000000000001     1 0000000C 0\n\
                    2    eth0            ff0200000000000000000001ff000004     1 00000004 0\n";
        let expected: IpAddr = "ff02::1:ff00:4".parse().unwrap();
        assert_eq!(ipv6_groups(text, "eth0"), [expected]);
        for text in ["", "\n", "a", "x\n\t\nb c d", "1 eth0 zz 1"] {
            assert_eq!(ipv4_groups(text, "eth0"), NONE);
            assert_eq!(ipv6_groups(text, "eth0"), NONE);
        }
    }
}
