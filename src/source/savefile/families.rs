//! Decides which netlink messages belong to NET_DM. Its number differs from host to host and from
//! boot to boot. So an announced number is valid only for the same interface and section, from the
//! announcement on; in a file that was merged from several hosts' captures, not even there.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// The most numbers that are remembered for an interface: that of one host each.
const MAX_IDS: usize = 8;

/// The announced numbers for each interface of the current section.
#[derive(Default)]
pub struct Families {
    known: HashMap<u32, Ids, RandomState>,
    /// The interface and the number of the last lookup, with its result.
    latest: Option<(u32, u16, Standing)>,
    /// The number that was announced last, on any interface.
    last: Option<u16>,
}

/// Numbers that were announced as NET_DM's: the first `count` elements.
#[derive(Clone, Copy, Default)]
struct Ids {
    ids: [u16; MAX_IDS],
    count: usize,
}

/// The status of a message's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was announced as NET_DM's, as the only one.
    Announced,
    /// It was announced as NET_DM's, but only for one of several hosts.
    Shared,
    /// It was not announced: the controller's answer may be missing, or be that of another host.
    Unannounced,
}

impl Families {
    /// Forgets all numbers, because another section begins.
    pub fn clear(&mut self) {
        self.known.clear();
        self.latest = None;
    }

    /// Notes that NET_DM has this number on the host of an interface.
    pub fn announce(&mut self, interface: u32, id: u16) {
        self.last = Some(id);
        self.latest = None;
        let known = self.known.entry(interface).or_default();
        let is_new = !known.ids[..known.count].contains(&id);
        if is_new && known.count < MAX_IDS {
            known.ids[known.count] = id;
            known.count += 1;
        }
    }

    /// Returns the status of a number.
    #[inline]
    pub fn standing(&mut self, interface: u32, id: u16) -> Standing {
        match self.latest {
            Some((latest, latest_id, standing)) if (latest, latest_id) == (interface, id) => {
                standing
            }
            _ => {
                let standing = self.look_up(interface, id);
                self.latest = Some((interface, id, standing));
                standing
            }
        }
    }

    fn look_up(&self, interface: u32, id: u16) -> Standing {
        let ids = self.known.get(&interface).copied().unwrap_or_default();
        match &ids.ids[..ids.count] {
            [only] if *only == id => Standing::Announced,
            ids if ids.contains(&id) => Standing::Shared,
            _ => Standing::Unannounced,
        }
    }

    /// Returns the number that was announced last, on any interface.
    pub fn last(&self) -> Option<u16> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_holds_for_its_interface_and_section() {
        let mut families = Families::default();
        assert_eq!(families.standing(0, 32), Standing::Unannounced);
        families.announce(0, 32);
        families.announce(0, 32);
        families.announce(1, 35);
        assert_eq!(families.standing(0, 32), Standing::Announced);
        assert_eq!(families.standing(0, 35), Standing::Unannounced);
        assert_eq!(families.standing(1, 35), Standing::Announced);
        families.announce(0, 35);
        assert_eq!(families.standing(0, 32), Standing::Shared);
        assert_eq!(families.standing(0, 35), Standing::Shared);
        families.clear();
        assert_eq!(families.standing(1, 35), Standing::Unannounced);
        assert_eq!(families.last(), Some(35));
    }
}
