//! Filters of traffic control on a device, and the programs at tcx, which come before them.

use netlink_packet_core::{DefaultNla, Nla, NlaBuffer, NlasIterator, Parseable};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAction, TcActionAttribute, TcAttribute, TcBpfFlags, TcFilterBpfOption, TcFilterFlowerOption,
    TcFilterMatchAllOption, TcFilterU32Option, TcHandle, TcMessage, TcOption, TcStats2,
    TcU32Selector,
};
use nix::net::if_::if_nametoindex;
use serde::{Deserialize, Serialize};

use super::bpf::AttachedProgram;
use super::{Question, Unseen, rtnetlink};
use crate::sys::bpf::attached::{TcxHook, tcx_programs};

/// The place of filters at a device: where packets come in, or where they go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilterHook {
    /// `ingress`
    Ingress,
    /// `egress`
    Egress,
}

impl FilterHook {
    /// Returns the word of tc(8) for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// The filters of a device, which is named, in the order in which they are asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficFilters(pub String, pub FilterHook);

/// The programs at tcx of a device, which is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcxPrograms(pub String, pub FilterHook);

/// A filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficFilter {
    /// Its kind: `u32`, `flower`, `bpf`, …
    pub kind: String,
    /// Its preference: the lowest comes first.
    pub preference: u16,
    /// The protocol of the packets that it is for (`ETH_P_ALL` for all).
    pub protocol: u16,
    /// The chain that it belongs to.
    pub chain: u32,
    /// Its handle.
    pub handle: u32,
    /// The number and the name of its eBPF program.
    pub program: Option<AttachedProgram>,
    /// The instructions of its classic BPF program: code, jump if true, jump if false, operand.
    pub code: Vec<(u16, u8, u8, u32)>,
    /// The value of its program is what is done with the packet.
    pub is_direct: bool,
    /// The kinds of its actions.
    pub actions: Vec<String>,
    /// The packets that its actions dropped; `None` where nothing counts them.
    pub drops: Option<u32>,
    /// The words of the packet that it compares, where that is all it does (`u32`).
    pub words: Option<Vec<ComparedWord>>,
}

/// A word of a packet that a filter compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComparedWord {
    /// Its offset from the network header.
    pub offset: i32,
    /// The bits that are compared.
    pub mask: u32,
    /// Their value.
    pub value: u32,
}

impl Question for TrafficFilters {
    const NAME: &'static str = "traffic filters";
    type Answer = Vec<TrafficFilter>;

    fn look(&self) -> Result<Vec<TrafficFilter>, Unseen> {
        let index = if_nametoindex(self.0.as_str()).map_err(std::io::Error::from)?;
        let index = i32::try_from(index).map_err(std::io::Error::other)?;
        let mut message = TcMessage::with_index(index);
        // TC_H_CLSACT with TC_H_MIN_INGRESS or TC_H_MIN_EGRESS (linux/pkt_sched.h)
        message.header.parent = TcHandle {
            major: 0xffff,
            minor: match self.1 {
                FilterHook::Ingress => 0xfff2,
                FilterHook::Egress => 0xfff3,
            },
        };
        let answers = rtnetlink::dump(RouteNetlinkMessage::GetTrafficFilter(message))?;
        let filters = answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewTrafficFilter(message) => filter(message),
            _ => None,
        });
        Ok(filters.collect())
    }
}

impl Question for TcxPrograms {
    const NAME: &'static str = "tcx programs";
    type Answer = Vec<AttachedProgram>;

    fn look(&self) -> Result<Vec<AttachedProgram>, Unseen> {
        let index = if_nametoindex(self.0.as_str()).map_err(std::io::Error::from)?;
        let hook = match self.1 {
            FilterHook::Ingress => TcxHook::Ingress,
            FilterHook::Egress => TcxHook::Egress,
        };
        match tcx_programs(index, hook) {
            Ok(programs) => {
                let program = |id| AttachedProgram::of(id, None);
                Ok(programs.into_iter().map(program).collect())
            }
            // Before Linux 6.6 there is none.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns a filter; `None` for the tables that `u32` keeps its filters in.
fn filter(message: &TcMessage) -> Option<TrafficFilter> {
    let header = &message.header;
    let mut found = TrafficFilter {
        // The upper half is the preference, the lower one the protocol, in network byte order.
        preference: u16::try_from(header.info >> 16).ok()?,
        protocol: u16::from_be(u16::try_from(header.info & 0xffff).ok()?),
        handle: u32::from(header.handle.major) << 16 | u32::from(header.handle.minor),
        ..TrafficFilter::default()
    };
    let mut has_options = false;
    for attribute in &message.attributes {
        match attribute {
            TcAttribute::Kind(kind) => found.kind.clone_from(kind),
            TcAttribute::Chain(chain) => found.chain = *chain,
            TcAttribute::Options(options) => {
                has_options = true;
                for option in options {
                    found.take(option)?;
                }
            }
            _ => {}
        }
    }
    has_options.then_some(found)
}

impl TrafficFilter {
    /// Takes an option; `None` where this is no filter.
    fn take(&mut self, option: &TcOption) -> Option<()> {
        match option {
            TcOption::U32(TcFilterU32Option::Divisor(_)) => return None,
            TcOption::U32(TcFilterU32Option::Selector(selector)) => self.words = words(selector),
            // It goes on in another table, or looks at more than words.
            TcOption::U32(
                TcFilterU32Option::Link(_)
                | TcFilterU32Option::Indev(_)
                | TcFilterU32Option::Mark(_)
                | TcFilterU32Option::Police(_),
            ) => self.words = None,
            TcOption::U32(TcFilterU32Option::Action(actions))
            | TcOption::MatchAll(TcFilterMatchAllOption::Action(actions))
            | TcOption::Flower(TcFilterFlowerOption::Actions(actions)) => {
                self.take_actions(actions);
            }
            TcOption::Bpf(option) => self.take_bpf(option),
            _ => {}
        }
        Some(())
    }

    fn take_bpf(&mut self, option: &TcFilterBpfOption) {
        match option {
            TcFilterBpfOption::ProgId(id) => self.program = Some(AttachedProgram::of(*id, None)),
            TcFilterBpfOption::Flags(flags) => {
                self.is_direct = flags.contains(TcBpfFlags::DirectAction);
            }
            TcFilterBpfOption::Other(other) => match other.kind() {
                TCA_BPF_ACT => {
                    let bytes = value(other);
                    let actions = NlasIterator::new(&bytes[..]).filter_map(|nla| {
                        let nla: NlaBuffer<&[u8]> = nla.ok()?;
                        TcAction::parse(&nla).ok()
                    });
                    self.take_actions(&actions.collect::<Vec<_>>());
                }
                TCA_BPF_OPS => self.code = instructions(&value(other)),
                _ => {}
            },
            _ => {}
        }
    }

    fn take_actions(&mut self, actions: &[TcAction]) {
        for action in actions {
            let mut drops = None;
            for attribute in &action.attributes {
                match attribute {
                    TcActionAttribute::Kind(kind) => self.actions.push(kind.clone()),
                    TcActionAttribute::Stats(stats) => {
                        drops = stats.iter().find_map(|stats| match stats {
                            TcStats2::Queue(queue) => Some(queue.drops),
                            _ => None,
                        });
                    }
                    _ => {}
                }
            }
            self.drops = match (self.drops, drops) {
                (None, drops) => drops,
                (Some(before), Some(drops)) => Some(before.saturating_add(drops)),
                (before, None) => before,
            };
        }
    }
}

/// `TCA_BPF_ACT`, `TCA_BPF_OPS` (linux/pkt_cls.h)
const TCA_BPF_ACT: u16 = 1;
const TCA_BPF_OPS: u16 = 5;

fn value(nla: &DefaultNla) -> Vec<u8> {
    let mut bytes = vec![0; nla.value_len()];
    nla.emit_value(&mut bytes);
    bytes
}

/// Returns the instructions of a classic BPF program (`struct sock_filter`).
fn instructions(bytes: &[u8]) -> Vec<(u16, u8, u8, u32)> {
    let (instructions, _) = bytes.as_chunks::<8>();
    let instruction = |&[a, b, yes, no, c, d, e, f]: &[u8; 8]| {
        let operand = u32::from_ne_bytes([c, d, e, f]);
        (u16::from_ne_bytes([a, b]), yes, no, operand)
    };
    instructions.iter().map(instruction).collect()
}

/// Returns the words that a `u32` filter compares, unless it computes where they are.
fn words(selector: &TcU32Selector) -> Option<Vec<ComparedWord>> {
    let keys = selector.keys.iter();
    let word = |key: &netlink_packet_route::tc::TcU32Key| {
        (key.offmask == 0).then_some(ComparedWord {
            offset: key.off,
            mask: key.mask,
            value: key.val,
        })
    };
    keys.map(word).collect()
}
