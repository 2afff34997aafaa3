//! Names and describes the interfaces of a capture file by the input and origin of their records, and
//! parses the descriptions again. Other programs rely on the exact spelling of the descriptions.

use crate::record::{Basis, Interface, InterfaceKey, Link, Name, Netns, Origin, unescape};

/// The `if_name` of interface 0, by which readers recognise dwdump's files. The interface has no
/// packets; its statistics hold the loss.
pub const MONITOR_NAME: &str = "dwdump";
/// The `if_description` of interface 0.
pub const MONITOR_DESCRIPTION: &str = "kernel drop monitor";
/// The prefix of comments in interface 0's statistics that explain why drops are missing.
pub const INCOMPLETE: &str = "incomplete: ";

/// Returns the `if_name` and `if_description` of an interface. `netns` is its network namespace, unless that
/// is the initial one. [`InterfaceFacts::read`] parses them.
pub fn describe(
    input: Option<Interface<'_>>,
    netns: Option<u32>,
    link: Link,
    origin: Option<Origin>,
) -> (String, Option<String>) {
    let netns = netns.map_or_else(String::new, |inode| format!(", netns {inode}"));
    let assumed = match link.basis {
        Basis::Known => "",
        Basis::Assumed => ", link type assumed",
    };
    let place = input.map_or_else(
        || "locally generated".into(),
        |input| format!("ifindex {}", input.key.index),
    );
    let name = match (input, origin) {
        (Some(input), _) => input.to_string(),
        (None, Some(_)) => "local".into(),
        // Nothing is known, not even that the packet was generated locally.
        (None, None) => String::new(),
    };
    // A packet of another program's capture may have an interface without drop facts.
    let description = match (origin, input) {
        (Some(origin), _) => Some(format!("{place}, {origin}{netns}{assumed}")),
        (None, Some(_)) => Some(format!("{place}{netns}{assumed}")),
        (None, None) => None,
    };
    (name, description)
}

/// The facts that [`describe`] writes into `if_name` and `if_description`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceFacts {
    /// The key and the unescaped name, which may be empty; `None` for packets that were generated
    /// locally.
    pub input: Option<(InterfaceKey, Vec<u8>)>,
    /// The inode of the network namespace; `None` for the initial one, or where it is not known.
    pub netns: Option<u32>,
    /// Who dropped the packets; `None` for captures of other packets.
    pub origin: Option<Origin>,
    /// The certainty of the link type.
    pub basis: Basis,
}

impl InterfaceFacts {
    /// Parses a name and a description; `None` where dwdump did not write them.
    pub fn read(name: &str, description: &str) -> Option<Self> {
        let (rest, basis) = match description.strip_suffix(", link type assumed") {
            Some(rest) => (rest, Basis::Assumed),
            None => (description, Basis::Known),
        };
        let (rest, netns) = match rest.rsplit_once(", netns ") {
            Some((rest, inode)) => (rest, Some(inode.parse::<u32>().ok()?)),
            None => (rest, None),
        };
        let (place, origin) = match rest.split_once(", ") {
            Some((place, "software")) => (place, Some(Origin::Software)),
            Some((place, "hardware")) => (place, Some(Origin::Hardware)),
            Some(_) => return None,
            None => (rest, None),
        };
        let input = match place.strip_prefix("ifindex ") {
            Some(index) => {
                let netns = netns.map(|inode| Netns::new(inode, false));
                let key = InterfaceKey::new(index.parse().ok()?, netns);
                let name = unescape(name);
                // `Interface` recognises the placeholder for a missing name.
                let name = Interface::new(key, Name::new(&name)).name();
                Some((
                    key,
                    name.map_or_else(Vec::new, |name| name.as_bytes().to_vec()),
                ))
            }
            None if place == "locally generated" && origin.is_some() => None,
            None => return None,
        };
        Some(Self {
            input,
            netns,
            origin,
            basis,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::LinkType;

    #[test]
    fn a_description_reads_back() {
        #[track_caller]
        fn check(
            input: Option<(u32, &[u8])>,
            netns: Option<u32>,
            origin: Option<Origin>,
            basis: Basis,
            name: &str,
            description: &str,
        ) {
            let key = |index| InterfaceKey::new(index, netns.map(|inode| Netns::new(inode, false)));
            let interface = input.map(|(index, name)| Interface::new(key(index), Name::new(name)));
            let link = Link {
                kind: LinkType::ETHERNET,
                basis,
            };
            let described = describe(interface, netns, link, origin);
            assert_eq!(described, (name.to_owned(), Some(description.to_owned())));
            let facts = InterfaceFacts::read(name, description).unwrap();
            let read = facts
                .input
                .as_ref()
                .map(|(key, name)| Interface::new(*key, Name::new(name)));
            assert_eq!(
                (read, facts.netns, facts.origin, facts.basis),
                (interface, netns, origin, basis)
            );
        }
        let (software, hardware) = (Some(Origin::Software), Some(Origin::Hardware));
        check(
            Some((5, b"eth0")),
            None,
            software,
            Basis::Known,
            "eth0",
            "ifindex 5, software",
        );
        check(
            Some((5, b"")),
            None,
            hardware,
            Basis::Known,
            "if5",
            "ifindex 5, hardware",
        );
        check(
            None,
            None,
            software,
            Basis::Assumed,
            "local",
            "locally generated, software, link type assumed",
        );
        check(
            Some((2, b"eth0")),
            Some(4_026_532_345),
            software,
            Basis::Assumed,
            "eth0",
            "ifindex 2, software, netns 4026532345, link type assumed",
        );
        check(
            None,
            Some(7),
            software,
            Basis::Known,
            "local",
            "locally generated, software, netns 7",
        );
        check(
            Some((7, b"a\xff")),
            None,
            software,
            Basis::Known,
            "a\\xff",
            "ifindex 7, software",
        );
        let known = Basis::Known;
        check(Some((7, b"eth0")), None, None, known, "eth0", "ifindex 7");
    }

    #[test]
    fn descriptions_of_other_programs_are_not_parsed() {
        for description in [
            "",
            "LAN",
            "ifindex x, software",
            "ifindex 5, wetware",
            "locally generated",
            "ifindex 5, software, netns x",
            "ifindex 5, netns 7, software",
        ] {
            assert_eq!(InterfaceFacts::read("eth0", description), None);
        }
    }
}
