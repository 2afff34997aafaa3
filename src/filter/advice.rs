//! Gives hints for words that users know from other tools, or in another spelling.

use super::lex::{self, Parsed, ParserInput, expected, fail, peek_character, peek_word, position};
use super::names::Service;
use super::words;
use crate::reason;

/// Returns a hint for an unknown word.
pub fn for_unknown(input: &ParserInput<'_>, word: &str) -> String {
    let lower = word.to_ascii_lowercase();
    let begins = word.split('-').next().unwrap_or_default();
    if lower != word && words::is_keyword(&lower) {
        return in_lower_case(&lower);
    }
    if let Some(hint) = known_elsewhere(&lower) {
        return hint.to_owned();
    }
    if reason::all().iter().any(|entry| entry.name == word) {
        return format!("a drop reason needs `reason` before it: `reason {word}`");
    }
    if input.state.names.service(&lower) != Service::default() {
        return format!("a service needs `port` before it: `port {lower}`");
    }
    if begins != word && words::is_keyword(begins) {
        return "`-` needs blanks around it".to_owned();
    }
    "a name needs `host` before it".to_owned()
}

/// Returns `: ` and a hint if the name is a keyword in another case; else nothing.
pub fn for_case(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    if lower != name && words::is_keyword(&lower) {
        format!(": {}", in_lower_case(&lower))
    } else {
        String::new()
    }
}

/// Returns `: ` and a hint if services(5) has the name in another case, or if it is a keyword in
/// another case.
pub fn for_service(input: &ParserInput<'_>, name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    if lower != name && input.state.names.service(&lower) != Service::default() {
        return format!(": `{lower}` is");
    }
    for_case(name)
}

fn in_lower_case(word: &str) -> String {
    format!("words are written in lower case: `{word}`")
}

/// Returns the hint for a word of another tool.
fn known_elsewhere(word: &str) -> Option<&'static str> {
    Some(match word {
        "vxlan" => "`inner` looks into VXLAN tunnels: `inner tcp`, `udp port 4789 and inner arp`",
        "ipip" | "tunnel" => "`inner` looks into tunnels: `ip proto 4 and inner tcp`",
        "ipv4" | "ip4" => "IPv4 is `ip`",
        "ipv6" => "IPv6 is `ip6`",
        "icmpv6" => "ICMP over IPv6 is `icmp6`",
        "icmpv4" | "icmp4" => "ICMP over IPv4 is `icmp`",
        "interface" | "dev" | "iif" | "nic" => "an interface is `iface`: `iface eth0`",
        "protocol" | "ipproto" => "a protocol is `proto`: `ip proto 47`",
        "function" | "symbol" | "func" => {
            "a function of the kernel is `location`: `location ip_rcv`"
        }
        "length" | "size" => "the length is `len`: `len > 100`",
        "syn" | "ack" | "rst" | "fin" | "flags" => {
            "TCP's flags are bits: `tcp[tcpflags] & tcp-syn != 0`"
        }
        "sip" | "srcip" | "source" => "a source address is `src host`: `src host 10.0.0.1`",
        "dip" | "dstip" | "destination" => "a destination is `dst host`: `dst host 10.0.0.1`",
        word if is_of_wireshark(word) => {
            "this is a Wireshark field; write `tcp port 80`, `src host 10.0.0.1`, `len > 100`"
        }
        _ => return None,
    })
}

/// Returns whether the word is one of Wireshark's fields: `tcp.port`, `ip.addr`, `frame.len`.
fn is_of_wireshark(word: &str) -> bool {
    word.split_once('.').is_some_and(|(protocol, field)| {
        let is_known = words::is_keyword(protocol)
            || matches!(
                protocol,
                "eth" | "frame" | "ipv6" | "icmpv6" | "dns" | "http"
            );
        is_known && field.starts_with(|c: char| c.is_ascii_alphabetic())
    })
}

/// Fails because neither `and` nor `or` follows, with a hint if the text looks like a slip.
/// `wanted` lists everything that could follow.
pub fn expected_connective<T>(input: &mut ParserInput<'_>, wanted: &str) -> Parsed<T> {
    let start = position(input)?;
    let word = peek_word(input)?;
    let hint = match word.to_ascii_lowercase().as_str() {
        lower @ ("and" | "or" | "not") if lower != word => Some(in_lower_case(lower)),
        _ => match peek_character(input)? {
            Some(',') => Some("names are joined by `or`".to_owned()),
            Some('|') => Some("it is written `or` or `||`".to_owned()),
            Some('&') => Some("it is written `and` or `&&`".to_owned()),
            Some('[') => Some("put names with blanks in double quotes".to_owned()),
            _ => None,
        },
    };
    match hint {
        Some(hint) => fail(
            start..start + word.len().max(1),
            format!("expected {wanted}: {hint}"),
        ),
        None => expected(input, wanted),
    }
}

/// Fails if a sign comes next that other languages have between a word and its name.
pub fn refuse_sign(input: &mut ParserInput<'_>) -> Parsed<()> {
    for sign in ["==", "=", "!="] {
        if lex::peek_sign(input, sign)? {
            let start = position(input)?;
            return fail(start..start + sign.len(), WITHOUT_SIGN);
        }
    }
    Ok(())
}

pub const WITHOUT_SIGN: &str = "expected a name directly after the word, without a sign";
