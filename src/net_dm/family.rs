//! Parses and writes the netlink controller's answer that tells the number of the family NET_DM.
//! The number differs from boot to boot, so a capture of netlink messages has to contain the
//! answer.

use super::netlink::{Attributes, Generic, MessageBuilder};
use super::{FAMILY_NAME, FAMILY_VERSION, GROUP_ID, GROUP_NAME};

/// Commands and attributes of the controller (linux/genetlink.h).
mod ctrl {
    pub const NEW_FAMILY: u8 = 1;
    pub const ATTR_FAMILY_ID: u16 = 1;
    pub const ATTR_FAMILY_NAME: u16 = 2;
    pub const ATTR_VERSION: u16 = 3;
    pub const ATTR_HDRSIZE: u16 = 4;
    pub const ATTR_MAXATTR: u16 = 5;
    pub const ATTR_MCAST_GROUPS: u16 = 7;
    pub const ATTR_MCAST_GRP_NAME: u16 = 1;
    pub const ATTR_MCAST_GRP_ID: u16 = 2;
    /// The controller's own version.
    pub const VERSION: u8 = 2;
}

/// The number that is written where the capture does not tell one: a number that NET_DM often has.
pub const FALLBACK_ID: u16 = 0x20;

/// Returns the number of NET_DM if `message`, one of the controller's, announces it.
pub fn read_id(message: &Generic<'_>) -> Option<u16> {
    if message.command != ctrl::NEW_FAMILY {
        return None;
    }
    id(message.attributes)
}

/// Returns the number of NET_DM if these attributes, of the controller's message, are about it.
pub fn id(attributes: Attributes<'_>) -> Option<u16> {
    let order = attributes.order();
    let (mut id, mut is_net_dm) = (None, false);
    for (kind, value) in attributes {
        match kind {
            ctrl::ATTR_FAMILY_ID => id = order.u16(value),
            ctrl::ATTR_FAMILY_NAME => {
                is_net_dm = value.strip_suffix(b"\0").unwrap_or(value) == FAMILY_NAME.as_bytes();
            }
            _ => {}
        }
    }
    id.filter(|_| is_net_dm)
}

/// Appends the controller's answer for NET_DM.
pub fn write_answer(id: u16, buffer: &mut Vec<u8>) {
    let mut message = MessageBuilder::new(
        buffer,
        super::netlink::GENL_ID_CTRL,
        ctrl::NEW_FAMILY,
        ctrl::VERSION,
    );
    message
        .string(ctrl::ATTR_FAMILY_NAME, FAMILY_NAME.as_bytes())
        .attribute(ctrl::ATTR_FAMILY_ID, &id.to_ne_bytes())
        .attribute(ctrl::ATTR_VERSION, &u32::from(FAMILY_VERSION).to_ne_bytes())
        .attribute(ctrl::ATTR_HDRSIZE, &0u32.to_ne_bytes())
        .attribute(
            ctrl::ATTR_MAXATTR,
            &u32::from(super::attr::REASON).to_ne_bytes(),
        )
        .nest(ctrl::ATTR_MCAST_GROUPS, |groups| {
            groups.nest(1, |group| {
                group
                    .attribute(ctrl::ATTR_MCAST_GRP_ID, &GROUP_ID.to_ne_bytes())
                    .string(ctrl::ATTR_MCAST_GRP_NAME, GROUP_NAME.as_bytes());
            });
        });
    message.finish();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net_dm::netlink::{ByteOrder, Messages};

    #[test]
    fn the_answer_reads_back() {
        let mut buffer = Vec::new();
        write_answer(0x24, &mut buffer);
        let message = Messages::new(&buffer, ByteOrder::NATIVE).next().unwrap();
        assert_eq!(message.kind, super::super::netlink::GENL_ID_CTRL);
        assert_eq!(
            read_id(&message.generic(ByteOrder::NATIVE).unwrap()),
            Some(0x24)
        );
    }
}
