//! IPsec: packets that no security association takes, and packets that a policy refuses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::fib::contains;
use super::{CauseFamily, CauseFinding, CauseText, DropCase, Effect, Grade, Remedy};
use crate::host::HostState;
use crate::host::ipsec::{
    COUNTERS, IpsecCounters, IpsecPolicies, IpsecPolicy, IpsecState, IpsecStates, protocol_name,
};
use crate::packet::be32;
use crate::packet::ip::{Ip, number};

/// The causes' names.
const UNKNOWN_SPI: &str = "ipsec_unknown_spi";
const OTHER_DESTINATION: &str = "ipsec_other_destination";
const INTEGRITY: &str = "ipsec_wrong_key";
const REPLAY: &str = "ipsec_replay";
const EXPIRED: &str = "ipsec_expired";
const BLOCKED: &str = "ipsec_policy_block";
const CLEAR_TEXT: &str = "ipsec_clear_text";

/// The commands that show associations and policies. The first shows no keys.
const STATES: &str = "ip -s xfrm state list nokeys";
const POLICIES: &str = "ip xfrm policy";

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "IPsec",
    drops: &["xfrm_input", "XFRM_POLICY"],
    concerns,
    judge,
    causes: &[
        CauseText {
            id: UNKNOWN_SPI,
            title: "No security association has the packet's SPI",
            evidence: "The associations (ip xfrm state) and the counters of /proc/net/xfrm_stat. Certain where none \
                       has the SPI, and the kernel counted packets without an association and none that an expired \
                       or invalid one refused: such a one may be gone again.",
            cure: "The key exchange, at both ends: this host has forgotten the association, or never had it.",
        },
        CauseText {
            id: OTHER_DESTINATION,
            title: "The SPI is known for another destination alone",
            evidence: "The associations and the counters, as for an unknown SPI.",
            cure: "An association for the address that the packets go to; or the sender sends to the other one.",
        },
        CauseText {
            id: INTEGRITY,
            title: "The packet fails the integrity check of its association",
            evidence: "The association's own counter (failed). Certain where it alone counted something.",
            cure: "The same keys at both ends; or what changes packets on the way is fixed.",
        },
        CauseText {
            id: REPLAY,
            title: "The packet's number was there before, or is too old",
            evidence: "The association's own counters (replay, replay-window). Certain where they alone counted \
                       something.",
            cure: "The sender counts; packets that are copied or much delayed on the way are not; or a larger replay \
                   window.",
        },
        CauseText {
            id: EXPIRED,
            title: "The security association has expired",
            evidence: "The association, where it is still there, and the counter XfrmInStateExpired. Never certain.",
            cure: "The key exchange makes a new one in time.",
        },
        CauseText {
            id: BLOCKED,
            title: "An IPsec policy blocks the packet",
            evidence: "The policies (ip xfrm policy). Certain where the first of those that fit blocks, and no \
                       socket has one of its own.",
            cure: "Another policy.",
        },
        CauseText {
            id: CLEAR_TEXT,
            title: "An IPsec policy wants encryption, and the packet came without",
            evidence: "The policies, and the associations. Certain where the first policy that fits wants IPsec, and \
                       no association has taken a packet.",
            cure: "The sender encrypts; or a policy that lets the packets come in clear.",
        },
    ],
};

fn concerns(case: &DropCase) -> bool {
    case.is_in("xfrm_input") || case.has_reason("XFRM_POLICY")
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    if case.has_reason("XFRM_POLICY") {
        return refused(case, host);
    }
    let ip = case.ip()?;
    let (protocol, spi) = spi(&ip)?;
    let counters = host.ask(&IpsecCounters).unwrap_or_default();
    let states = host.ask(&IpsecStates).ok()?;
    let fitting: Vec<_> = states
        .iter()
        .filter(|state| state.spi == spi && state.protocol == protocol)
        .collect();
    let destination = ip.destination?;
    let own = fitting.iter().copied().find(|state| {
        state.destination == destination
            && state
                .mark
                .is_none_or(|(value, mask)| case.mark & mask == value)
    });
    let packet = InputPacket {
        protocol: protocol_name(protocol),
        spi,
        source: ip.source?,
        destination,
        reason: case.reason.as_deref().unwrap_or_default(),
        counters,
    };
    match own {
        Some(state) => packet.refused_by(state),
        None => packet.without_state(&fitting, states.len()),
    }
}

/// Returns the protocol of IPsec and the SPI, where the packet has one.
fn spi(ip: &Ip<'_>) -> Option<(u8, u32)> {
    /// The UDP port of ESP (RFC 3948).
    const ENCAPSULATED: u16 = 4500;
    if ip.fragment.is_some() {
        return None;
    }
    match ip.protocol? {
        number::ESP => Some((number::ESP, be32(ip.payload, 0)?)),
        number::AUTHENTICATION => Some((number::AUTHENTICATION, be32(ip.payload, 4)?)),
        number::UDP if ip.ports().1 == Some(ENCAPSULATED) => {
            Some((number::ESP, be32(ip.payload, 8)?))
        }
        _ => None,
    }
}

/// A packet of IPsec that came in.
struct InputPacket<'a> {
    protocol: String,
    spi: u32,
    source: IpAddr,
    destination: IpAddr,
    reason: &'a str,
    counters: BTreeMap<String, u64>,
}

impl InputPacket<'_> {
    fn count(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }

    fn object(&self) -> String {
        let Self {
            protocol,
            spi,
            source,
            destination,
            ..
        } = self;
        format!("{protocol} SPI {spi:#010x} from {source} to {destination}")
    }

    fn seen(&self, finding: CauseFinding, names: &[&str]) -> CauseFinding {
        let counted = names.iter().filter(|name| self.count(name) > 0);
        let counted: Vec<_> = counted
            .map(|name| format!("{name} {}", self.count(name)))
            .collect();
        if counted.is_empty() {
            return finding;
        }
        finding.seen(COUNTERS, counted.join(", "))
    }

    /// Claims that no association takes the packet; `others` have its SPI.
    fn without_state(&self, others: &[&IpsecState], all: usize) -> Option<CauseFinding> {
        if !matches!(self.reason, "" | "NOT_SPECIFIED" | "XFRM_IN_NO_STATES") {
            // There was one, and it is gone.
            return self.expired();
        }
        let Self {
            protocol,
            spi,
            destination,
            ..
        } = self;
        let (cause, claim, seen) = match others {
            [] => (
                UNKNOWN_SPI,
                format!("no security association here has the {protocol} SPI {spi:#010x}"),
                format!("none of {all} associations has the SPI"),
            ),
            others => {
                let known: Vec<_> = others.iter().map(|state| known_for(state)).collect();
                (
                    OTHER_DESTINATION,
                    format!("the {protocol} SPI {spi:#010x} is not known for {destination}"),
                    format!("the SPI is known for {}", known.join(", ")),
                )
            }
        };
        // Who was there when the packet came may be gone: these count what it refused.
        let other_counters = [
            "XfrmInStateExpired",
            "XfrmInStateInvalid",
            "XfrmInHdrError",
            "XfrmInError",
            "XfrmInBufferError",
        ];
        let is_sure = self.reason == "XFRM_IN_NO_STATES"
            || self.count("XfrmInNoStates") > 0
                && other_counters.iter().all(|name| self.count(name) == 0);
        let grade = if is_sure {
            Grade::Certain
        } else {
            Grade::Likely
        };
        let mut finding = CauseFinding::new(cause, grade, claim)
            .object(self.object())
            .seen(STATES, seen);
        finding = self.seen(
            finding,
            &["XfrmInNoStates", "XfrmInStateExpired", "XfrmInStateInvalid"],
        );
        if !is_sure {
            finding = finding.proof(
                "the next drop: if XfrmInNoStates of /proc/net/xfrm_stat grows with it, it is this; an association \
                 that expired may be gone already",
            );
        }
        Some(self.advise(finding))
    }

    /// Claims what the association's own counters show.
    fn refused_by(&self, state: &IpsecState) -> Option<CauseFinding> {
        let has_failed = state.integrity_failures > 0;
        let has_replays = state.replays > 0 || state.too_old > 0;
        // What else an association can refuse is counted for all of them together.
        let others = [
            "XfrmInStateExpired",
            "XfrmInStateInvalid",
            "XfrmInStateMismatch",
            "XfrmInStateModeError",
        ];
        let is_alone = has_failed != has_replays && others.iter().all(|name| self.count(name) == 0);
        let (is_integrity, is_sure) = match self.reason {
            "XFRM_IN_STATE_PROTO_ERROR" if has_failed => (true, true),
            "XFRM_IN_STATE_SEQ_ERROR" => (false, true),
            "" | "NOT_SPECIFIED" if has_failed => (true, is_alone),
            "" | "NOT_SPECIFIED" if has_replays => (false, is_alone),
            "" | "NOT_SPECIFIED" | "XFRM_IN_STATE_EXPIRED" => return self.expired(),
            _ => return None,
        };
        let grade = if is_sure {
            Grade::Certain
        } else {
            Grade::Likely
        };
        let Self {
            protocol,
            spi,
            source,
            ..
        } = self;
        let finding = if is_integrity {
            CauseFinding::new(
                INTEGRITY,
                grade,
                format!(
                    "packets from {source} with the {protocol} SPI {spi:#010x} fail the integrity check: the keys \
                     differ, or the packets are changed on the way"
                ),
            )
        } else {
            CauseFinding::new(
                REPLAY,
                grade,
                format!(
                    "packets from {source} with the {protocol} SPI {spi:#010x} have numbers that were there before \
                     or are too old"
                ),
            )
        };
        let mut finding = finding.object(self.object()).seen(
            STATES,
            format!(
                "{}: replay-window {} replay {} failed {}",
                known_for(state),
                state.too_old,
                state.replays,
                state.integrity_failures
            ),
        );
        finding = self.seen(finding, &["XfrmInStateProtoError", "XfrmInStateSeqError"]);
        if !is_sure {
            finding = finding.proof(format!(
                "which counter of the association grows with the next drop: {STATES}"
            ));
        }
        Some(self.advise(finding))
    }

    fn expired(&self) -> Option<CauseFinding> {
        if self.count("XfrmInStateExpired") == 0 && self.reason != "XFRM_IN_STATE_EXPIRED" {
            return None;
        }
        let Self { protocol, spi, .. } = self;
        let finding = CauseFinding::new(
            EXPIRED,
            Grade::Likely,
            format!("the security association with the {protocol} SPI {spi:#010x} has expired"),
        )
        .object(self.object())
        .proof("a new association ends the drops");
        let finding = self.seen(finding, &["XfrmInStateExpired"]);
        let finding = if finding.evidence.is_empty() {
            finding.seen("the drop reason", self.reason)
        } else {
            finding
        };
        Some(self.advise(finding))
    }

    fn advise(&self, finding: CauseFinding) -> CauseFinding {
        let source = self.source;
        finding.advise(format!(
            "have the key exchange with {source} make new associations, or compare those of both ends"
        ))
    }
}

fn known_for(state: &IpsecState) -> String {
    let mark = state
        .mark
        .map(|(value, mask)| format!(" mark {value:#x}/{mask:#x}"));
    format!(
        "src {} dst {}{}",
        state.source,
        state.destination,
        mark.unwrap_or_default()
    )
}

/// The directions of policies (linux/xfrm.h). Larger ones are those of sockets.
const IN: u8 = 0;
const FORWARD: u8 = 2;

/// Claims which policy refused the packet (`__xfrm_policy_check`, net/xfrm/xfrm_policy.c).
fn refused(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    let ip = case.ip()?;
    let forwards = ["ip_forward", "ip6_forward"];
    let direction = if forwards.iter().any(|place| case.is_in(place)) {
        FORWARD
    } else {
        IN
    };
    let policies = host.ask(&IpsecPolicies).ok()?;
    let mut fitting: Vec<_> = policies
        .iter()
        .filter(|policy| policy.direction == direction && may_fit(policy, &ip, case.mark))
        .collect();
    fitting.sort_by_key(|policy| policy.priority);
    let policy = *fitting.first()?;
    let is_refusal = policy.is_block || !policy.templates.is_empty();
    let is_first = fitting
        .get(1)
        .is_none_or(|second| second.priority != policy.priority);
    let has_other = policies
        .iter()
        .any(|policy| policy.direction > FORWARD || policy.is_sub);
    // An interface and an XFRM interface decide, too, and are not compared.
    let is_compared = policy.ifindex == 0 && policy.interface_id == 0;
    let mut is_sure = is_first && !has_other && is_compared;
    if !is_refusal {
        return None;
    }
    let words = selector(policy, direction);
    let (id, claim) = if policy.is_block {
        (
            BLOCKED,
            format!("the IPsec policy {words} blocks the packets"),
        )
    } else {
        // A packet that came encrypted looks the same here. Its association, if it is one of another policy, does
        // not fit.
        let states = host.ask(&IpsecStates).ok()?;
        is_sure &= states.iter().all(|state| state.packets == 0);
        let wanted = policy.templates.join(" and ");
        let claim =
            format!("the IPsec policy {words} wants {wanted}, and the packets come in clear");
        (CLEAR_TEXT, claim)
    };
    let grade = if is_sure {
        Grade::Certain
    } else {
        Grade::Likely
    };
    let action = if policy.is_block { "block" } else { "allow" };
    let mut finding = CauseFinding::new(id, grade, claim)
        .object(format!("policy {words}"))
        .seen(
            POLICIES,
            format!("{words} action {action} priority {}", policy.priority),
        );
    let counters = host.ask(&IpsecCounters).unwrap_or_default();
    let names = ["XfrmInPolBlock", "XfrmInTmplMismatch"];
    for name in names {
        if let Some(count) = counters.get(name).filter(|count| **count > 0) {
            finding = finding.seen(COUNTERS, format!("{name} {count}"));
        }
    }
    if !is_sure {
        finding = finding.proof("without this policy, the drops end");
    }
    let is_named_whole =
        is_compared && policy.mark.is_none() && !policy.is_sub && has_plain_ports(policy);
    if !policy.is_block {
        finding = finding.advise(format!("have {} encrypt what it sends", ip.source?));
    }
    Some(if is_named_whole {
        finding.remedy(Remedy {
            advice: Some("where the packets may come in clear".into()),
            command: Some(format!("ip xfrm policy delete {words}")),
            effect: Effect::Now,
            is_global: false,
        })
    } else {
        // A mark, an interface or a range of ports belongs to the command, too.
        finding.advise("delete the policy where the packets may come in clear: man ip-xfrm")
    })
}

/// Returns whether the policy may be for the packet (`xfrm_selector_match`).
fn may_fit(policy: &IpsecPolicy, ip: &Ip<'_>, mark: u32) -> bool {
    let (Some(source), Some(destination)) = (ip.source, ip.destination) else {
        return false;
    };
    let ports = ip.ports();
    let port_fits = |port: Option<u16>, (value, mask): (u16, u16)| {
        // Without ports, what counts instead depends on the protocol.
        port.is_none_or(|port| (port ^ value) & mask == 0)
    };
    let is_in = |(network, prefix), address| contains(network, prefix, address);
    is_in(policy.source, source)
        && is_in(policy.destination, destination)
        && (policy.protocol == 0 || ip.protocol == Some(policy.protocol))
        && port_fits(ports.0, policy.source_port)
        && port_fits(ports.1, policy.destination_port)
        && policy.mark.is_none_or(|(value, mask)| mark & mask == value)
}

fn has_plain_ports(policy: &IpsecPolicy) -> bool {
    let is_plain = |(_, mask): (u16, u16)| matches!(mask, 0 | 0xffff);
    is_plain(policy.source_port) && is_plain(policy.destination_port)
}

/// Returns the words for the policy of ip-xfrm(8).
fn selector(policy: &IpsecPolicy, direction: u8) -> String {
    let (source, destination) = (policy.source, policy.destination);
    let mut words = vec![format!(
        "src {}/{} dst {}/{}",
        source.0, source.1, destination.0, destination.1
    )];
    words.extend(match policy.protocol {
        0 => None,
        number::TCP => Some("proto tcp".to_owned()),
        number::UDP => Some("proto udp".to_owned()),
        other => Some(format!("proto {other}")),
    });
    for (name, (port, mask)) in [
        ("sport", policy.source_port),
        ("dport", policy.destination_port),
    ] {
        words.extend((mask != 0).then(|| format!("{name} {port}")));
    }
    let name = if direction == FORWARD { "fwd" } else { "in" };
    words.push(format!("dir {name}"));
    words.join(" ")
}

#[cfg(test)]
mod tests;
