//! The interfaces that dwdump adds to Wireshark's list.

/// An interface in Wireshark's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtcapInterface {
    /// The drops of this host.
    Drops,
    /// The drops of another host.
    DropsSsh,
}

impl ExtcapInterface {
    /// All interfaces, in the order of the list.
    pub const ALL: [Self; 2] = [Self::Drops, Self::DropsSsh];

    /// Returns the name, as in `tshark -i drops`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drops => "drops",
            Self::DropsSsh => "drops-ssh",
        }
    }

    /// Returns the description in the list.
    pub fn display(self) -> &'static str {
        match self {
            Self::Drops => "Packets that the kernel dropped",
            Self::DropsSsh => "Packets that another host's kernel dropped",
        }
    }

    /// Returns the interface with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}
