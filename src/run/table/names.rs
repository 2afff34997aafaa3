//! The names that a filter can have which is typed into the table: it makes no connection, so it asks no name server.

use std::io;
use std::net::IpAddr;

use crate::filter::{NameLookup, Service, SystemNames};

/// The file of names and addresses, hosts(5).
const HOSTS: &str = "/etc/hosts";

/// The names in this host's files.
pub struct LocalNames;

impl NameLookup for LocalNames {
    fn host(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let addresses = addresses(&std::fs::read_to_string(HOSTS)?, name);
        if addresses.is_empty() {
            return Err(io::Error::other(
                "not in /etc/hosts, the only place where the table looks: type the address",
            ));
        }
        Ok(addresses)
    }

    fn service(&self, name: &str) -> Service {
        SystemNames.service(name)
    }

    fn protocol(&self, name: &str) -> Option<u8> {
        SystemNames.protocol(name)
    }
}

/// Returns the addresses of a name in the text of hosts(5).
fn addresses(hosts: &str, name: &str) -> Vec<IpAddr> {
    let of_line = |line: &str| {
        let mut fields = line.split('#').next()?.split_whitespace();
        let address = fields.next()?.parse().ok()?;
        let is_name = |other: &str| other.eq_ignore_ascii_case(name);
        fields.any(is_name).then_some(address)
    };
    hosts.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_all_its_addresses() {
        let hosts =
            "127.0.0.1 localhost # here\n::1\tlocalhost ip6-localhost\n10.0.0.1 a b\nbad c\n";
        let found = |name| addresses(hosts, name);
        assert_eq!(
            found("LocalHost"),
            [[127, 0, 0, 1].into(), "::1".parse::<IpAddr>().unwrap()]
        );
        assert_eq!(found("b"), [IpAddr::from([10, 0, 0, 1])]);
        for name in ["here", "c", "10.0.0.1", "#"] {
            assert!(found(name).is_empty(), "{name}");
        }
    }
}
