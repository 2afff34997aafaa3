//! Converts the kernel's alerts to [`DropRecord`]s and, for the C tool's file format, back. Attributes
//! may be missing and come in any order; unknown ones are skipped and counted.

use super::content::Content;
use super::netlink::{Attributes, ByteOrder, MessageBuilder};
use super::{FAMILY_VERSION, ORIGIN_HW, ORIGIN_SW, attr, cmd};
use crate::packet::{self, ArpHardware};
use crate::record::{
    Cause, DropRecord, EtherType, Interface, Link, LinkType, Location, Name, Origin, Symbol,
    Timestamp,
};

/// A packet alert (`NET_DM_CMD_PACKET_ALERT`), decoded but not yet judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alert<'a> {
    /// `NET_DM_ATTR_ORIGIN`; where it is missing, told by the presence of a trap.
    pub origin: Option<Origin>,
    /// `NET_DM_ATTR_PC` and `NET_DM_ATTR_SYMBOL`.
    pub location: Location<'a>,
    reason: Option<Name<'a>>,
    group: Option<Name<'a>>,
    trap: Option<Name<'a>>,
    cookie: Option<&'a [u8]>,
    /// Index and name; the nest is there but empty for locally generated packets.
    pub input: Option<Interface<'a>>,
    /// `NET_DM_ATTR_TIMESTAMP`.
    pub time: Option<Timestamp>,
    protocol: Option<EtherType>,
    original_len: Option<u32>,
    payload: &'a [u8],
    /// What the payload is.
    pub content: Content,
    /// Attributes that were skipped: unknown, repeated, or with a value of the wrong size.
    pub skipped: u32,
}

/// The longest cookie kept, in bytes (tc's are at most 16, `TC_COOKIE_MAX_SIZE`).
const MAX_COOKIE: usize = 1024;

impl<'a> Alert<'a> {
    /// Total: any attributes give an alert, the first of each type.
    #[inline]
    pub fn decode(attributes: Attributes<'a>) -> Self {
        // Nearly always it is this machine's byte order: so no number asks for it again.
        let usual = match attributes.order() {
            ByteOrder::NATIVE => Self::in_usual_order(attributes.in_order(ByteOrder::NATIVE)),
            _ => None,
        };
        let alert = usual.unwrap_or_else(|| Self::in_any_order(attributes));
        alert.with_content(attributes.order())
    }

    /// Says what the payload is. Of nearly all alerts, the protocol says that it is a packet.
    #[inline]
    fn with_content(mut self, order: ByteOrder) -> Self {
        if self.protocol == Some(EtherType::NONE) {
            self.content = self.content_without_protocol(order);
        }
        self
    }

    /// The kernel knows a protocol of every packet by the time it can be dropped; one that came in
    /// by an interface is a packet all the same.
    #[cold]
    fn content_without_protocol(&self, order: ByteOrder) -> Content {
        if self.input.is_some() || self.is_hardware() {
            return Content::Packet;
        }
        Content::of_no_packet(self.payload, self.original_len(), order)
    }

    /// Never less than what was captured.
    fn original_len(&self) -> u32 {
        let captured = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        self.original_len.unwrap_or(captured).max(captured)
    }

    /// Whether a device dropped it. Told by the trap where the origin is missing.
    fn is_hardware(&self) -> bool {
        match self.origin {
            Some(origin) => origin == Origin::Hardware,
            None => self.trap.is_some() || self.group.is_some(),
        }
    }

    /// In the order in which the kernel puts them (`net_dm_packet_report_fill` and
    /// `net_dm_hw_packet_report_fill`, net/core/drop_monitor.c): half the work. `None` where they
    /// are in another one, or anything is to be skipped.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the byte order is known where it is called"
    )]
    fn in_usual_order(mut attributes: Attributes<'a>) -> Option<Self> {
        let order = attributes.order();
        let rest = &mut attributes;
        let origin = take(rest, attr::ORIGIN, |value| {
            order.u16(value).and_then(origin)
        })?;
        let pc = take(rest, attr::PC, |value| order.u64(value))?;
        let reason = take(rest, attr::REASON, Name::new)?;
        let symbol = take(rest, attr::SYMBOL, Name::new)?;
        let group = take(rest, attr::HW_TRAP_GROUP_NAME, Name::new)?;
        let trap = take(rest, attr::HW_TRAP_NAME, Name::new)?;
        let input = take(rest, attr::IN_PORT, Some)?;
        let cookie = take(rest, attr::FLOW_ACTION_COOKIE, cookie)?;
        let time = take(rest, attr::TIMESTAMP, |value| order.u64(value))?;
        let original_len = take(rest, attr::ORIG_LEN, |value| order.u32(value))?;
        let protocol = take(rest, attr::PROTO, |value| order.u16(value))?;
        let payload = take(rest, attr::PAYLOAD, Some)?;
        if !rest.rest().is_empty() {
            return None;
        }
        let input = match input {
            None | Some([]) => None,
            Some(nest) => {
                let mut nest = attributes.nested(nest);
                let index = take(&mut nest, attr::in_port::NETDEV_IFINDEX, |value| {
                    order.u32(value)
                })?;
                let name = take(&mut nest, attr::in_port::NETDEV_NAME, Name::new)?;
                if !nest.rest().is_empty() {
                    return None;
                }
                Some(Interface::new(index.unwrap_or(0), name))
            }
        };
        Some(Self {
            origin,
            location: Location {
                pc,
                symbol: symbol.map(Symbol),
                source_line: None,
            },
            reason,
            group,
            trap,
            cookie,
            input,
            time: time.map(Timestamp),
            protocol: protocol.map(EtherType),
            original_len,
            payload: payload.unwrap_or_default(),
            content: Content::Packet,
            skipped: 0,
        })
    }

    #[inline(never)]
    fn in_any_order(attributes: Attributes<'a>) -> Self {
        let order = attributes.order();
        let mut alert = Self::default();
        let mut seen = Seen::default();
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

    /// The same of a message whose end is missing: as much of the payload as there is. Whether nothing but
    /// payload is missing.
    pub fn decode_cut(attributes: Attributes<'a>) -> (Self, bool) {
        let mut alert = Self::in_any_order(attributes);
        let mut rest = attributes;
        rest.by_ref().for_each(drop);
        match rest.cut() {
            Some((attr::PAYLOAD, payload)) if alert.payload.is_empty() => {
                alert.payload = payload;
                (alert.with_content(attributes.order()), true)
            }
            Some(_) => (alert, false),
            // The protocol comes right before the payload, and only with one.
            None => (alert, alert.protocol.is_some()),
        }
    }

    fn read_in_port(&mut self, nest: Attributes<'a>) -> Option<Interface<'a>> {
        let order = nest.order();
        let (mut index, mut name) = (None, None);
        let mut seen = Seen::default();
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

    /// Whether this can be nothing but a packet alert: for captures that do not name the family.
    /// The kernel sends all of these since 5.4.
    pub fn is_certain(&self) -> bool {
        self.origin.is_some()
            && self.time.is_some()
            && self.original_len.is_some()
            && (self.location.pc.is_some() || self.trap.is_some())
            && self.skipped == 0
    }

    /// Whether this looks like a packet alert, while some other message of the same shape is possible.
    pub fn is_likely(&self) -> bool {
        self.has_place() && (self.time.is_some() || self.original_len.is_some())
    }

    /// Whether it says where the drop happened, or by which trap.
    pub fn has_place(&self) -> bool {
        self.location.pc.is_some() || self.trap.is_some()
    }

    /// The record. `time` serves where the alert has none; `device` and `guess` are the input
    /// device's hardware type, as [`packet::infer_link`] takes them; `name` is a guessed name.
    #[inline]
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
                packet::infer_link(self.protocol, self.payload, original_len, device, guess)
            }
            Content::Netlink { .. } => Link::known(LinkType::NETLINK),
            Content::Data => Link::known(LinkType::NO_PACKET),
        };
        DropRecord {
            time: self.time.or(time),
            cause,
            input: self
                .input
                .map(|input| Interface::new(input.index, input.name().or(name))),
            protocol: self
                .protocol
                .or_else(|| packet::protocol(link.kind, self.payload)),
            original_len,
            ..DropRecord::new(link, self.payload)
        }
    }

    fn hardware(&self) -> Cause<'a> {
        Cause::Hardware {
            group: self.group,
            trap: self.trap,
            cookie: self.cookie,
        }
    }
}

/// The types of attributes met so far. Of several of one type, which the kernel never sends, the
/// first counts, whatever its value: so a filter in the kernel finds it (`nla_find`).
#[derive(Default)]
struct Seen(u32);

impl Seen {
    /// Types that are not understood may come as often as they like.
    fn is_first(&mut self, kind: u16) -> bool {
        let bit = 1_u32.checked_shl(kind.into()).unwrap_or(0);
        let is_first = self.0 & bit == 0;
        self.0 |= bit;
        is_first
    }
}

/// What `read` makes of the next attribute where it is of this type, `Some(None)` where it is
/// not, `None` where it is but nothing can be made of it.
#[inline(always)]
#[expect(
    clippy::inline_always,
    clippy::option_option,
    reason = "the byte order is known where it is called; the caller asks with a question mark"
)]
fn take<'a, T>(
    attributes: &mut Attributes<'a>,
    kind: u16,
    read: impl FnOnce(&'a [u8]) -> Option<T>,
) -> Option<Option<T>> {
    match attributes.next_if(kind) {
        Some(value) => read(value).map(Some),
        None => Some(None),
    }
}

/// Whether there was a value to set.
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

/// The longest symbol the kernel sends, in characters (`NET_DM_MAX_SYMBOL_LEN` less the NUL).
const MAX_SYMBOL: usize = 39;

/// Appends the alert that the kernel would have sent for `record`; `false` where it could not
/// have sent one (no drop, or bytes that do not begin with a link-layer header).
pub fn encode(record: &DropRecord<'_>, family: u16, buffer: &mut Vec<u8>) -> bool {
    let is_as_sent = matches!(
        record.link.kind,
        LinkType::ETHERNET
            | LinkType::RAW
            | LinkType::IEEE802_11
            | LinkType::IEEE802_11_RADIOTAP
            | LinkType::NETLINK
            | LinkType::NO_PACKET
    );
    let (Some(origin), Some(time)) = (record.cause.origin().filter(|_| is_as_sent), record.time)
    else {
        return false;
    };
    let mut message = MessageBuilder::new(buffer, family, cmd::PACKET_ALERT, FAMILY_VERSION);
    let (code, name) = match origin {
        // A software drop's interface name is our guess, never the kernel's word.
        Origin::Software => (ORIGIN_SW, None),
        Origin::Hardware => (ORIGIN_HW, record.input.and_then(Interface::name)),
    };
    message.attribute(attr::ORIGIN, &code.to_ne_bytes());
    match record.cause {
        Cause::Software { location, reason } => {
            if let Some(pc) = location.pc {
                message.attribute(attr::PC, &pc.to_ne_bytes());
            }
            if let Some(reason) = reason {
                message.string(attr::REASON, reason.as_bytes());
            }
            if let Some(symbol) = location.symbol {
                let text = symbol.0.as_bytes();
                message.string(attr::SYMBOL, &text[..text.len().min(MAX_SYMBOL)]);
            }
        }
        Cause::Hardware { group, trap, .. } => {
            if let Some(group) = group {
                message.string(attr::HW_TRAP_GROUP_NAME, group.as_bytes());
            }
            if let Some(trap) = trap {
                message.string(attr::HW_TRAP_NAME, trap.as_bytes());
            }
        }
        Cause::Unknown => {}
    }
    message.nest(attr::IN_PORT, |nest| {
        if let Some(input) = record.input {
            if input.index != 0 {
                nest.attribute(attr::in_port::NETDEV_IFINDEX, &input.index.to_ne_bytes());
            }
            if let Some(name) = name {
                nest.string(attr::in_port::NETDEV_NAME, name.as_bytes());
            }
        }
    });
    if let Cause::Hardware {
        cookie: Some(cookie),
        ..
    } = record.cause
    {
        message.attribute(attr::FLOW_ACTION_COOKIE, cookie);
    }
    message
        .attribute(attr::TIMESTAMP, &time.0.to_ne_bytes())
        .attribute(attr::ORIG_LEN, &record.original_len.to_ne_bytes());
    // The kernel sends neither where it copied nothing.
    if !record.data.is_empty() {
        if let Some(protocol) = record.protocol {
            message.attribute(attr::PROTO, &protocol.0.to_ne_bytes());
        }
        message.attribute(attr::PAYLOAD, record.data);
    }
    message.finish();
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net_dm::netlink::{GENL_ID_CTRL, Messages};
    use proptest::prelude::*;

    /// A software alert of Linux 6.12, big-endian to prove that the order is minded.
    #[rustfmt::skip]
    const BIG_ENDIAN_ALERT: [u8; 104] = [
        0, 0, 0, 104,  0, 0x24,  0, 0,  0, 0, 0, 0,  0, 0, 0, 0, // length, type, flags, seq, pid
        5, 2, 0, 0,                                               // PACKET_ALERT, version
        0, 6, 0, 14,  0, 0, 0, 0,                                 // ORIGIN software
        0, 12, 0, 2,  0xff, 0xff, 0xff, 0xff, 0xb3, 0xd4, 0x20, 0xb5, // PC
        0, 10, 0, 23,  b'N', b'O', b'_', b'X', b'Y', 0,  0, 0,    // REASON
        0, 12, 0x80, 4,  0, 8, 0, 0,  0, 0, 0, 5,                 // IN_PORT { IFINDEX 5 }
        0, 12, 0, 5,  0, 0, 0, 0, 0, 0, 0x30, 0x39,               // TIMESTAMP 12345
        0, 8, 0, 10,  0, 1, 0x11, 0x70,                           // ORIG_LEN 70000
        0, 6, 0, 6,  8, 0, 0, 0,                                  // PROTO
        0, 7, 0, 7,  0x45, 0, 0, 0,                               // PAYLOAD, 3 bytes
        0, 4, 0, 99,                                              // unknown, empty
    ];

    fn decode(bytes: &[u8], order: ByteOrder) -> Alert<'_> {
        let message = Messages::new(bytes, order).next().unwrap();
        Alert::decode(message.generic(order).unwrap().attributes)
    }

    #[test]
    fn an_alert_decodes_in_both_byte_orders() {
        let alert = decode(&BIG_ENDIAN_ALERT, ByteOrder::Big);
        assert_eq!(alert.skipped, 1);
        let record = alert.record(Some(Timestamp(1)), None, None, None);
        assert_eq!(record.time, Some(Timestamp(12345)));
        assert_eq!(record.original_len, 70000);
        assert_eq!(record.protocol, Some(EtherType::IPV4));
        assert_eq!(record.data, [0x45, 0, 0]);
        assert_eq!(record.input, Some(Interface::new(5, None)));
        let Cause::Software { location, reason } = record.cause else {
            panic!("software")
        };
        assert_eq!(location.pc, Some(0xffff_ffff_b3d4_20b5));
        assert_eq!(location.symbol, None);
        assert_eq!(reason, Name::new(b"NO_XY"));
    }

    #[test]
    fn an_encoded_record_decodes_to_itself() {
        let name = |text: &'static [u8]| Name::new(text);
        let frame = [&[2; 12][..], &[0x88, 0xcc], &[0; 20]].concat();
        let software = DropRecord {
            time: Some(Timestamp(1_700_000_000_123_456_789)),
            cause: Cause::Software {
                location: Location {
                    pc: Some(7),
                    symbol: name(b"ip_rcv+0x1/0x2").map(Symbol),
                    source_line: None,
                },
                reason: name(b"NO_SOCKET"),
            },
            input: Some(Interface::new(3, None)),
            protocol: Some(EtherType(0x88cc)),
            original_len: 1500,
            ..DropRecord::new(
                crate::record::Link::known(crate::record::LinkType::ETHERNET),
                &frame,
            )
        };
        let hardware = DropRecord {
            cause: Cause::Hardware {
                group: name(b"l3_drops"),
                trap: name(b"blackhole_route"),
                cookie: Some(&[0xde, 0xad]),
            },
            input: Some(Interface::new(3, name(b"eth0"))),
            ..software
        };
        for record in [software, hardware] {
            let mut buffer = Vec::new();
            assert!(encode(&record, 0x24, &mut buffer));
            let alert = decode(&buffer, ByteOrder::NATIVE);
            assert!(alert.is_certain());
            assert_eq!(alert.record(Some(Timestamp(0)), None, None, None), record);
        }
    }

    #[test]
    fn a_long_symbol_is_cut_as_the_kernel_cuts_it() {
        let mut alert = decode(&BIG_ENDIAN_ALERT, ByteOrder::Big);
        let long = b"__netif_receive_skb_core.constprop.0+0x14/0xdf0";
        alert.location.symbol = Name::new(long).map(Symbol);
        let mut buffer = Vec::new();
        assert!(encode(
            &alert.record(Some(Timestamp(0)), None, None, None),
            0x24,
            &mut buffer
        ));
        let symbol = decode(&buffer, ByteOrder::NATIVE).location.symbol.unwrap();
        assert_eq!(
            symbol.0.as_bytes(),
            b"__netif_receive_skb_core.constprop.0+0x"
        );
    }

    #[test]
    fn the_first_of_repeated_attributes_counts_even_where_it_is_damaged() {
        let mut buffer = Vec::new();
        let mut message = MessageBuilder::new(&mut buffer, 0x24, cmd::PACKET_ALERT, FAMILY_VERSION);
        message
            .attribute(attr::PAYLOAD, &[1])
            .attribute(attr::ORIG_LEN, &[0; 3])
            .attribute(attr::PAD, &[])
            .attribute(attr::PAD, &[])
            .attribute(attr::PAYLOAD, &[2, 3])
            .attribute(attr::ORIG_LEN, &70000_u32.to_ne_bytes())
            .nest(attr::IN_PORT, |nest| {
                nest.attribute(attr::in_port::NETDEV_IFINDEX, &5_u32.to_ne_bytes())
                    .attribute(attr::in_port::NETDEV_IFINDEX, &6_u32.to_ne_bytes());
            });
        message.finish();
        let alert = decode(&buffer, ByteOrder::NATIVE);
        assert_eq!((alert.payload, alert.original_len), (&[1][..], None));
        assert_eq!(alert.input, Some(Interface::new(5, None)));
        assert_eq!(alert.skipped, 4);
    }

    #[test]
    fn kernels_send_the_usual_order() {
        const FILE_HEADER: usize = 24;
        const PACKET_AND_COOKED_HEADER: usize = 16 + 16;
        for path in [
            "fixtures/software-6.1.pcap",
            "fixtures/software-6.12.pcap",
            "fixtures/hardware-6.12.pcap",
        ] {
            let file = std::fs::read(path).unwrap();
            let (mut rest, mut alerts) = (&file[FILE_HEADER..], 0);
            while !rest.is_empty() {
                let len = ByteOrder::Little.u32(&rest[8..12]).unwrap() as usize;
                let (packet, others) = rest.split_at(16 + len);
                rest = others;
                let message = &packet[PACKET_AND_COOKED_HEADER..];
                let message = Messages::new(message, ByteOrder::Little).next().unwrap();
                let generic = message.generic(ByteOrder::Little).unwrap();
                if message.kind == GENL_ID_CTRL {
                    continue;
                }
                alerts += 1;
                let usual = Alert::in_usual_order(generic.attributes);
                assert_eq!(
                    usual,
                    Some(Alert::in_any_order(generic.attributes)),
                    "{path}"
                );
            }
            assert!(alerts > 10, "{path}: {alerts}");
        }
    }

    /// Attributes mostly in the usual order, mostly of the right size.
    fn nearly_usual() -> impl Strategy<Value = Vec<u8>> {
        let sizes = [
            (attr::ORIGIN, 2),
            (attr::PC, 8),
            (attr::REASON, 5),
            (attr::SYMBOL, 7),
            (attr::HW_TRAP_GROUP_NAME, 3),
            (attr::HW_TRAP_NAME, 4),
            (attr::IN_PORT, 8),
            (attr::FLOW_ACTION_COOKIE, 6),
            (attr::TIMESTAMP, 8),
            (attr::ORIG_LEN, 4),
            (attr::PROTO, 2),
            (attr::PAYLOAD, 9),
        ];
        let value = |size| {
            let byte = prop_oneof![Just(0), Just(1), any::<u8>()];
            let nest = Just(vec![8, 0, 0, 0, 7, 0, 0, 0]);
            let len = prop_oneof![9 => Just(size), 1 => 0..10_usize];
            let bytes = len.prop_flat_map(move |len| proptest::collection::vec(byte.clone(), len));
            prop_oneof![bytes, nest]
        };
        let attributes: Vec<_> = sizes
            .into_iter()
            .map(|(kind, size)| proptest::option::weighted(0.8, (Just(kind), value(size))))
            .collect();
        let swap = proptest::option::weighted(0.2, (0..12_usize, 0..12_usize));
        (attributes, swap, 0..6_usize).prop_map(|(mut attributes, swap, cut)| {
            if let Some((one, other)) = swap {
                attributes.swap(one, other);
            }
            let mut bytes = Vec::new();
            for (kind, value) in attributes.into_iter().flatten() {
                let len = u16::try_from(value.len()).unwrap() + 4;
                bytes.extend(len.to_le_bytes());
                bytes.extend(kind.to_le_bytes());
                bytes.extend(&value);
                bytes.resize(bytes.len().next_multiple_of(4), 0);
            }
            bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(2)));
            bytes
        })
    }

    #[test]
    fn an_original_length_below_the_payload_is_mended() {
        let mut alert = decode(&BIG_ENDIAN_ALERT, ByteOrder::Big);
        alert.original_len = Some(1);
        assert_eq!(
            alert
                .record(Some(Timestamp(0)), None, None, None)
                .original_len,
            3
        );
    }

    proptest! {
        #[test]
        fn the_usual_order_is_no_other_reading(bytes in nearly_usual()) {
            let attributes = Attributes::native(&bytes).in_order(ByteOrder::Little);
            let any = Alert::in_any_order(attributes);
            prop_assert_eq!(Alert::decode(attributes), any.with_content(ByteOrder::Little));
            if let Some(usual) = Alert::in_usual_order(attributes) {
                prop_assert_eq!(usual, any);
            }
        }

        #[test]
        fn no_attributes_panic_the_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..300), start in 0..80usize) {
            // Half random, half a real alert with random bytes in it, which reaches deeper.
            let mut alert = BIG_ENDIAN_ALERT.to_vec();
            let end = alert.len().min(start + bytes.len());
            alert[start..end].copy_from_slice(&bytes[..end - start]);
            for bytes in [&bytes, &alert] {
                for message in Messages::new(bytes, ByteOrder::Big) {
                    if let Some(generic) = message.generic(ByteOrder::Big) {
                        let alert = Alert::decode(generic.attributes);
                        if let Some(usual) = Alert::in_usual_order(generic.attributes) {
                            prop_assert_eq!(usual.with_content(ByteOrder::Big), alert);
                        }
                        let record = alert.record(Some(Timestamp(0)), None, None, None);
                        prop_assert!(record.original_len as usize >= record.data.len());
                        let _ = crate::net_dm::summary::SummaryAlert::decode(&generic);
                    }
                }
            }
        }
    }
}
