//! Queueing disciplines.

use netlink_packet_core::{DefaultNla, Nla};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcHandle, TcMessage, TcOption, TcQdiscFqCodelOption, TcStats2,
};
use serde::{Deserialize, Serialize};

use super::{Question, Unseen, rtnetlink};

/// The queueing disciplines of all devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueDisciplines;

/// A queueing discipline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueDiscipline {
    /// The ifindex of its device.
    pub index: u32,
    /// Its kind: `tbf`, `fq_codel`, …
    pub kind: String,
    /// The upper half of its handle; 0 for one that the kernel made.
    pub major: u16,
    /// The handle of the class that it belongs to; `None` for the root.
    pub parent: Option<(u16, u16)>,
    /// Packets that it dropped.
    pub drops: u32,
    /// Packets that wait in it.
    pub waiting: u32,
    /// The most that may wait, where that is known: in bytes for `tbf` and `bfifo`, otherwise in packets.
    pub limit: Option<u32>,
    /// The share of packets that it loses at random (`netem`); `u32::MAX` for all.
    pub loss: Option<u32>,
}

impl Question for QueueDisciplines {
    const NAME: &'static str = "queueing disciplines";
    type Answer = Vec<QueueDiscipline>;

    fn look(&self) -> Result<Vec<QueueDiscipline>, Unseen> {
        let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
        let answers = rtnetlink::dump(request)?;
        let found = answers.iter().filter_map(|answer| match answer {
            RouteNetlinkMessage::NewQueueDiscipline(message) => discipline(message),
            _ => None,
        });
        Ok(found.collect())
    }
}

fn discipline(message: &TcMessage) -> Option<QueueDiscipline> {
    let header = &message.header;
    let parent = header.parent;
    let mut found = QueueDiscipline {
        index: u32::try_from(header.index).ok()?,
        major: header.handle.major,
        parent: (parent != TcHandle::ROOT).then_some((parent.major, parent.minor)),
        ..QueueDiscipline::default()
    };
    for attribute in &message.attributes {
        match attribute {
            TcAttribute::Kind(kind) => found.kind.clone_from(kind),
            TcAttribute::Stats2(all) => {
                for stats in all {
                    if let TcStats2::Queue(queue) = stats {
                        (found.drops, found.waiting) = (queue.drops, queue.qlen);
                    }
                }
            }
            _ => {}
        }
    }
    for attribute in &message.attributes {
        if let TcAttribute::Options(options) = attribute {
            options.iter().for_each(|option| take(&mut found, option));
        }
    }
    Some(found)
}

/// Takes what is of interest of a kind's own options.
fn take(found: &mut QueueDiscipline, option: &TcOption) {
    match option {
        TcOption::FqCodel(TcQdiscFqCodelOption::Limit(limit)) => found.limit = Some(*limit),
        TcOption::Other(option) => {
            let bytes = value(option);
            match found.kind.as_str() {
                // struct tc_fifo_qopt
                "pfifo" | "bfifo" => found.limit = number(&bytes, 0),
                // struct tc_netem_qopt: latency, limit, loss.
                "netem" => {
                    found.limit = number(&bytes, 4);
                    found.loss = number(&bytes, 8);
                }
                // A nest, of which struct tc_tbf_qopt is the first part: two rates, the limit.
                "tbf" => found.limit = number(&bytes, 4 + 2 * 12),
                _ => {}
            }
        }
        _ => {}
    }
}

fn value(option: &DefaultNla) -> Vec<u8> {
    let mut bytes = vec![0; option.value_len()];
    option.emit_value(&mut bytes);
    bytes
}

/// Returns the number at an offset, in the byte order of this machine.
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, options: &[u32]) -> QueueDiscipline {
        let options = options.iter().flat_map(|number| number.to_ne_bytes());
        let mut message = TcMessage::default();
        message.header.handle = TcHandle { major: 5, minor: 0 };
        message.header.parent = TcHandle::ROOT;
        message.attributes = vec![
            TcAttribute::Kind(kind.into()),
            TcAttribute::Options(vec![TcOption::Other(DefaultNla::new(2, options.collect()))]),
        ];
        discipline(&message).unwrap()
    }

    #[test]
    fn limits_are_found_where_each_kind_has_them() {
        assert_eq!(of("pfifo", &[7]).limit, Some(7));
        let netem = of("netem", &[1, 2, u32::MAX, 0]);
        assert_eq!((netem.limit, netem.loss), (Some(2), Some(u32::MAX)));
        assert_eq!(of("tbf", &[0, 1, 2, 3, 4, 5, 6, 3000, 8]).limit, Some(3000));
        assert_eq!((netem.major, netem.parent), (5, None));
        for kind in ["pfifo", "netem", "tbf", "other", ""] {
            assert_eq!(of(kind, &[]).limit, None);
        }
    }
}
