//! Writes the answers to the protocol's calls. An answer consists of sentences, one per line: a word and
//! groups `{name=value}`.

use std::fmt::Write;

use super::control::LOGGER;
use super::interface::ExtcapInterface;
use super::options::{self, Entry, Row};
use crate::run;

/// Returns the sentences that describe the program, its interfaces and its toolbar.
pub fn interfaces() -> String {
    let mut text = format!("extcap {{version={}}}\n", env!("CARGO_PKG_VERSION"));
    for interface in ExtcapInterface::ALL {
        let _ = writeln!(
            text,
            "interface {{value={}}}{{display={}}}",
            interface.name(),
            interface.display()
        );
    }
    let _ = writeln!(
        text,
        "control {{number={LOGGER}}}{{type=button}}{{role=logger}}{{display=Log}}\
         {{tooltip=dwdump's messages about the capture}}"
    );
    text
}

/// Returns the sentence that describes the link type. It is only shown: the interfaces in the pcapng
/// stream have their own link types.
pub fn link_types() -> String {
    "dlt {number=1}{name=EN10MB}{display=Ethernet, or each packet's own}\n".into()
}

/// Returns the sentences that describe the options of an interface.
pub fn options(interface: ExtcapInterface) -> String {
    let command_line = options::command_line();
    let mut text = String::new();
    let mut values = String::new();
    for (number, row) in options::rows(interface).enumerate() {
        let default = row.default().filter(|default| !default.is_empty());
        let (kind, more) = match row.entry {
            Entry::Flag => ("boolflag", "{default=false}".to_owned()),
            Entry::Number(range, _) => ("unsigned", format!("{{range={range}}}")),
            Entry::Text(example) => ("string", format!("{{placeholder={example}}}")),
            Entry::File => ("fileselect", "{mustexist=true}".into()),
            Entry::Choice(_) | Entry::ChoiceOfCommandLine(_) => ("selector", String::new()),
            Entry::NetworkInterface | Entry::Reason => {
                ("selector", "{reload=true}{placeholder=Reload}".into())
            }
        };
        let choices = row.choices(&command_line);
        let is_selector = !choices.is_empty();
        let default = default.filter(|_| !is_selector);
        let default = default.map_or_else(String::new, |default| format!("{{default={default}}}"));
        let _ = writeln!(
            text,
            "arg {{number={number}}}{{call=--{}}}{{display={}}}{{type={kind}}}{default}{more}\
             {{tooltip={}}}{{group={}}}",
            row.name,
            row.display,
            row.tooltip(&command_line),
            row.tab
        );
        values.push_str(&sentences(number, row, &choices));
    }
    text + &values
}

/// Returns the sentences that list the values of a selector on this host, for a reload.
pub fn values(row: Option<&'static Row>) -> String {
    let Some(row) = row else {
        return String::new();
    };
    let choices = match row.entry {
        Entry::NetworkInterface => network_interfaces(),
        Entry::Reason => options::reasons(run::drop_reasons().into_iter()),
        _ => row.choices(&options::command_line()),
    };
    let mut rows = options::rows(ExtcapInterface::Drops);
    let number = rows.position(|other| other.name == row.name);
    sentences(number.unwrap_or(0), row, &choices)
}

fn network_interfaces() -> Vec<(String, String)> {
    let mut choices = vec![(String::new(), "any".to_owned())];
    if let Ok(interfaces) = nix::net::if_::if_nameindex() {
        for interface in &interfaces {
            let name = interface.name().to_string_lossy().into_owned();
            choices.push((name.clone(), name));
        }
    }
    choices
}

/// Returns the sentences that list the values of the option with this number.
fn sentences(number: usize, row: &Row, choices: &[(String, String)]) -> String {
    let mut text = String::new();
    // A brace or a line end in a name would end the sentence. Such names are left out of the list.
    let is_plain = |word: &str| !word.contains(['{', '}']) && !word.chars().any(char::is_control);
    let plain = choices
        .iter()
        .filter(|(value, display)| is_plain(value) && is_plain(display));
    for (value, display) in plain {
        let default = if Some(value.as_str()) == row.default() {
            "{default=true}"
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "value {{arg={number}}}{{value={value}}}{{display={display}}}{default}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line is a word and groups in braces, as Wireshark takes them apart.
    #[track_caller]
    fn check_sentences(text: &str) {
        for line in text.lines() {
            let (word, groups) = line.split_once(' ').unwrap();
            assert!(["extcap", "interface", "control", "dlt", "arg", "value"].contains(&word));
            let inner = groups
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'));
            for group in inner.unwrap().split("}{") {
                let (name, value) = group.split_once('=').unwrap();
                assert!(name.bytes().all(|byte| byte.is_ascii_lowercase()), "{line}");
                assert!(!value.contains(['{', '}']), "{line}");
            }
        }
    }

    #[test]
    fn answers_are_sentences() {
        check_sentences(&interfaces());
        check_sentences(&link_types());
        for interface in ExtcapInterface::ALL {
            check_sentences(&options(interface));
            for row in options::rows(interface) {
                check_sentences(&values(Some(row)));
            }
        }
    }

    #[test]
    fn reloaded_values_belong_to_their_option() {
        let config = options(ExtcapInterface::Drops);
        for name in ["interface", "reason"] {
            let arg = config
                .lines()
                .find(|line| line.contains(&format!("{{call=--{name}}}")));
            let number = arg.unwrap().split_once("{number=").unwrap().1;
            let number = number.split_once('}').unwrap().0;
            let reloaded = values(options::row(name));
            assert!(reloaded.lines().count() > 1, "{reloaded}");
            assert!(
                reloaded
                    .lines()
                    .all(|line| line.starts_with(&format!("value {{arg={number}}}")))
            );
        }
    }

    #[test]
    fn odd_names_are_left_out_of_a_list() {
        let choices = ["eth0", "a}b", "a{b", "a\nb"].map(|name| (name.to_owned(), name.to_owned()));
        let text = sentences(0, options::row("interface").unwrap(), &choices);
        assert_eq!(text, "value {arg=0}{value=eth0}{display=eth0}\n");
    }
}
