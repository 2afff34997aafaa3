//! Translates comparisons of arithmetic into formulas: completely if a number is compared with a
//! field under a mask; otherwise only the headers that must be present.

use crate::filter::ast::{Arith, Comparison, LoadBase, Relation, Width};
use crate::filter::layout::ether_type;
use crate::filter::predicate::{self, Predicate};
use crate::filter::relation;
use crate::packet::ip::number;
use crate::packet::offset::{ipv4, ipv6};

use super::constraint::{Base, Numbers, PlaceId, Variable};
use super::formula::{Formula, all_of, bytes, is_one, kind};
use super::meaning::{Meaning, Spot, first_fragment};

/// Returns the formula for the presence of a header.
fn present(header: LoadBase, here: PlaceId) -> Formula {
    let next =
        |offset, protocol: u8| is_one(bytes(here, Base::Network, offset, 1), protocol.into());
    match header {
        LoadBase::Link => Formula::True,
        LoadBase::Ip => kind(here, &[ether_type::IPV4]),
        LoadBase::Ip6 => kind(here, &[ether_type::IPV6]),
        LoadBase::Arp => kind(here, &[ether_type::ARP]),
        LoadBase::Rarp => kind(here, &[ether_type::RARP]),
        LoadBase::Transport(number) => all_of([
            kind(here, &[ether_type::IPV4]),
            next(ipv4::PROTOCOL, number),
            first_fragment(here),
        ]),
        LoadBase::Icmp6 => all_of([
            kind(here, &[ether_type::IPV6]),
            next(ipv6::NEXT_HEADER, number::ICMPV6),
        ]),
    }
}

pub fn comparison(relation: &Relation, spot: Spot) -> Meaning {
    let turned;
    let relation = if relation::constant(&relation.left).is_some() {
        turned = Relation {
            left: relation.right.clone(),
            comparison: relation.comparison.turned(),
            right: relation.left.clone(),
        };
        &turned
    } else {
        relation
    };
    if let Some(right) = relation::constant(&relation.right) {
        if let Some(left) = relation::constant(&relation.left) {
            return Meaning::exactly(if relation.comparison.holds(left, right) {
                Formula::True
            } else {
                Formula::False
            });
        }
        if relation.left == Arith::Length {
            let field = Variable::Length(spot.depth);
            return Meaning::exactly(compared(field, u32::MAX, relation.comparison, right));
        }
        let plain = Relation {
            left: relation.left.clone(),
            comparison: relation.comparison,
            right: Arith::Number(right),
        };
        if let Some(Predicate::Field {
            header,
            offset,
            width,
            mask,
            comparison,
            value,
        }) = predicate::field(&plain)
        {
            let (base, offset) = match header {
                LoadBase::Link => (Base::Link, offset),
                LoadBase::Transport(_) => (Base::BehindIpv4, offset),
                LoadBase::Icmp6 => (Base::Network, ipv6::LEN.saturating_add(offset)),
                LoadBase::Ip | LoadBase::Ip6 | LoadBase::Arp | LoadBase::Rarp => {
                    (Base::Network, offset)
                }
            };
            let width = match width {
                Width::One => 1,
                Width::Two => 2,
                Width::Four => 4,
            };
            let field = bytes(spot.here, base, offset, width);
            let mask = mask & u32::MAX >> (32 - 8 * width);
            return Meaning::exactly(all_of([
                present(header, spot.here),
                compared(field, mask, comparison, value),
            ]));
        }
    }
    let mut headers = Vec::new();
    relation::find_guards(&relation.left, &mut headers);
    relation::find_guards(&relation.right, &mut headers);
    Meaning::at_most(all_of(
        headers.into_iter().map(|header| present(header, spot.here)),
    ))
}

/// Returns the formula for the comparison of `field & mask` with a number.
fn compared(field: Variable, mask: u32, comparison: Comparison, value: u32) -> Formula {
    let (mask, most, value) = (u128::from(mask), u128::from(u32::MAX), u128::from(value));
    let numbers = match comparison {
        // A bit outside the mask is never set.
        Comparison::Equal | Comparison::NotEqual if value & !mask != 0 => Numbers::of([]),
        Comparison::Equal | Comparison::NotEqual => Numbers::one(value),
        Comparison::Less | Comparison::GreaterOrEqual => {
            Numbers::between(0, value).meet(&Numbers::one(value).complement(most))
        }
        Comparison::LessOrEqual | Comparison::Greater => Numbers::between(0, value),
    };
    let numbers = match comparison {
        Comparison::Equal | Comparison::Less | Comparison::LessOrEqual => numbers,
        Comparison::NotEqual | Comparison::Greater | Comparison::GreaterOrEqual => {
            numbers.complement(most)
        }
    };
    Formula::masked(field, mask, numbers)
}
