//! Parses what `nft -j -n list ruleset` writes (libnftables-json(5)). What is not understood becomes a part that nothing
//! is known of: later versions of nft have more.

use std::collections::HashMap;

use serde_json::Value;

use super::ruleset::{
    BaseChain, ElementData, ElementSet, Expression, FilterChain, FilterRule, FilterTool, Header,
    Pattern, PayloadField, RuleCondition, Ruleset, SetElement, SetReference, Statement, Verdict,
    field, prefix,
};

/// The deepest nesting of expressions that is looked into.
const MAX_DEPTH: u32 = 16;

/// Parses a ruleset.
pub fn parse(ruleset: &Value) -> Ruleset {
    let mut parsed = Ruleset::default();
    let mut dormant = Vec::new();
    let mut positions = HashMap::new();
    for object in ruleset["nftables"].as_array().into_iter().flatten() {
        let Some((kind, object)) = only(object) else {
            continue;
        };
        let table = (text(&object["family"]), text(&object["table"]));
        match kind {
            // nft 1.0.6 writes `"flags": "d"`.
            "table" if words(&object["flags"]).any(|flag| flag.starts_with('d')) => {
                dormant.push((text(&object["family"]), text(&object["name"])));
            }
            "chain" => {
                let name = text(&object["name"]);
                let key = (table.0.clone(), table.1.clone(), name.clone());
                positions.insert(key, parsed.chains.len());
                parsed.chains.push(FilterChain {
                    tool: FilterTool::Nft,
                    base: base(object).filter(|_| !dormant.contains(&table)),
                    family: table.0,
                    table: table.1,
                    name,
                    rules: Vec::new(),
                });
            }
            "rule" => {
                let key = (table.0, table.1, text(&object["chain"]));
                if let Some(&position) = positions.get(&key) {
                    parsed.chains[position].rules.push(rule(object));
                }
            }
            "set" | "map" => {
                let key = (table.0, table.1, text(&object["name"]));
                parsed.sets.insert(key, named_set(object));
            }
            _ => {}
        }
    }
    parsed
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Returns a word, or the words of a list.
fn words(value: &Value) -> impl Iterator<Item = &str> {
    let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
    value
        .as_str()
        .into_iter()
        .chain(list.iter().filter_map(Value::as_str))
}

/// Returns the key and the value of an object with a single one.
fn only(object: &Value) -> Option<(&str, &Value)> {
    let object = object.as_object().filter(|object| object.len() == 1)?;
    object
        .iter()
        .next()
        .map(|(key, value)| (key.as_str(), value))
}

fn base(object: &Value) -> Option<BaseChain> {
    Some(BaseChain {
        is_nat: object["type"] == "nat",
        hook: object["hook"].as_str()?.to_owned(),
        priority: object["prio"].as_i64()?,
        drops: object["policy"] == "drop",
        devices: words(&object["dev"]).map(str::to_owned).collect(),
    })
}

fn named_set(object: &Value) -> ElementSet {
    let has = |flag: &str| words(&object["flags"]).any(|word| word == flag);
    ElementSet {
        is_changing: has("dynamic")
            || has("timeout")
            || !object["timeout"].is_null()
            || !object["stmt"].is_null(),
        elements: elements(&object["elem"], !object["map"].is_null()),
    }
}

fn elements(list: &Value, is_map: bool) -> Vec<SetElement> {
    let list = list.as_array().into_iter().flatten();
    list.map(|value| element(value, is_map)).collect()
}

/// An element: of a set, a key; of a map, a list of a key and what it stands for.
fn element(value: &Value, is_map: bool) -> SetElement {
    let (key, data) = match value.as_array().map(Vec::as_slice) {
        Some([key, data]) if is_map => (key, data_of(data)),
        _ => (value, ElementData::None),
    };
    let details = &key["elem"];
    let (key, is_uncertain) = match details.as_object() {
        // A counter and a comment decide nothing; a limit or the end of its time may.
        Some(object) => {
            let harmless = |key: &String| ["val", "counter", "comment"].contains(&key.as_str());
            (&details["val"], !object.keys().all(harmless))
        }
        None => (key, false),
    };
    let key = match key["concat"].as_array() {
        Some(parts) => parts.iter().map(pattern).collect(),
        None => vec![pattern(key)],
    };
    SetElement {
        key,
        data,
        is_uncertain,
    }
}

fn data_of(data: &Value) -> ElementData {
    match only(data).and_then(|(kind, value)| verdict(kind, value)) {
        Some(verdict) => ElementData::Verdict(verdict),
        None => ElementData::Value(pattern(data)),
    }
}

fn number(value: &Value) -> Option<u128> {
    value.as_u64().map(u128::from)
}

fn pattern(value: &Value) -> Pattern {
    if let Some(number) = number(value) {
        return Pattern::Number(number);
    }
    match value {
        Value::String(text) if text == "*" => return Pattern::Any,
        Value::String(text) => return Pattern::Text(text.clone()),
        // Flags.
        Value::Array(flags) => {
            let numbers: Option<Vec<_>> = flags.iter().map(number).collect();
            return numbers.map_or(Pattern::Unknown, |numbers| {
                Pattern::Number(numbers.into_iter().fold(0, |all, flag| all | flag))
            });
        }
        _ => {}
    }
    let found = match only(value) {
        Some(("prefix", inner)) => inner["len"]
            .as_u64()
            .and_then(|len| prefix(inner["addr"].as_str()?, u32::try_from(len).ok()?)),
        Some(("range", ends)) => match ends.as_array().map(Vec::as_slice) {
            Some([first, last]) => pattern(first)
                .number()
                .zip(pattern(last).number())
                .map(|(first, last)| Pattern::Range(first, last)),
            _ => None,
        },
        _ => None,
    };
    found.unwrap_or(Pattern::Unknown)
}

fn rule(object: &Value) -> FilterRule {
    let statements = object["expr"].as_array().into_iter().flatten();
    FilterRule {
        handle: object["handle"].as_u64().unwrap_or(0),
        statements: statements.filter_map(statement).collect(),
    }
}

/// Parses a statement; `None` for one that changes nothing.
fn statement(value: &Value) -> Option<Statement> {
    let Some((kind, inner)) = only(value) else {
        return Some(Statement::Unknown);
    };
    if let Some(verdict) = verdict(kind, inner) {
        return Some(Statement::Verdict(verdict));
    }
    Some(match kind {
        "counter" if inner["packets"].as_u64() == Some(0) => Statement::NeverReached,
        "counter" | "log" | "notrack" | "last" | "ct helper" | "ct timeout" | "ct expectation"
        | "dup" | "secmark" => return None,
        "match" => Statement::Match(RuleCondition {
            operator: text(&inner["op"]),
            left: expression(&inner["left"], MAX_DEPTH),
            right: reference(&inner["right"], false),
        }),
        "vmap" => Statement::VerdictMap(
            expression(&inner["key"], MAX_DEPTH),
            reference(&inner["data"], true),
        ),
        "mangle" => mangle(inner)?,
        "limit" | "quota" | "ct count" | "set" | "map" | "connlimit" => Statement::Maybe,
        "snat" | "dnat" | "masquerade" | "redirect" => Statement::Translate,
        "xt" if inner["type"] == "match" => Statement::Maybe,
        "xt" if inner["type"] == "target" => target(inner["name"].as_str()?)?,
        // A watcher logs.
        "xt" if inner["type"] == "watcher" => return None,
        _ => Statement::Unknown,
    })
}

/// Returns what a target of iptables does; `None` for one that changes nothing.
pub fn target(name: &str) -> Option<Statement> {
    Some(match name {
        "ACCEPT" => Statement::Verdict(Verdict::Accept),
        "DROP" | "REJECT" => Statement::Verdict(Verdict::Drop),
        "RETURN" => Statement::Verdict(Verdict::Return),
        "NFQUEUE" | "QUEUE" => Statement::Verdict(Verdict::Queue),
        "SNAT" | "DNAT" | "MASQUERADE" | "REDIRECT" | "NETMAP" => Statement::Translate,
        "MARK" | "CONNMARK" => Statement::SetMark(Expression::Unknown),
        "TCPMSS" | "TCPOPTSTRIP" | "DSCP" | "TOS" | "TTL" | "HL" | "ECN" => Statement::Mangle,
        "LOG" | "NFLOG" | "AUDIT" | "CHECKSUM" | "CLASSIFY" | "CT" | "NOTRACK" | "TRACE" => {
            return None;
        }
        _ => Statement::Unknown,
    })
}

fn mangle(inner: &Value) -> Option<Statement> {
    match (only(&inner["key"])?.0, inner["key"]["meta"]["key"].as_str()) {
        ("meta", Some("mark")) => {
            let value = expression(&inner["value"], MAX_DEPTH);
            Some(Statement::SetMark(value))
        }
        // Only these change what rules look at afterwards; a map as the value may end the rule.
        ("ct", _) | ("meta", Some("priority" | "nftrace" | "secmark")) => {
            let is_map = !inner["value"]["map"].is_null();
            is_map.then_some(Statement::Maybe)
        }
        ("payload", _) if inner["value"]["map"].is_null() => Some(Statement::Mangle),
        _ => Some(Statement::Unknown),
    }
}

fn verdict(kind: &str, inner: &Value) -> Option<Verdict> {
    let target = || inner["target"].as_str().map(str::to_owned);
    Some(match kind {
        "accept" => Verdict::Accept,
        "drop" | "reject" => Verdict::Drop,
        "return" => Verdict::Return,
        "continue" => Verdict::Continue,
        "jump" => Verdict::Jump(target()?),
        "goto" => Verdict::Goto(target()?),
        "queue" => Verdict::Queue,
        _ => return None,
    })
}

/// The right side of a comparison, or the elements of a map.
fn reference(value: &Value, is_map: bool) -> SetReference {
    if let Some(name) = value.as_str().and_then(|text| text.strip_prefix('@')) {
        return SetReference::Named(name.to_owned());
    }
    let elements = match only(value) {
        Some(("set", list)) if list.is_array() => elements(list, is_map),
        Some(("concat" | "elem", _)) => vec![element(value, false)],
        _ => vec![SetElement {
            key: vec![pattern(value)],
            data: ElementData::None,
            is_uncertain: false,
        }],
    };
    SetReference::Anonymous(ElementSet {
        is_changing: false,
        elements,
    })
}

fn expression(value: &Value, depth: u32) -> Expression {
    let Some(depth) = depth.checked_sub(1) else {
        return Expression::Unknown;
    };
    let Some((kind, inner)) = only(value) else {
        return match pattern(value) {
            Pattern::Unknown => Expression::Unknown,
            constant => Expression::Constant(constant),
        };
    };
    match kind {
        "payload" if inner["protocol"] == "ether" && inner["field"] == "type" => {
            Expression::Meta("ether type".into())
        }
        "payload" => payload(inner).map_or(Expression::Unknown, Expression::Payload),
        "meta" => Expression::Meta(text(&inner["key"])),
        "concat" => match inner.as_array() {
            Some(parts) => Expression::Concatenation(
                parts.iter().map(|part| expression(part, depth)).collect(),
            ),
            None => Expression::Unknown,
        },
        "map" => Expression::Map(
            Box::new(expression(&inner["key"], depth)),
            reference(&inner["data"], true),
        ),
        "&" | "|" | "^" | "<<" | ">>" => match inner.as_array().map(Vec::as_slice) {
            Some([left, right]) => {
                let operator = kind.chars().next().unwrap_or('&');
                let sides = (expression(left, depth), expression(right, depth));
                Expression::Binary(operator, Box::new(sides))
            }
            _ => Expression::Unknown,
        },
        _ => Expression::Unknown,
    }
}

fn payload(inner: &Value) -> Option<PayloadField> {
    if let Some(protocol) = inner["protocol"].as_str() {
        // Inside a tunnel.
        if !inner["tunnel"].is_null() {
            return None;
        }
        return field(protocol, inner["field"].as_str()?);
    }
    let number = |key: &str| inner[key].as_u64().and_then(|n| u32::try_from(n).ok());
    Some(PayloadField {
        header: match inner["base"].as_str()? {
            "ll" => Header::Link,
            "nh" => Header::Network,
            "th" => Header::Transport,
            _ => return None,
        },
        // Longer than any packet.
        offset: number("offset").filter(|&offset| offset <= 1 << 20)?,
        bits: number("len").filter(|bits| (1..=128).contains(bits))?,
    })
}
