//! Converts the kernel's alerts to [`DropRecord`]s and, for the C tool's file format, back. Attributes
//! may be missing and come in any order; unknown ones are skipped and counted. Alerts whose
//! attributes are in the kernel's own order are decoded by a faster decoder (`kernel_order`).

mod encode;
mod kernel_order;
#[cfg(test)]
mod tests;

pub use encode::encode;

use super::content::Content;
use super::netlink::{Attributes, ByteOrder};
use super::{ORIGIN_HW, ORIGIN_SW, attr};

use crate::packet::{self, ArpHardware};
use crate::record::{
    Basis, Cause, DropRecord, EtherType, Interface, Link, LinkType, Location, Name, Origin, Symbol,
    Timestamp,
};

/// A decoded packet alert (`NET_DM_CMD_PACKET_ALERT`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alert<'a> {
    /// `NET_DM_ATTR_ORIGIN`.
    pub origin: Option<Origin>,
    /// `NET_DM_ATTR_PC` and `NET_DM_ATTR_SYMBOL`.
    pub location: Location<'a>,
    reason: Option<Name<'a>>,
    group: Option<Name<'a>>,
    trap: Option<Name<'a>>,
    cookie: Option<&'a [u8]>,
    /// `NET_DM_ATTR_IN_PORT`. The kernel sends an empty one for locally generated packets.
    pub input: Option<Interface<'a>>,
    /// `NET_DM_ATTR_TIMESTAMP`.
    pub time: Option<Timestamp>,
    protocol: Option<EtherType>,
    original_len: Option<u32>,
    payload: &'a [u8],
    /// The type of the payload.
    pub content: Content,
    /// Attributes that were skipped: unknown, repeated, or with a value of the wrong size.
    pub skipped: u32,
}

/// The most bytes of a cookie that are kept (tc's have at most 16, `TC_COOKIE_MAX_SIZE`).
const MAX_COOKIE: usize = 1024;

impl<'a> Alert<'a> {
    /// Decodes any attributes. The first attribute of each type counts.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "an alert is large, and copied twice otherwise: 60 of 1100 instructions a packet"
    )]
    pub fn decode(attributes: Attributes<'a>) -> Self {
        // A constant byte order spares a test at each number.
        let alert = match attributes.order() {
            ByteOrder::NATIVE => Self::in_kernel_order(attributes.in_order(ByteOrder::NATIVE)),
            _ => None,
        };
        let mut alert = alert.unwrap_or_else(|| Self::in_any_order(attributes));
        alert.set_content(attributes.order());
        alert
    }

    /// Decodes any attributes without the faster decoder, which has to find the same.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn decode_plainly(attributes: Attributes<'a>) -> Self {
        let mut alert = Self::in_any_order(attributes);
        alert.set_content(attributes.order());
        alert
    }

    /// Sets the type of the payload. A protocol other than 0 means a packet.
    #[inline]
    fn set_content(&mut self, order: ByteOrder) {
        if self.protocol == Some(EtherType::NONE) {
            self.content = self.content_without_protocol(order);
        }
    }

    /// Returns the type of a payload with the protocol 0. It is a packet where it came in by an
    /// interface or a device dropped it.
    #[cold]
    fn content_without_protocol(&self, order: ByteOrder) -> Content {
        if self.input.is_some() || self.is_hardware() {
            return Content::Packet;
        }
        Content::of_no_packet(self.payload, self.original_len(), order)
    }

    /// Returns the length of the frame, at least that of the payload.
    fn original_len(&self) -> u32 {
        let captured = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        self.original_len.unwrap_or(captured).max(captured)
    }

    /// Returns whether a device dropped it. Where the origin is missing, only a hardware drop has a trap.
    fn is_hardware(&self) -> bool {
        match self.origin {
            Some(origin) => origin == Origin::Hardware,
            None => self.trap.is_some() || self.group.is_some(),
        }
    }

    /// Decodes attributes in any order.
    #[inline(never)]
    fn in_any_order(attributes: Attributes<'a>) -> Self {
        let order = attributes.order();
        let mut alert = Self::default();
        let mut seen = AttributeTypes::default();
        for (kind, value) in attributes {
            if kind != attr::PAD && !seen.is_first(kind) {
                alert.skipped += 1;
                continue;
            }
            let understood = match kind {
                attr::ORIGIN => set(&mut alert.origin, order.u16(value).and_then(origin)),
                attr::PC => set(&mut alert.location.pc, order.u64(value)),
                attr::SYMBOL => set(&mut alert.location.symbol, Name::new(value).map(Symbol)),
                attr::REASON => set(&mut alert.reason, Name::new(value)),
                attr::HW_TRAP_GROUP_NAME => set(&mut alert.group, Name::new(value)),
                attr::HW_TRAP_NAME => set(&mut alert.trap, Name::new(value)),
                attr::FLOW_ACTION_COOKIE => set(&mut alert.cookie, cookie(value)),
                attr::IN_PORT => {
                    alert.input = alert.read_in_port(attributes.nested(value));
                    true
                }
                attr::TIMESTAMP => set(&mut alert.time, order.u64(value).map(Timestamp)),
                attr::PROTO => set(&mut alert.protocol, order.u16(value).map(EtherType)),
                attr::ORIG_LEN => set(&mut alert.original_len, order.u32(value)),
                attr::PAYLOAD => {
                    alert.payload = value;
                    true
                }
                attr::PAD => true,
                _ => false,
            };
            alert.skipped += u32::from(!understood);
        }
        alert
    }

    /// Decodes a message whose end is missing, with as much of the payload as there is. Also returns
    /// whether nothing but payload is missing.
    pub fn decode_cut(attributes: Attributes<'a>) -> (Self, bool) {
        let mut alert = Self::in_any_order(attributes);
        let mut rest = attributes;
        rest.by_ref().for_each(drop);
        match rest.cut() {
            Some((attr::PAYLOAD, payload)) if alert.payload.is_empty() => {
                alert.payload = payload;
                alert.set_content(attributes.order());
                (alert, true)
            }
            Some(_) => (alert, false),
            // The protocol comes right before the payload, and only with one.
            None => (alert, alert.protocol.is_some()),
        }
    }

    fn read_in_port(&mut self, nest: Attributes<'a>) -> Option<Interface<'a>> {
        let order = nest.order();
        let (mut index, mut name) = (None, None);
        let mut seen = AttributeTypes::default();
        for (kind, value) in nest {
            if !seen.is_first(kind) {
                self.skipped += 1;
                continue;
            }
            let understood = match kind {
                attr::in_port::NETDEV_IFINDEX => set(&mut index, order.u32(value)),
                attr::in_port::NETDEV_NAME => set(&mut name, Name::new(value)),
                _ => false,
            };
            self.skipped += u32::from(!understood);
        }
        if index.is_none() && name.is_none() {
            return None;
        }
        Some(Interface::new(index.unwrap_or(0), name))
    }

    /// Returns whether this can be nothing but a packet alert, for captures that do not name the
    /// family. The kernel has sent all of these attributes since 5.4.
    pub fn is_certain(&self) -> bool {
        self.origin.is_some()
            && self.time.is_some()
            && self.original_len.is_some()
            && (self.location.pc.is_some() || self.trap.is_some())
            && self.skipped == 0
    }

    /// Returns whether this is probably a packet alert; a message of another family can look the same.
    pub fn is_likely(&self) -> bool {
        self.has_place() && (self.time.is_some() || self.original_len.is_some())
    }

    /// Returns whether it has a location or a trap.
    pub fn has_place(&self) -> bool {
        self.location.pc.is_some() || self.trap.is_some()
    }

    /// Returns the record. `time` is for alerts without one; `device` and `guess` are the input
    /// device's hardware type, see [`packet::infer_link`]; `name` is a guess of its name.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "else the caller copies its record")]
    pub fn record(
        &self,
        time: Option<Timestamp>,
        device: Option<ArpHardware>,
        guess: Option<ArpHardware>,
        name: Option<Name<'a>>,
    ) -> DropRecord<'a> {
        let cause = if self.is_hardware() {
            self.hardware()
        } else {
            Cause::Software {
                location: self.location,
                reason: self.reason,
            }
        };
        let original_len = self.original_len();
        let link = match self.content {
            Content::Packet => {
                let (protocol, data) = (self.protocol, self.payload);
                let link = packet::infer_link(protocol, data, original_len, device, guess);
                match link.basis {
                    Basis::Known if self.may_begin_inside_gre() => Link {
                        basis: Basis::Assumed,
                        ..link
                    },
                    _ => link,
                }
            }
            Content::Netlink { .. } => Link::known(LinkType::NETLINK),
            Content::Data => Link::known(LinkType::NO_PACKET),
        };
        DropRecord {
            time: self.time.or(time),
            cause,
            input: self
                .input
                .map(|input| Interface::new(input.key, input.name().or(name))),
            protocol: self
                .protocol
                .or_else(|| packet::protocol(link.kind, self.payload)),
            original_len,
            ..DropRecord::new(link, self.payload)
        }
    }

    /// Returns whether what looks like an Ethernet header may be the end of two headers in front of it: of IP and
    /// GRE, written over the link-layer header that the packet came in with. The kernel sends the bytes from
    /// there on, wherever the frame begins by now.
    #[inline]
    fn may_begin_inside_gre(&self) -> bool {
        // The last bytes of the sender's address are GRE's flags: none. Those before them are the receiver's IP
        // address; they are 0 on the loopback device.
        let Some(&[a, b, c, d, 0, 0, high, low]) = self.payload.get(6..14) else {
            return false;
        };
        let kind = EtherType(u16::from_be_bytes([high, low]));
        let is_ip = matches!(kind, EtherType::IPV4 | EtherType::IPV6);
        let has_receiver = [a, b, c, d] != [0; 4];
        is_ip && has_receiver && self.input.is_some() && !self.is_hardware()
    }

    fn hardware(&self) -> Cause<'a> {
        Cause::Hardware {
            group: self.group,
            trap: self.trap,
            cookie: self.cookie,
        }
    }
}

/// The types of attributes that were decoded. The kernel never sends two of a type. Where there are
/// two, the first counts, as for a filter in the kernel (`nla_find`).
#[derive(Default)]
struct AttributeTypes(u32);

impl AttributeTypes {
    /// Adds a type. Returns whether it is new; types above 31, which the kernel does not send, always
    /// are.
    fn is_first(&mut self, kind: u16) -> bool {
        let bit = 1_u32.checked_shl(kind.into()).unwrap_or(0);
        let is_first = self.0 & bit == 0;
        self.0 |= bit;
        is_first
    }
}

/// Sets the value and returns whether there is one.
fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let understood = value.is_some();
    *place = value;
    understood
}

fn cookie(value: &[u8]) -> Option<&[u8]> {
    let cookie = &value[..value.len().min(MAX_COOKIE)];
    (!cookie.is_empty()).then_some(cookie)
}

fn origin(value: u16) -> Option<Origin> {
    match value {
        ORIGIN_SW => Some(Origin::Software),
        ORIGIN_HW => Some(Origin::Hardware),
        _ => None,
    }
}
