//! Packets that a rule or a chain's policy drops: nftables, iptables-nft and iptables-legacy.
//!
//! That the packet was dropped in a hook is known. So the rules need not be evaluated as the kernel did: it is enough to
//! find all that can have dropped it, with what is not known (connections, rates, sockets) taken both ways. Where a
//! single one is left, it is guilty.

mod facts;
mod hook;
mod json;
mod legacy;
mod lookup;
mod ruleset;
mod state;
#[cfg(test)]
mod tests;
mod walk;

use super::fib::{DeviceNames, FlowKey, RoutingState};
use super::finding::listed;
use super::{CauseFamily, CauseFinding, CauseText, DropCase, Grade};
use crate::host::HostState;
use crate::host::Unseen;
use crate::host::filters::{LegacyRules, NftChain, NftRuleset, OtherFilters, is_nft_name};
use crate::host::ipsec::IpsecPolicies;
use crate::host::sysctl::Sysctl;
use crate::host::tracking::ConnectionTable;
use hook::PacketHook;
use ruleset::{FilterChain, FilterTool, Ruleset};
use walk::{Suspect, Walk};

/// The names of the causes.
const RULE: &str = "filter_rule";
const POLICY: &str = "filter_policy";
/// The most rules that are proposed to be deleted, one after the other.
const MAX_CURES: usize = 4;
/// The most other suspects that are named.
const MAX_OTHERS: usize = 4;

/// The family.
pub static FAMILY: CauseFamily = CauseFamily {
    title: "Rules of nftables and iptables",
    drops: &[
        "NETFILTER_DROP",
        "NETFILTER_INGRESS",
        "NETFILTER_EGRESS",
        "nf_hook_slow",
        "nft_do_chain",
        "ipt_do_table",
    ],
    concerns,
    judge,
    causes: &[
        CauseText {
            id: RULE,
            title: "A rule of nftables or iptables drops the packet",
            evidence: "All rules of the hook in which the packet was dropped (nft list ruleset, iptables-legacy-save). \
                       Certain where a single one can have dropped it: what is not known of the packet, such as the \
                       state of its connection or a rate, is taken both ways, and a rule whose counter is 0 has \
                       dropped nothing.",
            cure: "Delete or change the rule, or accept the packet before it.",
        },
        CauseText {
            id: POLICY,
            title: "The policy of a chain drops the packet",
            evidence: "The same: no rule of the chain accepts the packet, and its policy is to drop.",
            cure: "Add a rule that accepts the packet, or change the policy.",
        },
    ],
};

fn concerns(case: &DropCase) -> bool {
    let reasons = ["NETFILTER_DROP", "NETFILTER_INGRESS", "NETFILTER_EGRESS"];
    let places = ["nf_hook_slow", "nft_do_chain", "ipt_do_table"];
    reasons.iter().any(|reason| case.has_reason(reason))
        || case.has_no_reason() && places.iter().any(|place| case.is_in(place))
}

/// All that was found out of a drop.
struct Inquest {
    hook: PacketHook,
    ruleset: Ruleset,
    walk: Walk,
    /// The device that the packet would have left by, where its route tells it.
    output: Option<String>,
    /// Rules that could not be read, and why.
    unseen: Option<(&'static str, Unseen)>,
}

/// Reads the rules, and finds those that can have dropped the packet.
fn inquire(case: &DropCase, host: &HostState) -> Option<Inquest> {
    let release = host.ask(&Sysctl::new(["kernel", "osrelease"]));
    let hook = PacketHook::of(case, &release.unwrap_or_default())?;
    let mut unseen = None;
    let mut ruleset = match host.ask(&NftRuleset) {
        Ok(rules) => json::parse(&rules),
        // What is not loaded has no rules.
        Err(Unseen::Absent(_)) if !hook.is_nft_alone() => Ruleset::default(),
        Err(error) => {
            unseen = Some(("nft list ruleset", error));
            Ruleset::default()
        }
    };
    if matches!(hook.family, "ip" | "ip6") {
        match host.ask(&LegacyRules(hook.family == "ip6")) {
            Ok(saved) => ruleset.chains.extend(legacy::parse(&saved, hook.family)),
            Err(error) if !hook.is_nft_alone() => unseen = Some(("iptables-legacy-save", error)),
            Err(_) => {}
        }
    }
    let output = output_by_route(case, hook, host);
    let walk = walk::walk(&ruleset, case, hook, output.as_deref())?;
    Some(Inquest {
        hook,
        ruleset,
        walk,
        output,
        unseen,
    })
}

/// Returns the device that a forwarded packet would have left by: the kernel has chosen its route before it asks the
/// rules of FORWARD. `None` where this is not known.
fn output_by_route(case: &DropCase, hook: PacketHook, host: &HostState) -> Option<String> {
    if hook.name != "forward" || !matches!(hook.family, "ip" | "ip6") {
        return None;
    }
    // A policy of IPsec can lead it elsewhere.
    let policies = match host.ask(&IpsecPolicies) {
        Err(Unseen::Absent(_)) => Vec::new(),
        other => other.ok()?,
    };
    if !policies.is_empty() {
        return None;
    }
    let key = FlowKey::received(case, host)?;
    let output = |key: &FlowKey| {
        let fate = RoutingState::of(key, host)?.walk(key)?;
        fate.unicast().filter(|route| !route.is_shared)?.output
    };
    let index = output(&key)?;
    // A rule of FORWARD can have set the mark after that.
    let unmarked = FlowKey {
        mark: 0,
        ..key.clone()
    };
    if output(&unmarked) != Some(index) {
        return None;
    }
    DeviceNames::ask(host).of(index).map(str::to_owned)
}

/// Returns whether a rule or a policy can have dropped the packet; `None` where this is not known.
pub fn can_have_dropped(case: &DropCase, host: &HostState) -> Option<bool> {
    let inquest = inquire(case, host).filter(|inquest| inquest.unseen.is_none())?;
    Some(!inquest.walk.suspects.is_empty())
}

fn judge(case: &DropCase, host: &HostState) -> Option<CauseFinding> {
    if case.stack.is_empty() {
        let finding = CauseFinding::new(
            RULE,
            Grade::Unknown,
            "a packet filter dropped it, in a hook that is not known",
        );
        return Some(finding.seen("the drop", "it has no call stack, which --stack captures"));
    }
    let Inquest {
        hook,
        ruleset,
        walk,
        output,
        unseen,
    } = inquire(case, host)?;
    let suspects = &walk.suspects;
    // What drops each packet that comes to it is the better guess.
    let Some(suspect) = suspects.iter().find(|one| one.is_sure).or(suspects.first()) else {
        let (command, error) = unseen?;
        let finding = CauseFinding::new(
            RULE,
            Grade::Unknown,
            "a packet filter dropped it, and its rules cannot be read",
        );
        return Some(finding.seen(command, error.to_string()));
    };
    let named = |one: &Suspect| object(&ruleset.chains[one.chain], &ruleset, one);
    let others: Vec<_> = suspects
        .iter()
        .filter(|&one| one != suspect)
        .map(named)
        .collect();
    let mut doubts = Vec::new();
    if !others.is_empty() {
        let text = listed(&others, MAX_OTHERS);
        doubts.push(format!("{text}: not what dropped it"));
    }
    if let Some((command, error)) = unseen {
        doubts.push(format!("{command}, which failed: {error}"));
    }
    if !hook.is_nft_alone() {
        doubts.extend(rival(hook, &walk, host));
    }
    let grade = if doubts.is_empty() {
        Grade::Certain
    } else {
        Grade::Likely
    };
    let mut finding = claim(grade, &ruleset, suspect, host).object(named(suspect));
    if !doubts.is_empty() {
        finding = finding.proof(doubts.join("; "));
    }
    let suspect = *suspect;
    let again = |ruleset: &Ruleset| walk::walk(ruleset, case, hook, output.as_deref());
    Some(cure(finding, again, ruleset, suspect))
}

/// Returns what else can have dropped a packet in a function that drops for all of netfilter.
fn rival(hook: PacketHook, walk: &Walk, host: &HostState) -> Option<String> {
    let tracking = match host.ask(&ConnectionTable) {
        Ok(tracking) => tracking,
        Err(error) => return Some(format!("the table of connections: {error}")),
    };
    if let Some(tracking) = tracking {
        if tracking.is_full() {
            return Some("the table of connections, which is nearly full, has room".into());
        }
        let confirms = matches!(hook.name, "input" | "postrouting");
        if walk.can_pass && confirms && tracking.failed.is_some_and(|failed| failed > 0) {
            return Some("conntrack -S: its counter insert_failed does not grow".into());
        }
    }
    let others = host.ask(&OtherFilters).unwrap_or_default();
    (walk.can_pass && !others.is_empty()).then(|| format!("{}: did not drop it", others.join(", ")))
}

/// Returns the name of a rule or a policy.
fn object(chain: &FilterChain, ruleset: &Ruleset, suspect: &Suspect) -> String {
    let FilterChain {
        family,
        table,
        name,
        ..
    } = chain;
    let of = match chain.tool {
        FilterTool::Nft => family.clone(),
        FilterTool::Legacy => program(chain).to_owned(),
    };
    match (suspect.rule, chain.tool) {
        (None, _) => format!("policy of chain {of} {table} {name}"),
        (Some(rule), FilterTool::Nft) => {
            let handle = ruleset.chains[suspect.chain].rules[rule].handle;
            format!("rule {of} {table} {name} handle {handle}")
        }
        (Some(rule), FilterTool::Legacy) => format!("rule {of} {table} {name} {}", rule + 1),
    }
}

fn program(chain: &FilterChain) -> &'static str {
    match chain.family.as_str() {
        "ip6" => "ip6tables-legacy",
        _ => "iptables-legacy",
    }
}

/// Makes the claim that this one dropped the packet, with evidence.
fn claim(grade: Grade, ruleset: &Ruleset, suspect: &Suspect, host: &HostState) -> CauseFinding {
    let chain = &ruleset.chains[suspect.chain];
    let FilterChain {
        family,
        table,
        name,
        ..
    } = chain;
    let where_to = match chain.tool {
        FilterTool::Nft => format!("{family} {table} {name}"),
        FilterTool::Legacy => format!("{} {table} {name}", program(chain)),
    };
    let rule = suspect.rule.map(|rule| chain.rules[rule].handle);
    let (command, text) = shown(chain, rule, host);
    let finding = if rule.is_some() {
        let what = text.as_deref().unwrap_or("a rule");
        let claim = format!("a rule of {where_to} drops it: {what}");
        CauseFinding::new(RULE, grade, claim)
    } else {
        let claim = format!("no rule of {where_to} accepts it, and the chain's policy is to drop");
        CauseFinding::new(POLICY, grade, claim)
    };
    let text = text.unwrap_or_else(|| match rule {
        Some(handle) => format!("# handle {handle}"),
        None => "policy drop".to_owned(),
    });
    finding.seen(command, text)
}

/// Adds the commands that undo a rule or a policy, and those behind it that would drop the packet then.
fn cure(
    mut finding: CauseFinding,
    walk_again: impl Fn(&Ruleset) -> Option<Walk>,
    mut ruleset: Ruleset,
    suspect: Suspect,
) -> CauseFinding {
    let mut next = Some(suspect);
    for _ in 0..MAX_CURES {
        let Some(suspect) = next else {
            break;
        };
        let chain = &mut ruleset.chains[suspect.chain];
        finding = cure_one(finding, chain, suspect.rule);
        match (suspect.rule, chain.base.as_mut()) {
            (Some(rule), _) => chain.rules[rule].statements.clear(),
            (None, Some(base)) => base.drops = false,
            (None, None) => {}
        }
        let walk = walk_again(&ruleset).filter(|walk| !walk.can_pass);
        next = walk.and_then(|walk| walk.suspects.into_iter().find(|one| one.is_sure));
    }
    finding
}

/// Adds the command that undoes a rule or a policy.
fn cure_one(finding: CauseFinding, chain: &FilterChain, rule: Option<usize>) -> CauseFinding {
    let FilterChain {
        family,
        table,
        name,
        ..
    } = chain;
    let rule = rule.map(|rule| chain.rules[rule].handle);
    if !is_nft_name(table) || !is_nft_name(name) {
        return finding.advise("delete the rule, or accept the packet before it");
    }
    match (chain.tool, rule) {
        (FilterTool::Nft, Some(handle)) => finding.cure(format!(
            "nft delete rule {family} {table} {name} handle {handle}"
        )),
        (FilterTool::Nft, None) => {
            finding
                .advise("add a rule that accepts the packet")
                .cure(format!(
                    "nft 'chain {family} {table} {name} {{ policy accept ; }}'"
                ))
        }
        (FilterTool::Legacy, Some(number)) => finding.cure(format!(
            "{} -w -t {table} -D {name} {number}",
            program(chain)
        )),
        (FilterTool::Legacy, None) => finding
            .advise("add a rule that accepts the packet")
            .cure(format!("{} -w -t {table} -P {name} ACCEPT", program(chain))),
    }
}

/// Returns a command that shows a rule or a policy, and the line that it shows.
fn shown(chain: &FilterChain, rule: Option<u64>, host: &HostState) -> (String, Option<String>) {
    let FilterChain {
        family,
        table,
        name,
        ..
    } = chain;
    if chain.tool == FilterTool::Legacy {
        let saved = host.ask(&LegacyRules(family == "ip6")).unwrap_or_default();
        let line = legacy::line(&saved, table, name, rule);
        return (format!("{}-save -c -t {table}", program(chain)), line);
    }
    if !is_nft_name(table) || !is_nft_name(name) {
        return ("nft -a list ruleset".into(), None);
    }
    let question = NftChain(family.clone(), table.clone(), name.clone());
    let listed = host.ask(&question).unwrap_or_default();
    let mut lines = listed.lines().map(str::trim);
    let line = match rule {
        Some(handle) => {
            let end = format!("# handle {handle}");
            lines
                .filter_map(|line| line.strip_suffix(&end))
                // The first line is the chain's, which has a handle as well.
                .find(|line| !line.ends_with("{ "))
        }
        None => lines.find(|line| line.starts_with("type ")),
    };
    let line = line.map(|line| line.trim().to_owned());
    (format!("nft -a list chain {family} {table} {name}"), line)
}
