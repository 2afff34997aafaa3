//! Names and describes the interfaces of a capture file by the input and origin of their records, and
//! parses the descriptions again. Other programs rely on the exact spelling of the descriptions.

use crate::record::{
    Basis, DropRecord, Interface, InterfaceKey, Link, Name, Netns, Origin, unescape,
};

/// The `if_name` of interface 0, by which readers recognise dwdump's files. The interface has no
/// packets; its statistics hold the loss.
pub const MONITOR_NAME: &str = "dwdump";
/// The `if_description` of interface 0.
pub const MONITOR_DESCRIPTION: &str = "kernel drop monitor";
/// The prefix of the comment in the section header that tells the boot of the host.
pub const BOOT: &str = "boot: ";
/// The prefix of comments in interface 0's statistics that explain why drops are missing.
pub const INCOMPLETE: &str = "incomplete: ";

/// The beginning of a description without an input interface.
const LOCAL: &str = "locally generated";
const UNKNOWN: &str = "input unknown";

/// The place that the packets of an interface came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfacePlace<'a> {
    /// They came in by this interface.
    Input(Interface<'a>),
    /// They were generated on this host.
    Local,
    /// One of both.
    Unknown,
}

impl<'a> InterfacePlace<'a> {
    /// Returns the place that a packet came from.
    pub fn of(record: &DropRecord<'a>) -> Self {
        match record.input {
            Some(input) => Self::Input(input),
            None if record.lacks_input() => Self::Unknown,
            None => Self::Local,
        }
    }
}

/// Returns the `if_name` and `if_description` of an interface. `netns` is its network namespace, unless that
/// is the initial one. [`InterfaceFacts::read`] parses them.
pub fn describe(
    place: InterfacePlace<'_>,
    netns: Option<u32>,
    link: Link,
    origin: Option<Origin>,
) -> (String, Option<String>) {
    let netns = netns.map_or_else(String::new, |inode| format!(", netns {inode}"));
    let assumed = match link.basis {
        Basis::Known => "",
        Basis::Assumed => ", link type assumed",
    };
    let (name, text) = match (place, origin) {
        (InterfacePlace::Input(input), _) => {
            (input.to_string(), format!("ifindex {}", input.key.index))
        }
        // Nothing is known, not even that the packet was generated locally.
        (_, None) => (String::new(), String::new()),
        (InterfacePlace::Local, Some(_)) => ("local".into(), LOCAL.into()),
        (InterfacePlace::Unknown, Some(_)) => ("unknown".into(), UNKNOWN.into()),
    };
    // A packet of another program's capture may have an interface without drop facts.
    let description = match (origin, place) {
        (Some(origin), _) => Some(format!("{text}, {origin}{netns}{assumed}")),
        (None, InterfacePlace::Input(_)) => Some(format!("{text}{netns}{assumed}")),
        (None, _) => None,
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
            None if matches!(place, LOCAL | UNKNOWN) && origin.is_some() => None,
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
            let place = interface.map_or(InterfacePlace::Local, InterfacePlace::Input);
            let described = describe(place, netns, link, origin);
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
    fn what_may_have_come_in_is_not_called_local() {
        let link = Link::known(LinkType::ETHERNET);
        let (name, description) =
            describe(InterfacePlace::Unknown, None, link, Some(Origin::Software));
        assert_eq!(name, "unknown");
        let description = description.unwrap();
        assert_eq!(description, "input unknown, software");
        let facts = InterfaceFacts::read(&name, &description).unwrap();
        assert_eq!((facts.input, facts.origin), (None, Some(Origin::Software)));
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
