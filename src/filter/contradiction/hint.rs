//! Suggests what was probably meant by parts that contradict each other.

use crate::filter::ast::{
    Arith, Comparison, DropWord, Family, LoadBase, Net, Operator, Primitive, Relation,
};
use crate::filter::layout::ether_type;
use crate::filter::predicate::{self, Predicate};
use crate::filter::relation;
use crate::record::Origin;

use super::{ExprPart, Shape};

/// A primitive in one of the parts that contradict each other.
struct PartPrimitive<'e> {
    primitive: &'e Primitive,
    wanted: bool,
    place: super::PlaceId,
    position: usize,
    /// The index of the part.
    part: usize,
}

fn find_leaves<'e>(part: &ExprPart<'e>, number: usize, leaves: &mut Vec<PartPrimitive<'e>>) {
    match &part.shape {
        &Shape::Primitive {
            primitive,
            wanted,
            place,
        } => leaves.push(PartPrimitive {
            primitive,
            wanted,
            place,
            position: part.primitives.start,
            part: number,
        }),
        // The packet inside a tunnel is independent of the packet around it.
        Shape::Inner { .. } => {}
        Shape::Group(_, parts) => {
            for part in parts {
                find_leaves(part, number, leaves);
            }
        }
    }
}

/// Returns a hint for parts that are never true together. `has_option` is set if `-i` is one of
/// them.
pub fn of_several(parts: &[&ExprPart<'_>], has_option: bool) -> Option<String> {
    let mut leaves = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        find_leaves(part, number, &mut leaves);
    }
    leaves.retain(|leaf| leaf.wanted);
    let has_inner = parts
        .iter()
        .any(|part| matches!(part.shape, Shape::Inner { wanted: true, .. }));
    if has_inner && !leaves.is_empty() {
        return Some(
            "words outside of `inner` apply to the outer packet: \
             GRE, IP in IP, UDP (VXLAN, Geneve), PPPoE or MPLS"
                .into(),
        );
    }
    over_the_other_ip(&leaves)
        .or_else(|| headers_between(&leaves))
        .or_else(|| of_both_origins(&leaves))
        .or_else(|| {
            let are_alternatives = parts.iter().all(|part| super::is_positive(part));
            (are_alternatives && !has_option && !has_inner)
                .then(|| "to keep drops of either kind, join them by `or`".into())
        })
}

/// Returns a hint if one part needs IPv4 and another IPv6, and one of them can be written for the
/// other family.
fn over_the_other_ip(leaves: &[PartPrimitive<'_>]) -> Option<String> {
    for six in leaves.iter().filter(|leaf| is_ipv6(leaf.primitive)) {
        for four in leaves.iter().filter(|leaf| is_ipv4(leaf.primitive)) {
            if four.part == six.part {
                continue;
            }
            if is_icmp6(six.primitive) {
                return Some("`icmp6` is ICMP over IPv6, `icmp` over IPv4".into());
            }
            if let Some(hint) = over_ipv6(four.primitive) {
                return Some(hint);
            }
        }
    }
    None
}

fn of_both_origins(leaves: &[PartPrimitive<'_>]) -> Option<String> {
    let is_any = |origin| leaves.iter().any(|leaf| is_of(leaf.primitive, origin));
    (is_any(Origin::Software) && is_any(Origin::Hardware)).then(|| {
        "drops by the kernel have `reason`, `location`, `module` and `pc`, \
         those by devices `trap` and `trap_group`"
            .into()
    })
}

/// Returns a hint for a part that is never true by itself.
pub fn of_one(part: &ExprPart<'_>) -> Option<String> {
    let Shape::Primitive {
        primitive: Primitive::Relation(relation),
        wanted: true,
        ..
    } = part.shape
    else {
        return None;
    };
    let Some(Predicate::Field {
        header,
        offset,
        width,
        mask,
        comparison: Comparison::Equal,
        value,
    }) = predicate::field(relation)
    else {
        return None;
    };
    let most = u32::MAX >> (32 - 8 * width as u32);
    if mask & most != most && value & !mask != 0 {
        let set = Relation {
            left: relation.left.clone(),
            comparison: Comparison::NotEqual,
            right: Arith::Number(0),
        };
        return Some(format!(
            "`& {mask}` keeps only the bits of {mask}: if any of them is set, `{set}` is true"
        ));
    }
    let plain = Arith::Load {
        header,
        offset: Box::new(Arith::Number(u32::try_from(offset).ok()?)),
        width,
    };
    (value > most).then(|| {
        format!(
            "`{plain}` is at most {most}; a number after a colon is the width in bytes, 1, 2 or 4"
        )
    })
}

fn is_ipv4(primitive: &Primitive) -> bool {
    match primitive {
        Primitive::EtherProto(kind) => *kind == ether_type::IPV4,
        Primitive::IpProto(family, _) | Primitive::ProtoChain(family, _) => *family == Family::Ip,
        Primitive::Address(_, _, net) | Primitive::TransportAddress(_, net) => {
            matches!(net, Net::V4 { .. })
        }
        Primitive::IpBroadcast | Primitive::IpMulticast => true,
        Primitive::Relation(relation) => has_header(relation, |header| {
            matches!(header, LoadBase::Ip | LoadBase::Transport(_))
        }),
        _ => false,
    }
}

fn is_ipv6(primitive: &Primitive) -> bool {
    match primitive {
        Primitive::EtherProto(kind) => *kind == ether_type::IPV6,
        Primitive::IpProto(family, _) | Primitive::ProtoChain(family, _) => *family == Family::Ip6,
        Primitive::Address(_, _, net) | Primitive::TransportAddress(_, net) => {
            matches!(net, Net::V6 { .. })
        }
        Primitive::Ip6Multicast => true,
        Primitive::Relation(relation) => has_header(relation, |header| {
            matches!(header, LoadBase::Ip6 | LoadBase::Icmp6)
        }),
        _ => false,
    }
}

fn is_icmp6(primitive: &Primitive) -> bool {
    match primitive {
        Primitive::IpProto(_, number) => *number == 58,
        Primitive::Relation(relation) => has_header(relation, |header| header == LoadBase::Icmp6),
        _ => false,
    }
}

fn has_header(relation: &Relation, is_it: impl Fn(LoadBase) -> bool) -> bool {
    let mut headers = Vec::new();
    relation::find_guards(&relation.left, &mut headers);
    relation::find_guards(&relation.right, &mut headers);
    headers.into_iter().any(is_it)
}

/// Returns how to write an IPv4 test for IPv6.
fn over_ipv6(primitive: &Primitive) -> Option<String> {
    match primitive {
        Primitive::IpProto(Family::Ip, 1) => Some(ICMP6.into()),
        Primitive::Relation(relation) => {
            let mut headers = Vec::new();
            relation::find_guards(&relation.left, &mut headers);
            relation::find_guards(&relation.right, &mut headers);
            let number = headers.into_iter().find_map(|header| match header {
                LoadBase::Transport(number) => Some(number),
                _ => None,
            })?;
            if number == 1 {
                return Some(ICMP6.into());
            }
            let name = LoadBase::Transport(number).name();
            let moved = Relation {
                left: over_ipv6_header(&relation.left),
                comparison: relation.comparison,
                right: over_ipv6_header(&relation.right),
            };
            Some(format!(
                "`{name}[…]` exists only over IPv4; over IPv6 without extension headers it is \
                 `ip6 proto {number} and {moved}`"
            ))
        }
        _ => None,
    }
}

const ICMP6: &str = "ICMP over IPv6 is `icmp6`, with types of its own";

/// The length of an IPv6 header (RFC 8200, 3).
const IPV6_LEN: u32 = 40;

/// Rewrites loads from an IPv4 payload into loads after an IPv6 header.
fn over_ipv6_header(arith: &Arith) -> Arith {
    match arith {
        Arith::Load {
            header: LoadBase::Transport(_),
            offset,
            width,
        } => {
            let offset = match &**offset {
                Arith::Number(number) => Arith::Number(number.saturating_add(IPV6_LEN)),
                offset => Arith::Operation {
                    first: Box::new(Arith::Number(IPV6_LEN)),
                    rest: vec![(Operator::Add, over_ipv6_header(offset))],
                },
            };
            Arith::Load {
                header: LoadBase::Ip6,
                offset: Box::new(offset),
                width: *width,
            }
        }
        Arith::Number(_) | Arith::Length | Arith::Load { .. } => arith.clone(),
        Arith::Negated(arith) => Arith::Negated(Box::new(over_ipv6_header(arith))),
        Arith::Operation { first, rest } => Arith::Operation {
            first: Box::new(over_ipv6_header(first)),
            rest: rest
                .iter()
                .map(|(operator, arith)| (*operator, over_ipv6_header(arith)))
                .collect(),
        },
    }
}

/// Returns a hint for words in the wrong order, such as `ip and mpls`, which looks for the label in
/// the place of the IP header.
fn headers_between(leaves: &[PartPrimitive<'_>]) -> Option<String> {
    let between = leaves.iter().find(|leaf| {
        matches!(
            leaf.primitive,
            Primitive::Vlan(_) | Primitive::Mpls(_) | Primitive::Pppoes(_)
        )
    })?;
    let before = leaves
        .iter()
        .find(|leaf| leaf.place == between.place && leaf.position < between.position)?;
    let (word, other) = (between.primitive, before.primitive);
    Some(format!(
        "write what follows such a header after its word: `{word} and {other}`"
    ))
}

fn is_of(primitive: &Primitive, origin: Origin) -> bool {
    let Primitive::Drop(word) = primitive else {
        return false;
    };
    match word {
        DropWord::Reason(_) | DropWord::Location(_) | DropWord::Module(_) | DropWord::Noise => {
            origin == Origin::Software
        }
        DropWord::Named(fact, _) | DropWord::Number(fact, _) => fact.about().origin == Some(origin),
        DropWord::Origin(word) => *word == origin,
        DropWord::Exactly(fact, _) => fact.origin() == Some(origin),
        DropWord::InterfaceIndex(_)
        | DropWord::InterfaceName(_)
        | DropWord::NoInterface
        | DropWord::Netns(_)
        | DropWord::Protocol(_) => false,
    }
}
