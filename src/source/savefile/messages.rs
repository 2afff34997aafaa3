//! Decodes the netlink messages in a packet: NET_DM's packet alerts and summary alerts, and the
//! controller's messages, which name NET_DM's number.

use std::ops::ControlFlow;

use super::families::{Families, Standing};
use super::{Findings, Packet};
use crate::net_dm::alert::Alert;
use crate::net_dm::netlink::{
    Attributes, ByteOrder, GENL_ID_CTRL, Generic, MESSAGE_HEADER_LEN, Messages,
};
use crate::net_dm::summary::SummaryAlert;
use crate::net_dm::{FAMILY_VERSION, cmd, family};
use crate::packet::{ArpHardware, SLL_LEN, SLL2_LEN, be16};
use crate::record::LinkType;
use crate::source::alerts::{AlertTranslator, Supplement};
use crate::source::{Event, NotPackets};

/// The netlink messages of a packet, after its cooked header.
#[derive(Clone, Copy)]
pub struct Datagram<'a> {
    bytes: &'a [u8],
    order: ByteOrder,
    /// Bytes are missing at the end.
    is_cut: bool,
}

/// Returns whether a packet holds netlink messages: those of LINKTYPE_NETLINK do, and, in other
/// cooked captures, those of nlmon.
#[inline]
pub fn are_in(packet: &Packet<'_>) -> bool {
    let hardware = match packet.link {
        LinkType::NETLINK => return true,
        LinkType::LINUX_SLL => be16(packet.data, 2),
        LinkType::LINUX_SLL2 => be16(packet.data, 8),
        _ => return false,
    };
    hardware == Some(ArpHardware::NETLINK.0)
}

impl<'a> Datagram<'a> {
    /// Returns the messages after the cooked header if they are generic netlink's. Their byte order
    /// is the file's, unless only the other one gives the first message a possible length.
    pub fn of(packet: &Packet<'a>) -> Option<Self> {
        const GENERIC: u16 = 16;
        // The header of LINKTYPE_NETLINK is that of LINKTYPE_LINUX_SLL, with the netlink family as
        // the protocol.
        let (family_at, header_len) = match packet.link {
            LinkType::LINUX_SLL2 => (0, SLL2_LEN),
            _ => (14, SLL_LEN),
        };
        if be16(packet.data, family_at)? != GENERIC {
            return None;
        }
        let bytes = packet.data.get(header_len..)?;
        let order = packet.order;
        let is_first_readable = |order| match first_len(bytes, order) {
            Some(len) => (MESSAGE_HEADER_LEN..=packet.original_len as usize).contains(&len),
            None => false,
        };
        let order = if is_first_readable(order) || !is_first_readable(order.swapped()) {
            order
        } else {
            order.swapped()
        };
        Some(Self {
            bytes,
            order,
            is_cut: packet.data.len() < packet.original_len as usize,
        })
    }

    /// Returns the number of NET_DM if a message here announces it.
    pub fn family(self) -> Option<u16> {
        let messages = Messages::new(self.bytes, self.order);
        let answers = messages.filter(|message| message.kind == GENL_ID_CTRL);
        let ids = answers.filter_map(|message| family::read_id(&message.generic(self.order)?));
        ids.last()
    }

    /// Passes on all events in the messages.
    pub fn deliver<B>(
        self,
        packet: &Packet<'_>,
        not_packets: NotPackets,
        families: &mut Families,
        findings: &mut Findings,
        take: &mut impl FnMut(Event<'_, '_>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let context = Context {
            packet,
            not_packets,
            families,
            findings,
            take,
        };
        // With a constant byte order, no number is tested for it: 9 instructions fewer of 1085 a packet.
        match self.order {
            ByteOrder::NATIVE => Datagram {
                order: ByteOrder::NATIVE,
                ..self
            }
            .deliver_messages(context),
            _ => self.deliver_messages(context),
        }
    }

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the byte order is known where it is called"
    )]
    fn deliver_messages<B>(
        self,
        mut context: Context<'_, impl FnMut(Event<'_, '_>) -> ControlFlow<B>>,
    ) -> ControlFlow<B> {
        let mut messages = Messages::new(self.bytes, self.order);
        let mut previous = None;
        for message in messages.by_ref() {
            previous = Some(message.kind);
            if let Some(generic) = message.generic(self.order) {
                context.message(message.kind, &generic)?;
            }
        }
        if messages.rest().is_empty() {
            // Truncated directly after the cooked header, so that the lost content is unknown.
            let is_lost = self.is_cut && self.bytes.is_empty();
            context.findings.left_out.damaged_messages += u64::from(is_lost);
            return ControlFlow::Continue(());
        }
        self.deliver_rest(messages.rest(), previous, &mut context)
    }

    /// Passes on the events in the last message if it is damaged, or truncated like the packet.
    #[cold]
    fn deliver_rest<B>(
        self,
        rest: &[u8],
        previous: Option<u16>,
        context: &mut Context<'_, impl FnMut(Event<'_, '_>) -> ControlFlow<B>>,
    ) -> ControlFlow<B> {
        const COMMAND_AT: usize = MESSAGE_HEADER_LEN;
        let kind = rest.get(4..6).and_then(|bytes| self.order.u16(bytes));
        // A message that continues a list of families belongs to it: a datagram holds one answer.
        let is_drop = match kind.or(previous) {
            Some(kind) if kind <= GENL_ID_CTRL => false,
            Some(kind) => {
                let standing = context.families.standing(context.packet.interface, kind);
                let is_alert = |command: &u8| matches!(*command, cmd::ALERT | cmd::PACKET_ALERT);
                let version = rest.get(COMMAND_AT + 1);
                (standing != Standing::Unannounced
                    || version.is_none_or(|version| *version == FAMILY_VERSION))
                    && rest.get(COMMAND_AT).is_none_or(is_alert)
            }
            None => true,
        };
        if !is_drop {
            return ControlFlow::Continue(());
        }
        let len = first_len(rest, self.order);
        let header = rest.get(COMMAND_AT..COMMAND_AT + 4);
        if self.is_cut
            && len.is_some_and(|len| len > rest.len())
            && let Some(&[cmd::PACKET_ALERT, FAMILY_VERSION, _, _]) = header
        {
            let attributes = Attributes::native(&rest[COMMAND_AT + 4..]).in_order(self.order);
            let (alert, has_all_facts) = Alert::decode_cut(attributes);
            let is_announced = kind.is_some_and(|kind| {
                let interface = context.packet.interface;
                context.families.standing(interface, kind) == Standing::Announced
            });
            if let Some(kind) = kind
                && (alert.is_likely() || is_announced && alert.has_place())
            {
                context.findings.left_out.damaged_messages += u64::from(!has_all_facts);
                return context.alert(kind, &alert);
            }
        }
        context.findings.left_out.damaged_messages += 1;
        ControlFlow::Continue(())
    }
}

/// Returns the length in the first message's header.
fn first_len(bytes: &[u8], order: ByteOrder) -> Option<usize> {
    Some(order.u32(bytes.get(..4)?)? as usize)
}

/// The context in which the messages of a packet are decoded.
struct Context<'c, T> {
    packet: &'c Packet<'c>,
    not_packets: NotPackets,
    families: &'c mut Families,
    findings: &'c mut Findings,
    take: &'c mut T,
}

impl<B, T: FnMut(Event<'_, '_>) -> ControlFlow<B>> Context<'_, T> {
    #[inline]
    fn message(&mut self, kind: u16, generic: &Generic<'_>) -> ControlFlow<B> {
        if kind == GENL_ID_CTRL {
            if let Some(id) = family::read_id(generic) {
                self.families.announce(self.packet.interface, id);
            }
            return ControlFlow::Continue(());
        }
        let is_alert = matches!(generic.command, cmd::PACKET_ALERT | cmd::ALERT);
        if kind < GENL_ID_CTRL || !is_alert {
            return ControlFlow::Continue(());
        }
        let standing = self.families.standing(self.packet.interface, kind);
        if standing != Standing::Announced && generic.version != FAMILY_VERSION {
            return ControlFlow::Continue(());
        }
        if generic.command == cmd::ALERT {
            return self.summary(generic, standing);
        }
        let alert = Alert::decode(generic.attributes);
        // A message that can be nothing else is an alert, whatever was announced.
        let is_ours = match standing {
            Standing::Announced => true,
            Standing::Shared => alert.is_likely(),
            Standing::Unannounced => alert.is_certain(),
        };
        if is_ours {
            return self.alert(kind, &alert);
        }
        self.findings.undecided_messages += u64::from(alert.is_likely());
        ControlFlow::Continue(())
    }

    /// Passes on an alert in a message of type `kind`.
    #[inline]
    fn alert(&mut self, kind: u16, alert: &Alert<'_>) -> ControlFlow<B> {
        translator(self.packet, self.not_packets, self.findings).packet(kind, alert, self.take)
    }

    fn summary(&mut self, message: &Generic<'_>, standing: Standing) -> ControlFlow<B> {
        let Some(summary) = SummaryAlert::decode(message) else {
            let is_damaged = standing == Standing::Announced;
            self.findings.left_out.damaged_messages += u64::from(is_damaged);
            return ControlFlow::Continue(());
        };
        self.findings.summary_drops += summary.drops;
        translator(self.packet, self.not_packets, self.findings).summary(&summary, self.take)
    }
}

/// Returns the translator for the alerts in a packet.
#[inline]
fn translator<'t>(
    packet: &Packet<'_>,
    not_packets: NotPackets,
    findings: &'t mut Findings,
) -> AlertTranslator<'t> {
    AlertTranslator {
        not_packets,
        supplement: Supplement::PacketTime(packet.time),
        left_out: &mut findings.left_out,
    }
}
