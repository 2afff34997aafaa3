//! Checks a capture filter and reports an error in one line.

use crate::filter::{Filter, NameLookup, SystemNames};
use crate::record::Escaped;

/// Checks a filter. The error is one line that names the column, because Wireshark shows no carets.
pub fn check(text: &str) -> Result<(), String> {
    check_with(text, &SystemNames)
}

/// Checks a filter with the names of a host.
pub fn check_with(text: &str, names: &dyn NameLookup) -> Result<(), String> {
    let Err(error) = Filter::parse(text, names) else {
        return Ok(());
    };
    let span = error.span();
    let column = text.get(..span.start).unwrap_or(text).chars().count() + 1;
    let place = match text.get(span) {
        Some(found) if !found.trim().is_empty() => {
            format!("at column {column} ({})", Escaped(found.as_bytes()))
        }
        _ => format!("at column {column}"),
    };
    // A message has line ends where it quotes a filter that has.
    let message = error.message().split_whitespace().collect::<Vec<_>>();
    Err(format!("invalid filter: {}, {place}", message.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_with_its_column() {
        #[track_caller]
        fn check_error(text: &str, expected: &str) {
            assert_eq!(check(text).unwrap_err(), expected);
        }
        check_error(
            "tcp and port 70000",
            "invalid filter: expected a port number from 0 to 65535, at column 14 (70000)",
        );
        let missing = check("tcp and").unwrap_err();
        assert!(missing.ends_with(", at column 8"), "{missing}");
        let lines = check("tcp and\nport\n\u{1b}[1m").unwrap_err();
        assert!(!lines.contains(['\n', '\u{1b}']), "{lines}");
    }

    #[test]
    fn a_filter_in_dwdumps_language_is_valid() {
        for text in [
            "",
            "saddr 10.10.2.4",
            "reason NETFILTER_DROP and tcp port 80",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }
}
