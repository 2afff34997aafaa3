//! The security associations and policies of IPsec, and what the kernel counted of them.
//!
//! The kernel answers with the keys. They are dropped with its messages: nothing here has room for one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_xfrm::constants::{AF_INET, AF_INET6};
use netlink_packet_xfrm::policy::{DelGetMessage, ModifyMessage as PolicyMessage};
use netlink_packet_xfrm::state::{GetDumpMessage, ModifyMessage as StateMessage};
use netlink_packet_xfrm::{Address, Mark, Selector, XfrmAttrs, XfrmMessage};
use netlink_sys::protocols::NETLINK_XFRM;
use serde::{Deserialize, Serialize};

use super::rtnetlink::{dump_of, has_family};
use super::{Question, Unseen, of_thread, read_file};

/// All security associations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpsecStates;

/// A security association, without its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpsecState {
    /// The address that packets come from.
    pub source: IpAddr,
    /// The address that they go to.
    pub destination: IpAddr,
    /// The protocol: `IPPROTO_ESP`, `IPPROTO_AH`.
    pub protocol: u8,
    /// The number in the packets.
    pub spi: u32,
    /// The value and the mask of the mark that packets must have.
    pub mark: Option<(u32, u32)>,
    /// Packets that it took.
    pub packets: u64,
    /// The packets after which it ends.
    pub most_packets: u64,
    /// Packets that came twice.
    pub replays: u32,
    /// Packets that were too old for the replay window.
    pub too_old: u32,
    /// Packets whose integrity check failed.
    pub integrity_failures: u32,
}

/// All policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpsecPolicies;

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpsecPolicy {
    /// The packets that it is for: from addresses with this prefix.
    pub source: (IpAddr, u8),
    /// To addresses with this prefix.
    pub destination: (IpAddr, u8),
    /// Of this protocol; 0 for all.
    pub protocol: u8,
    /// The source port and the mask of its bits that count.
    pub source_port: (u16, u16),
    /// The same of the destination port.
    pub destination_port: (u16, u16),
    /// The ifindex; 0 for all.
    pub ifindex: i32,
    /// The value and the mask of the mark.
    pub mark: Option<(u32, u32)>,
    /// The number of the XFRM interface; 0 without.
    pub interface_id: u32,
    /// `XFRM_POLICY_IN`, `XFRM_POLICY_FWD` …; more than these for policies of a socket.
    pub direction: u8,
    /// The smallest one decides.
    pub priority: u32,
    /// It refuses packets.
    pub is_block: bool,
    /// It is one of the second kind, which are asked before (`XFRM_POLICY_TYPE_SUB`).
    pub is_sub: bool,
    /// The transformations that it wants, in words, without optional ones.
    pub templates: Vec<String>,
}

/// The counters of `/proc/net/xfrm_stat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpsecCounters;

/// The file of the counters.
pub const COUNTERS: &str = "/proc/net/xfrm_stat";

impl Question for IpsecStates {
    const NAME: &'static str = "ipsec states";
    type Answer = Vec<IpsecState>;

    fn look(&self) -> Result<Vec<IpsecState>, Unseen> {
        check_module()?;
        let answers = dump_of(
            NETLINK_XFRM,
            XfrmMessage::GetDumpSa(GetDumpMessage::default()),
        )?;
        let states = answers.iter().filter_map(|answer| match answer {
            XfrmMessage::AddSa(message) | XfrmMessage::UpdateSa(message) => state(message),
            _ => None,
        });
        Ok(states.collect())
    }
}

impl Question for IpsecPolicies {
    const NAME: &'static str = "ipsec policies";
    type Answer = Vec<IpsecPolicy>;

    fn look(&self) -> Result<Vec<IpsecPolicy>, Unseen> {
        check_module()?;
        let answers = dump_of(
            NETLINK_XFRM,
            XfrmMessage::GetPolicy(DelGetMessage::default()),
        )?;
        let policies = answers.iter().filter_map(|answer| match answer {
            XfrmMessage::AddPolicy(message) | XfrmMessage::UpdatePolicy(message) => policy(message),
            _ => None,
        });
        Ok(policies.collect())
    }
}

impl Question for IpsecCounters {
    const NAME: &'static str = "ipsec counters";
    type Answer = BTreeMap<String, u64>;

    fn look(&self) -> Result<BTreeMap<String, u64>, Unseen> {
        let text = read_file(&of_thread(COUNTERS))?;
        let counter = |line: &str| {
            let (name, count) = line.split_once(char::is_whitespace)?;
            Some((name.to_owned(), count.trim().parse().ok()?))
        };
        Ok(text.lines().filter_map(counter).collect())
    }
}

/// A socket of this family would load the module `xfrm_user` where it is not.
fn check_module() -> Result<(), Unseen> {
    if has_family(NETLINK_XFRM)? {
        Ok(())
    } else {
        Err(Unseen::Absent("module xfrm_user is not loaded".into()))
    }
}

fn address(address: &Address, family: u16) -> Option<IpAddr> {
    match family {
        AF_INET => Some(IpAddr::V4(address.to_ipv4())),
        AF_INET6 => Some(IpAddr::V6(address.to_ipv6())),
        _ => None,
    }
}

fn mark(attributes: &[XfrmAttrs]) -> Option<(u32, u32)> {
    attributes.iter().find_map(|attribute| match attribute {
        XfrmAttrs::Mark(Mark { value, mask }) => Some((*value, *mask)),
        _ => None,
    })
}

fn state(message: &StateMessage) -> Option<IpsecState> {
    let info = &message.user_sa_info;
    Some(IpsecState {
        source: address(&info.saddr, info.family)?,
        destination: address(&info.id.daddr, info.family)?,
        protocol: info.id.proto,
        spi: info.id.spi,
        mark: mark(&message.nlas),
        packets: info.lifetime_cur.packets,
        most_packets: info.lifetime_cfg.hard_packet_limit,
        replays: info.stats.replay,
        too_old: info.stats.replay_window,
        integrity_failures: info.stats.integrity_failed,
    })
}

fn policy(message: &PolicyMessage) -> Option<IpsecPolicy> {
    let info = &message.user_policy_info;
    let Selector {
        family,
        proto,
        ifindex,
        ..
    } = info.selector;
    let mut policy = IpsecPolicy {
        source: (
            address(&info.selector.saddr, family)?,
            info.selector.prefixlen_s,
        ),
        destination: (
            address(&info.selector.daddr, family)?,
            info.selector.prefixlen_d,
        ),
        protocol: proto,
        source_port: (info.selector.sport, info.selector.sport_mask),
        destination_port: (info.selector.dport, info.selector.dport_mask),
        ifindex,
        mark: mark(&message.nlas),
        interface_id: 0,
        direction: info.direction,
        priority: info.priority,
        is_block: info.action != 0,
        is_sub: false,
        templates: Vec::new(),
    };
    for attribute in &message.nlas {
        match attribute {
            XfrmAttrs::IfId(id) => policy.interface_id = *id,
            XfrmAttrs::PolicyType(kind) => policy.is_sub = kind.ptype != 0,
            XfrmAttrs::Template(templates) => {
                let wanted = templates.iter().filter(|template| template.optional == 0);
                policy.templates = wanted
                    .map(|template| protocol_name(template.id.proto))
                    .collect();
            }
            _ => {}
        }
    }
    Some(policy)
}

/// Returns the name of a protocol of IPsec.
pub fn protocol_name(protocol: u8) -> String {
    match protocol {
        50 => "ESP".to_owned(),
        51 => "AH".to_owned(),
        108 => "IPComp".to_owned(),
        other => format!("protocol {other}"),
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NetlinkDeserializable;
    use netlink_packet_core::{Emitable, NetlinkHeader, NetlinkSerializable};
    use netlink_packet_xfrm::{Alg, AlgAuth};

    use super::*;
    use crate::host::HostState;

    const KEY: &[u8] = b"this is a secret key of IPsec";

    /// What the kernel answers of an association with two keys.
    fn answer() -> XfrmMessage {
        let mut message = StateMessage::default();
        let info = &mut message.user_sa_info;
        info.source(&"10.1.0.1".parse().unwrap());
        info.destination(&"10.1.0.2".parse().unwrap());
        (info.id.spi, info.id.proto) = (0x1000, 50);
        info.stats.integrity_failed = 3;
        // An algorithm: its name in 64 bytes, the key's length in bits, that of the code in bits, the key.
        let bits = u32::try_from(KEY.len() * 8).unwrap().to_ne_bytes();
        let name = [b'a'; 64];
        let authentication = [&name[..], &bits, &96_u32.to_ne_bytes(), KEY].concat();
        let authentication = AlgAuth::parse(&authentication).unwrap();
        let encryption = Alg::parse(&[&name[..], &bits, KEY].concat()).unwrap();
        message.nlas = vec![
            XfrmAttrs::AuthenticationAlgTrunc(authentication),
            XfrmAttrs::EncryptionAlg(encryption),
            XfrmAttrs::Mark(Mark { value: 1, mask: 3 }),
        ];
        assert!(message.buffer_len() > 224 + 2 * KEY.len());
        let message = XfrmMessage::AddSa(message);
        let mut bytes = vec![0; Emitable::buffer_len(&message)];
        message.serialize(&mut bytes);
        assert!(bytes.windows(KEY.len()).any(|part| part == KEY));
        let mut header = NetlinkHeader::default();
        header.message_type = message.message_type();
        XfrmMessage::deserialize(&header, &bytes).unwrap()
    }

    #[test]
    fn no_key_is_kept_of_an_association() {
        let XfrmMessage::AddSa(message) = answer() else {
            panic!("no association");
        };
        let state = state(&message).unwrap();
        assert_eq!(
            (state.spi, state.protocol, state.mark),
            (0x1000, 50, Some((1, 3)))
        );
        assert_eq!(state.integrity_failures, 3);
        let host = HostState::default();
        let kept = Ok(serde_json::to_value([state]).unwrap());
        host.answers
            .borrow_mut()
            .insert("ipsec states".into(), kept);
        let recorded = host.recorded().unwrap().to_string();
        assert!(recorded.contains("4096") && !recorded.contains("secret"));
        // Nor as numbers.
        let numbers = serde_json::to_string(&KEY[..4]).unwrap();
        let dense: String = recorded.split_whitespace().collect();
        assert!(!dense.contains(numbers.trim_matches(['[', ']'])));
    }
}
