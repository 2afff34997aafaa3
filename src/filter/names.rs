//! Looks up names of hosts, services and protocols. The parser uses a [`NameLookup`] and reads no
//! file itself.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};

/// Looks up names for the parser.
pub trait NameLookup {
    /// Returns the addresses of a host, at least one.
    fn host(&self, name: &str) -> io::Result<Vec<IpAddr>>;

    /// Returns the ports of a service.
    fn service(&self, name: &str) -> Service;

    /// Returns the number of an IP protocol.
    fn protocol(&self, name: &str) -> Option<u8>;
}

/// The ports of a service by protocol, as services(5) lists them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Its TCP port.
    pub tcp: Option<u16>,
    /// Its UDP port.
    pub udp: Option<u16>,
    /// Its SCTP port.
    pub sctp: Option<u16>,
}

/// The names of this host: its resolver, `/etc/services`, `/etc/protocols`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemNames;

impl NameLookup for SystemNames {
    fn host(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut addresses = Vec::new();
        for address in (name, 0).to_socket_addrs()? {
            if !addresses.contains(&address.ip()) {
                addresses.push(address.ip());
            }
        }
        Ok(addresses)
    }

    /// Without the file no service is found.
    fn service(&self, name: &str) -> Service {
        find_service(
            &std::fs::read_to_string("/etc/services").unwrap_or_default(),
            name,
        )
    }

    fn protocol(&self, name: &str) -> Option<u8> {
        find_protocol(&std::fs::read_to_string("/etc/protocols").ok()?, name)
    }
}

/// Returns the second field of each line in services(5) or protocols(5) that names `name`.
fn lines<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let line = line.split('#').next()?;
        let mut fields = line.split_whitespace();
        let official = fields.next()?;
        let value = fields.next()?;
        (official == name || fields.any(|alias| alias == name)).then_some(value)
    })
}

fn find_service(text: &str, name: &str) -> Service {
    let mut service = Service::default();
    for value in lines(text, name) {
        let Some((port, protocol)) = value.split_once('/') else {
            continue;
        };
        let place = match protocol {
            "tcp" => &mut service.tcp,
            "udp" => &mut service.udp,
            "sctp" => &mut service.sctp,
            _ => continue,
        };
        // The first line with the name counts.
        if place.is_none() {
            *place = port.parse().ok();
        }
    }
    service
}

fn find_protocol(text: &str, name: &str) -> Option<u8> {
    lines(text, name).find_map(|value| value.parse().ok())
}

/// A few fixed names for tests.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) struct FixedNames;

#[cfg(any(test, feature = "fuzzing"))]
impl NameLookup for FixedNames {
    fn host(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match name {
            "helios" => Ok(vec![[10, 0, 0, 1].into()]),
            "ace" => Ok(vec![
                [10, 0, 0, 2].into(),
                IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 2]),
            ]),
            _ => Err(io::Error::other("name not known")),
        }
    }

    fn service(&self, name: &str) -> Service {
        find_service(
            "ssh 22/tcp\ndomain 53/tcp\ndomain 53/udp\ntftp 69/udp\nhttp 80/tcp www # web\n",
            name,
        )
    }

    fn protocol(&self, name: &str) -> Option<u8> {
        find_protocol("ip 0 IP\neigrp 88 EIGRP\n", name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICES: &str = "\
# a comment\n\
ssh\t\t22/tcp\t\t\t\t# SSH Remote Login Protocol\n\
domain\t\t53/tcp\n\
domain\t\t53/udp\n\
http\t\t80/tcp\t\twww\t\t# WorldWideWeb HTTP\n\
odd\t\tx/tcp\n\
half\n";

    #[test]
    fn services_are_found_by_name_and_alias() {
        let web = Service {
            tcp: Some(80),
            ..Service::default()
        };
        assert_eq!(find_service(SERVICES, "www"), web);
        assert_eq!(find_service(SERVICES, "http"), web);
        let domain = find_service(SERVICES, "domain");
        assert_eq!((domain.tcp, domain.udp), (Some(53), Some(53)));
        assert_eq!(find_service(SERVICES, "WorldWideWeb"), Service::default());
        assert_eq!(find_service(SERVICES, "odd"), Service::default());
        assert_eq!(find_service(SERVICES, "half"), Service::default());
    }

    #[test]
    fn protocols_are_found_by_name_and_alias() {
        let text = "icmp\t1\tICMP\nax.25 93 AX.25\n";
        assert_eq!(find_protocol(text, "icmp"), Some(1));
        assert_eq!(find_protocol(text, "AX.25"), Some(93));
        assert_eq!(find_protocol(text, "tcp"), None);
    }
}
