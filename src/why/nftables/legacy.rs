//! Parses what `iptables-legacy-save -c` writes.

use super::json::target;
use super::ruleset::{
    BaseChain, ElementData, ElementSet, Expression, FilterChain, FilterRule, FilterTool, Pattern,
    RuleCondition, SetElement, SetReference, Statement, Verdict, field, prefix,
};

/// The priorities of a table in its chains: the hook's name in nftables, and the number.
const PRIORITIES: &[(&str, &str, &str, i64)] = &[
    ("raw", "PREROUTING", "prerouting", -300),
    ("raw", "OUTPUT", "output", -300),
    ("mangle", "PREROUTING", "prerouting", -150),
    ("mangle", "INPUT", "input", -150),
    ("mangle", "FORWARD", "forward", -150),
    ("mangle", "OUTPUT", "output", -150),
    ("mangle", "POSTROUTING", "postrouting", -150),
    ("nat", "PREROUTING", "prerouting", -100),
    ("nat", "OUTPUT", "output", -100),
    ("filter", "INPUT", "input", 0),
    ("filter", "FORWARD", "forward", 0),
    ("filter", "OUTPUT", "output", 0),
    ("security", "INPUT", "input", 50),
    ("security", "FORWARD", "forward", 50),
    ("security", "OUTPUT", "output", 50),
    ("nat", "INPUT", "input", 100),
    ("nat", "POSTROUTING", "postrouting", 100),
];

/// Parses the chains of all tables. `family` is `ip` or `ip6`.
pub fn parse(saved: &str, family: &str) -> Vec<FilterChain> {
    let mut chains: Vec<FilterChain> = Vec::new();
    let mut table = "";
    for line in saved.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name.trim();
        } else if let Some(chain) = line.strip_prefix(':') {
            chains.extend(self::chain(chain, table, family));
        } else if line.starts_with(['[', '-']) {
            let Some(words) = shlex::split(line) else {
                continue;
            };
            let mut words = words.iter().map(String::as_str).peekable();
            let is_unreached = words
                .next_if(|word| word.starts_with('['))
                .is_some_and(|counter| counter.starts_with("[0:"));
            let (Some("-A"), Some(name)) = (words.next(), words.next()) else {
                continue;
            };
            let mut of_table = chains.iter_mut();
            let chain = of_table.find(|chain| chain.table == table && chain.name == name);
            if let Some(chain) = chain {
                let rest: Vec<_> = words.collect();
                let mut statements = rule(&rest, family);
                if is_unreached {
                    statements.insert(0, Statement::NeverReached);
                }
                chain.rules.push(FilterRule {
                    handle: chain.rules.len() as u64 + 1,
                    statements,
                });
            }
        }
    }
    chains
}

/// Parses `INPUT DROP [12:345]`; a chain that was made has the policy `-`.
fn chain(line: &str, table: &str, family: &str) -> Option<FilterChain> {
    let mut words = line.split_whitespace();
    let (name, policy) = (words.next()?, words.next()?);
    let is_unreached = words.next().is_some_and(|count| count.starts_with("[0:"));
    let place = PRIORITIES
        .iter()
        .find(|(of, chain, ..)| (*of, *chain) == (table, name));
    Some(FilterChain {
        tool: FilterTool::Legacy,
        family: family.to_owned(),
        table: table.to_owned(),
        name: name.to_owned(),
        base: place.map(|&(_, _, hook, priority)| BaseChain {
            is_nat: table == "nat",
            hook: hook.to_owned(),
            priority,
            // A policy that has not counted anything has not dropped anything.
            drops: policy == "DROP" && !is_unreached,
            devices: Vec::new(),
        }),
        rules: Vec::new(),
    })
}

/// Parses the words of a rule behind the chain's name.
fn rule(words: &[&str], family: &str) -> Vec<Statement> {
    let mut statements = Vec::new();
    let mut protocol = None;
    // The options of an extension that is not known here could look like others.
    let mut is_lost = false;
    let mut words = words.iter().copied().peekable();
    while let Some(word) = words.next() {
        let (is_not, option) = match word {
            "!" => (true, words.next().unwrap_or_default()),
            word => (false, word),
        };
        let mut add = |left: Expression, patterns: Vec<Pattern>| {
            statements.push(Statement::Match(condition(is_not, left, patterns)));
        };
        let meta = |key: &str| Expression::Meta(key.to_owned());
        let of = |protocol: &str, name: &str| {
            field(protocol, name).map_or(Expression::Unknown, Expression::Payload)
        };
        match option {
            option if is_lost && !["-m", "-j", "-g"].contains(&option) => {}
            "-s" => add(of(family, "saddr"), vec![address(words.next())]),
            "-d" => add(of(family, "daddr"), vec![address(words.next())]),
            "-i" => add(meta("iifname"), vec![interface(words.next())]),
            "-o" => add(meta("oifname"), vec![interface(words.next())]),
            "-p" => {
                let name = words.next().unwrap_or_default();
                let pattern = protocol_number(name).map_or(Pattern::Unknown, Pattern::Number);
                protocol = Some(name).filter(|_| !is_not);
                add(meta("l4proto"), vec![pattern]);
            }
            "--sport" | "--sports" | "--dport" | "--dports" => {
                let name = if option.starts_with("--s") {
                    "sport"
                } else {
                    "dport"
                };
                let known = ["tcp", "udp", "udplite", "sctp", "dccp"];
                let protocol = protocol.filter(|name| known.contains(name));
                let ports = words.next().unwrap_or_default().split(',').map(ports);
                add(of(protocol.unwrap_or_default(), name), ports.collect());
            }
            "--comment" => {
                words.next();
            }
            "-m" => {
                let known = [
                    "tcp",
                    "udp",
                    "udplite",
                    "sctp",
                    "dccp",
                    "comment",
                    "multiport",
                ];
                if !words.next().is_some_and(|name| known.contains(&name)) {
                    statements.push(Statement::Maybe);
                    is_lost = true;
                }
            }
            "-g" => {
                let target = words.next().unwrap_or_default().to_owned();
                statements.push(Statement::Verdict(Verdict::Goto(target)));
                break;
            }
            "-j" => {
                let name = words.next().unwrap_or_default();
                // What follows are its options; a name without any may be a chain's.
                let is_chain =
                    words.peek().is_none() && matches!(target(name), Some(Statement::Unknown));
                statements.extend(if is_chain {
                    Some(Statement::Verdict(Verdict::Jump(name.to_owned())))
                } else {
                    target(name)
                });
                break;
            }
            _ => statements.push(Statement::Maybe),
        }
    }
    statements
}

fn condition(is_not: bool, left: Expression, patterns: Vec<Pattern>) -> RuleCondition {
    let elements = patterns.into_iter().map(|pattern| SetElement {
        key: vec![pattern],
        data: ElementData::None,
        is_uncertain: false,
    });
    RuleCondition {
        operator: if is_not { "!=" } else { "==" }.to_owned(),
        left,
        right: SetReference::Anonymous(ElementSet {
            is_changing: false,
            elements: elements.collect(),
        }),
    }
}

fn address(word: Option<&str>) -> Pattern {
    let word = word.unwrap_or_default();
    let (address, len) = word.split_once('/').unwrap_or((word, ""));
    let len = match len {
        "" if address.contains(':') => Some(128),
        "" => Some(32),
        len => len.parse().ok(),
    };
    len.and_then(|len| prefix(address, len))
        .unwrap_or(Pattern::Unknown)
}

fn interface(word: Option<&str>) -> Pattern {
    let word = word.unwrap_or_default();
    Pattern::Text(match word.strip_suffix('+') {
        Some(start) => format!("{start}*"),
        None => word.to_owned(),
    })
}

fn ports(word: &str) -> Pattern {
    let number = |word: &str| word.parse::<u16>().ok().map(u128::from);
    let pattern = match word.split_once(':') {
        Some((first, last)) => number(first)
            .zip(number(last))
            .map(|(first, last)| Pattern::Range(first, last)),
        None => number(word).map(Pattern::Number),
    };
    pattern.unwrap_or(Pattern::Unknown)
}

fn protocol_number(name: &str) -> Option<u128> {
    Some(match name {
        "icmp" => 1,
        "tcp" => 6,
        "udp" => 17,
        "ipv6-icmp" | "icmpv6" => 58,
        "gre" => 47,
        "esp" => 50,
        "ah" => 51,
        "sctp" => 132,
        "udplite" => 136,
        number => {
            return number
                .parse::<u8>()
                .ok()
                .filter(|&number| number > 0)
                .map(u128::from);
        }
    })
}

/// Returns the line of a rule, or that of the chain's policy.
pub fn line(saved: &str, table: &str, chain: &str, rule: Option<u64>) -> Option<String> {
    let mut lines = saved
        .lines()
        .skip_while(|line| line.strip_prefix('*') != Some(table))
        .take_while(|line| *line != "COMMIT");
    let line = match rule {
        Some(number) => {
            let begin = format!("-A {chain} ");
            let is_its = |line: &&str| {
                line.split_once("] ")
                    .is_some_and(|(_, line)| line.starts_with(&begin))
            };
            let position = usize::try_from(number.checked_sub(1)?).ok()?;
            lines.filter(is_its).nth(position)
        }
        None => lines.find(|line| line.starts_with(&format!(":{chain} "))),
    };
    line.map(str::to_owned)
}
