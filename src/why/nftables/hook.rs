//! The hook of netfilter in which a packet was dropped, by the functions that called each other.

use super::ruleset::{BaseChain, FilterChain, FilterTool};
use crate::why::DropCase;

/// A hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketHook {
    /// The family whose packets pass it: `ip`, `ip6`, `arp`, `bridge`, `netdev`.
    pub family: &'static str,
    /// Its name in nftables.
    pub name: &'static str,
    /// The function that called it.
    pub caller: &'static str,
    /// The only family whose chains can have dropped it, where a function of that family's is known.
    dropper: Option<&'static str>,
    /// The only program whose rules can have dropped it, if that is known.
    tool: Option<FilterTool>,
}

/// The functions that call hooks: family, hook, function.
const CALLERS: &[(&str, &str, &str)] = &[
    ("ip", "prerouting", "ip_rcv"),
    ("ip", "prerouting", "ip_sublist_rcv"),
    ("ip", "prerouting", "ip_list_rcv"),
    ("ip", "input", "ip_local_deliver"),
    ("ip", "forward", "ip_forward"),
    ("ip", "output", "__ip_local_out"),
    ("ip", "output", "ip_local_out"),
    ("ip", "output", "raw_sendmsg"),
    ("ip", "output", "raw_send_hdrinc"),
    ("ip", "postrouting", "ip_output"),
    ("ip", "postrouting", "ip_mc_output"),
    ("ip6", "prerouting", "ipv6_rcv"),
    ("ip6", "prerouting", "ip6_sublist_rcv"),
    ("ip6", "prerouting", "ipv6_list_rcv"),
    ("ip6", "input", "ip6_input"),
    ("ip6", "forward", "ip6_forward"),
    ("ip6", "output", "__ip6_local_out"),
    ("ip6", "output", "ip6_local_out"),
    ("ip6", "output", "ip6_xmit"),
    ("ip6", "output", "rawv6_sendmsg"),
    ("ip6", "output", "rawv6_send_hdrinc"),
    ("ip6", "output", "ndisc_send_skb"),
    ("ip6", "output", "mld_sendpack"),
    ("ip6", "output", "igmp6_send"),
    ("ip6", "postrouting", "ip6_output"),
    ("arp", "input", "arp_rcv"),
    ("arp", "output", "arp_xmit"),
    ("netdev", "ingress", "__netif_receive_skb_core"),
    ("netdev", "egress", "__dev_queue_xmit"),
    ("bridge", "prerouting", "br_handle_frame"),
    ("bridge", "input", "br_pass_frame_up"),
    ("bridge", "forward", "__br_forward"),
    ("bridge", "postrouting", "br_forward_finish"),
];

/// The functions of the families' chains. They are on the way where the kernel drops in them (since 6.7).
const DROPPERS: &[(&str, &str)] = &[
    ("nft_do_chain_ipv4", "ip"),
    ("nft_do_chain_ipv6", "ip6"),
    ("nft_do_chain_inet", "inet"),
    ("nft_do_chain_inet_ingress", "inet"),
    ("nft_do_chain_arp", "arp"),
    ("nft_do_chain_bridge", "bridge"),
    ("nft_do_chain_netdev", "netdev"),
];

/// The first version whose nftables drops packets in `nft_do_chain`; before, `nf_hook_slow` does for all.
const DROPS_ITSELF: (u32, u32) = (6, 7);

impl PacketHook {
    /// Returns the hook in which a packet was dropped. `release` is the kernel's.
    pub fn of(case: &DropCase, release: &str) -> Option<Self> {
        // Only what called the hook counts: behind it is what made the packet, which passed other hooks.
        let is_inside = |frame: &&String| {
            let starts = [
                "nft_",
                "nf_",
                "NF_HOOK",
                "ipt_",
                "ip6t_",
                "iptable_",
                "ip6table_",
            ];
            starts.iter().any(|start| frame.starts_with(start))
        };
        let caller = case.stack.iter().find(|frame| !is_inside(frame))?;
        let inside = case.stack.iter().take_while(is_inside);
        let &(family, name, caller) = CALLERS.iter().find(|(_, _, name)| caller == name)?;
        let dropper = inside
            .filter_map(|frame| DROPPERS.iter().find(|(function, _)| frame == function))
            .map(|&(_, family)| family)
            .next();
        let tool = match case.function.as_deref() {
            Some("nft_do_chain") => Some(FilterTool::Nft),
            Some("ipt_do_table" | "ip6t_do_table") => Some(FilterTool::Legacy),
            Some("nf_hook_slow") if version(release)? >= DROPS_ITSELF => Some(FilterTool::Legacy),
            Some("nf_hook_slow") => None,
            // A bridge goes through the chains of its first hook by itself.
            Some("br_handle_frame") if family == "bridge" => None,
            _ => return None,
        };
        // What a bridge sends itself passes another hook by the same function.
        let is_sent = caller == "__br_forward" && case.is_inbound != Some(true);
        (!is_sent).then_some(Self {
            family,
            name,
            caller,
            dropper,
            tool,
        })
    }

    /// Returns whether the packet passed this base chain, if it came so far.
    pub fn has(&self, chain: &FilterChain, device: Option<&str>) -> bool {
        let Some(base) = chain.base.as_ref() else {
            return false;
        };
        let is_family = chain.family == self.family
            || chain.family == "inet" && matches!(self.family, "ip" | "ip6" | "netdev");
        // nft 1.0.6 does not write the devices: then it may be the packet's.
        let is_at_device = self.family != "netdev"
            || base.devices.is_empty()
            || base.devices.iter().any(|pattern| {
                device.is_none_or(|name| match pattern.strip_suffix('*') {
                    Some(start) => name.starts_with(start),
                    None => name == pattern,
                })
            });
        base.hook == self.name && is_family && is_at_device
    }

    /// Returns whether it is certain that a packet comes to a base chain that [`has`](Self::has) names, if it comes so
    /// far. Only a connection's first packet comes to a chain that translates.
    pub fn surely_enters(&self, base: &BaseChain) -> bool {
        !base.is_nat && (self.family != "netdev" || !base.devices.is_empty())
    }

    /// Returns whether this chain can have dropped the packet, as far as the functions on the way tell.
    pub fn can_drop(&self, chain: &FilterChain) -> bool {
        let is_of_family = self.dropper.is_none_or(|family| chain.family == family);
        is_of_family && self.tool.is_none_or(|tool| chain.tool == tool)
    }

    /// Returns whether only a rule or a policy of nftables can have dropped it.
    pub fn is_nft_alone(&self) -> bool {
        self.tool == Some(FilterTool::Nft)
    }

    /// Returns the priority at which addresses are translated in this hook.
    pub fn translation(&self) -> Option<i64> {
        match (self.family, self.name) {
            ("ip" | "ip6", "prerouting" | "output") => Some(-100),
            ("ip" | "ip6", "input" | "postrouting") => Some(100),
            _ => None,
        }
    }
}

/// Returns the first two numbers of a release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next()?.parse().ok();
    Some((number()?, number()?))
}
