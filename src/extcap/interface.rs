//! The interfaces that Wireshark's list shows.

/// An interface of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtcapInterface {
    /// What this host's kernel drops.
    Drops,
    /// What another host's kernel drops.
    DropsSsh,
}

impl ExtcapInterface {
    /// All of them, in the order of the list.
    pub const ALL: [Self; 2] = [Self::Drops, Self::DropsSsh];

    /// Returns the name, as in `tshark -i drops`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drops => "drops",
            Self::DropsSsh => "drops-ssh",
        }
    }

    /// Returns what the list says of it.
    pub fn display(self) -> &'static str {
        match self {
            Self::Drops => "packets that the kernel dropped",
            Self::DropsSsh => "packets that another host's kernel dropped, by SSH",
        }
    }

    /// Returns the interface with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}
