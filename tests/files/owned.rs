//! Any record: one that owns what it is made of, and strategies for its parts.

use dwdump::packet;
use dwdump::record::{
    Basis, CaptureHost, Cause, DropRecord, EtherType, Interface, Link, LinkType, Location, Name,
    PacketFlags, Symbol, Timestamp,
};
use dwdump::untrusted::Untrusted;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A record that owns what it is made of.
#[derive(Clone, Debug)]
pub struct Owned {
    pub time: Option<u64>,
    pub cause: OwnedCause,
    pub input: Option<(u32, Option<Vec<u8>>)>,
    pub link: u16,
    pub is_assumed: bool,
    pub protocol: Option<u16>,
    pub missing: u32,
    pub data: Vec<u8>,
    pub notes: Vec<String>,
    pub flags: u32,
}

#[derive(Clone, Debug)]
pub enum OwnedCause {
    Software(Option<u64>, Option<Vec<u8>>, Option<Vec<u8>>),
    Hardware(Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>),
    Unknown,
}

impl Owned {
    /// The record, as a source would have made it.
    pub fn with<T>(&self, use_it: impl FnOnce(&DropRecord<'_>) -> T) -> T {
        fn name(bytes: Option<&Vec<u8>>) -> Option<Name<'_>> {
            Name::new(bytes?)
        }
        let cause = match &self.cause {
            OwnedCause::Software(pc, symbol, reason) => Cause::Software {
                location: Location::new(*pc, name(symbol.as_ref()).map(Symbol)),
                reason: name(reason.as_ref()),
            },
            OwnedCause::Hardware(group, trap, cookie) => Cause::Hardware {
                group: name(group.as_ref()),
                trap: name(trap.as_ref()),
                cookie: cookie.as_deref(),
            },
            OwnedCause::Unknown => Cause::Unknown,
        };
        let input = self.input.as_ref();
        let input = input.map(|(index, text)| Interface::new(*index, name(text.as_ref())));
        // Only what says something of itself can be assumed: a packet of no drop and no interface
        // is of a plain file, whose link type is known.
        let is_plain = cause == Cause::Unknown && input.is_none();
        let link = Link {
            kind: LinkType(self.link),
            basis: if self.is_assumed && !is_plain {
                Basis::Assumed
            } else {
                Basis::Known
            },
        };
        let captured = u32::try_from(self.data.len()).unwrap();
        let notes: Vec<_> = self
            .notes
            .iter()
            .map(|note| Untrusted::new(note.as_str()))
            .collect();
        let mut record = DropRecord::new(link, &self.data);
        record.time = self.time.map(Timestamp);
        record.cause = cause;
        record.input = input;
        // Where the kernel says nothing, the bytes do: DropRecord::protocol.
        record.protocol = self
            .protocol
            .map(EtherType)
            .or_else(|| packet::protocol(link.kind, &self.data));
        record.original_len = captured.saturating_add(self.missing);
        record.notes = &notes;
        // The direction of a drop is that of its input.
        record.flags = match &self.cause {
            OwnedCause::Unknown => PacketFlags(self.flags),
            _ => PacketFlags(self.flags).with_direction(None),
        };
        use_it(&record)
    }
}

pub fn any_name() -> impl Strategy<Value = Vec<u8>> {
    let odd = [
        "local",
        "dwdump",
        "if5",
        "if0",
        "if",
        " ",
        ": ",
        "\\x41",
        "\\",
        "a, software",
        "\x1b[2J",
        "a+0x1/0x2 [b]",
        "grün",
        "\u{202e}",
        "e\u{301}",
        "\u{301}",
        "\u{feff}",
        "\u{10ffff}",
    ];
    prop_oneof![
        3 => "[A-Za-z_]{1,20}".prop_map(String::into_bytes),
        2 => select(odd.map(|text| text.as_bytes().to_vec()).to_vec()),
        2 => vec(any::<u8>(), 0..40),
        1 => any::<String>().prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1000..1100),
    ]
}

pub fn any_cause() -> impl Strategy<Value = OwnedCause> {
    let name = || proptest::option::of(any_name());
    prop_oneof![
        4 => (any::<Option<u64>>(), name(), name())
            .prop_map(|(pc, symbol, reason)| OwnedCause::Software(pc, symbol, reason)),
        // A cookie is never empty: the decoder takes an empty one for none.
        4 => (name(), name(), proptest::option::of(vec(any::<u8>(), 1..40)))
            .prop_map(|(group, trap, cookie)| OwnedCause::Hardware(group, trap, cookie)),
        1 => Just(OwnedCause::Unknown),
    ]
}

/// Comments of others: what begins like one of ours would be read as one.
pub fn any_note() -> impl Strategy<Value = String> {
    let ours = ["reason", "location", "pc", "trap", "cookie", "protocol"];
    prop_oneof![
        any::<String>(),
        Just(String::new()),
        Just("todo: ask".into())
    ]
    .prop_filter("not ours", move |note| {
        !ours.iter().any(|key| note.starts_with(key))
    })
}

pub fn any_record() -> impl Strategy<Value = Owned> {
    let link = prop_oneof![
        select(vec![1, 101, 105, 127, 276]),
        // Those hold messages; these are read as what they mean, which is 101.
        any::<u16>().prop_filter("read as it is", |link| ![253, 12, 14].contains(link)),
    ];
    let place = (
        any_cause(),
        proptest::option::of((
            prop_oneof![0_u32..20, any::<u32>()],
            proptest::option::of(any_name()),
        )),
        link,
        any::<bool>(),
    );
    let packet = (
        prop_oneof![
            4 => any::<u64>().prop_map(Some),
            1 => select(vec![None, Some(0), Some(u64::MAX)]),
        ],
        proptest::option::of(prop_oneof![
            any::<u16>(),
            select(vec![0x0800, 4, 1, 0x86dd])
        ]),
        prop_oneof![Just(0), any::<u32>()],
        vec(any::<u8>(), 0..100),
        vec(any_note(), 0..3),
        prop_oneof![Just(0), any::<u32>()],
    );
    (place, packet).prop_map(
        |((cause, input, link, is_assumed), (time, protocol, missing, data, notes, flags))| Owned {
            time,
            cause,
            input,
            link,
            is_assumed,
            protocol,
            missing,
            data,
            notes,
            flags,
        },
    )
}

pub fn any_host() -> impl Strategy<Value = CaptureHost> {
    let text = || proptest::option::of(any::<String>());
    (text(), text()).prop_map(|(hardware, os)| {
        let mut host = CaptureHost::default();
        host.hardware = hardware.map(Untrusted::new);
        host.os = os.map(Untrusted::new);
        host
    })
}
