//! The interfaces of a pcapng section (section 4.2 of the draft), with the facts that their packets
//! need.

use super::options::Options;
use super::resolution::Resolution;
use super::{Findings, link_type};
use crate::interface::{InterfaceFacts, MONITOR_DESCRIPTION, MONITOR_NAME};
use crate::net_dm::netlink::ByteOrder;
use crate::record::{Basis, LinkType, MAX_NAME};

/// The most memory for the interfaces of a section, which have to be remembered: enough for some
/// hundred thousand. More are treated as damage.
const MAX_MEMORY: usize = 64 * 1024 * 1024;

/// Options of an Interface Description Block.
mod option {
    pub const NAME: u16 = 2;
    pub const DESCRIPTION: u16 = 3;
    pub const TIME_RESOLUTION: u16 = 9;
    pub const TIME_OFFSET: u16 = 14;
}

/// The interfaces, by their number.
#[derive(Default)]
pub struct Interfaces {
    described: Vec<Described>,
    /// The total length of their names.
    names: usize,
}

/// The facts of an interface description that are needed later.
#[derive(Clone, Debug)]
pub struct Described {
    pub link: LinkType,
    /// The most bytes that were captured of a packet; 0 means no limit.
    pub snaplen: u32,
    /// The facts in dwdump's own description, or the name that another program wrote.
    pub facts: Option<InterfaceFacts>,
    /// It is dwdump's interface 0, whose statistics hold the loss.
    pub is_monitor: bool,
    pub resolution: Resolution,
}

impl Interfaces {
    #[inline]
    pub fn get(&self, number: u32) -> Option<&Described> {
        self.described.get(number as usize)
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Adds the interface of a block. Returns `None` if there are too many.
    pub fn add(&mut self, body: &[u8], order: ByteOrder, findings: &mut Findings) -> Option<()> {
        let described = describe(body, order, findings);
        let name = described
            .facts
            .as_ref()
            .and_then(|facts| facts.input.as_ref());
        self.names += name.map_or(0, |(_, name)| name.capacity());
        // A growing vector may be twice as long as needed, and exists twice while it is copied.
        let memory = self.names + 3 * size_of::<Described>() * self.described.len();
        if memory > MAX_MEMORY {
            return None;
        }
        self.described.push(described);
        Some(())
    }
}

/// Parses a description. Every body gives an interface, because interfaces are numbered in order.
fn describe(body: &[u8], order: ByteOrder, findings: &mut Findings) -> Described {
    const FIXED_LEN: usize = 8;
    let (fixed, options) = body.split_at_checked(FIXED_LEN).unwrap_or_default();
    findings.skipped_options += u64::from(fixed.is_empty());
    let link = fixed.get(..2).and_then(|bytes| order.u16(bytes));
    let snaplen = fixed.get(4..).and_then(|bytes| order.u32(bytes));
    let (mut name, mut description) = (&[][..], String::new());
    let mut resolution = Resolution::default();
    let mut options = Options::new(options, order);
    for (code, value) in options.by_ref() {
        let understood = match code {
            option::NAME => {
                name = &value[..value.len().min(4 * MAX_NAME)];
                true
            }
            option::DESCRIPTION => {
                description = String::from_utf8_lossy(value).into_owned();
                true
            }
            option::TIME_RESOLUTION => match value {
                &[unit] => {
                    resolution.set_unit(unit);
                    true
                }
                _ => false,
            },
            option::TIME_OFFSET => order.u64(value).is_some_and(|seconds| {
                resolution.set_offset(seconds.cast_signed());
                true
            }),
            _ => true,
        };
        findings.skipped_options += u64::from(!understood);
    }
    findings.skipped_options += u64::from(options.are_cut());
    // Some programs include the NUL that ends a string in C.
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    let is_monitor = name == MONITOR_NAME.as_bytes() && description == MONITOR_DESCRIPTION;
    // Other programs' interfaces have a name, but no index.
    let named = || {
        (!name.is_empty() && !is_monitor).then(|| InterfaceFacts {
            input: Some((0.into(), name[..name.len().min(MAX_NAME)].to_vec())),
            netns: None,
            origin: None,
            basis: Basis::Known,
        })
    };
    let ours = InterfaceFacts::read(&String::from_utf8_lossy(name), &description);
    Described {
        // A number that no link type has.
        link: link.map_or(LinkType(u16::MAX), |link| link_type(u32::from(link))),
        snaplen: snaplen.unwrap_or(0),
        facts: ours.or_else(named),
        is_monitor,
        resolution,
    }
}
