//! Properties of every expression and every packet.

use proptest::prelude::*;

use super::super::Filter;
use super::super::names::FixedNames;
use super::grammar::{any_expression, packet_expression, packet_primitive};
use super::parse;
use super::records::{bytes, interface, link, record, software};

proptest! {
    #[test]
    fn the_canonical_form_is_the_same_filter(text in any_expression()) {
        let filter = parse(&text);
        let canonical = filter.to_string();
        let again = parse(&canonical);
        prop_assert_eq!(&again, &filter, "{}", canonical);
        prop_assert_eq!(again.to_string(), canonical);
    }

    #[test]
    fn no_input_panics_the_parser(text in ".*") {
        let _ = Filter::parse(&text, &FixedNames).map_err(|error| error.to_string());
    }

    #[test]
    fn no_words_panic_the_parser(words in proptest::collection::vec(word(), 0..12)) {
        let text = words.join(" ");
        match Filter::parse(&text, &FixedNames) {
            Ok(filter) => prop_assert_eq!(&parse(&filter.to_string()), &filter),
            Err(error) => {
                prop_assert!(error.span().end <= text.len());
                let shown = error.to_string();
                prop_assert_eq!(shown.lines().count(), 3);
            }
        }
    }

    /// Names of the drop may be made of the language's own words and signs.
    #[test]
    fn a_name_like_a_word_of_the_language_is_shown_as_that_name(
        word in proptest::sample::select(vec![
            "reason", "location", "module", "iface", "ifname", "netns", "device", "comm", "unit", "trap",
        ]),
        sign in proptest::sample::select(vec!["", "= ", "== "]),
        pieces in proptest::collection::vec(proptest::sample::select(vec![
            "or", "and", "not", "initial", "other", "7", "0x", "*", "?", ":", ".", "-", "=", "!", "<",
            "/", "\\", "\\x6f", "\\x22", "\"", "'", "(", "|", " ", "é",
        ]), 1..5),
    ) {
        let text = format!("{word} {sign}{}", pieces.concat());
        if let Ok(filter) = Filter::parse(&text, &FixedNames) {
            let canonical = filter.to_string();
            match Filter::parse(&canonical, &FixedNames) {
                Ok(again) => prop_assert_eq!(again, filter, "{} as {}", text, canonical),
                Err(error) => prop_assert!(false, "{} as {}: {}", text, canonical, error),
            }
        }
    }

    #[test]
    fn de_morgan_and_double_negation_hold_even_for_cut_packets(
        one in packet_primitive(),
        other in any_expression(),
        data in bytes(),
        link in link(),
    ) {
        let mut packet = record(link, &data);
        packet.original_len += 10;
        packet.cause = software("NO_SOCKET", "ip_rcv+0x1/0x2");
        packet.input = Some(interface(2, "eth0"));
        let holds = |text: &str| parse(text).matches(&packet);
        // Each side is evaluated separately, so that a `vlan` on one side does not move the headers
        // of the other.
        let (one, other) = (format!("inner ({one})"), format!("inner ({other})"));
        prop_assert_eq!(
            holds(&format!("not ({one} and {other})")),
            holds(&format!("not {one} or not {other}"))
        );
        prop_assert_eq!(
            holds(&format!("not ({one} or {other})")),
            holds(&format!("not {one} and not {other}"))
        );
        prop_assert_eq!(holds(&one), holds(&format!("not (not ({one}))")));
    }

    #[test]
    fn an_expression_or_its_opposite_holds_where_no_byte_is_missing(
        one in packet_primitive(),
        data in bytes(),
        link in link(),
    ) {
        prop_assume!(link != crate::record::LinkType::IEEE802_11);
        // The primitives that move the headers would move them a second time.
        prop_assume!(!["vlan", "mpls", "pppoes"].iter().any(|word| one.starts_with(word)));
        let mut long = data;
        long.resize(4096, 0);
        let packet = record(link, &long);
        let text = format!("{one} or not ({one})");
        prop_assert!(parse(&text).matches(&packet), "{}", text);
    }

    #[test]
    fn an_expression_and_its_opposite_never_both_hold(
        text in packet_expression(),
        data in bytes(),
        link in link(),
    ) {
        let packet = record(link, &data);
        let opposite = parse(&format!("not ({text})"));
        prop_assert!(!(parse(&text).matches(&packet) && opposite.matches(&packet)));
    }

    #[test]
    fn a_longer_capture_never_changes_a_certain_answer(
        text in any_expression(),
        data in bytes(),
        cut in 0_usize..140,
        link in link(),
    ) {
        // It asks what was captured: a packet that is cut before its addresses has no flow to be counted by.
        prop_assume!(!text.contains("flow none"));
        let whole = record(link, &data);
        let mut short = whole;
        short.data = &data[..cut.min(data.len())];
        let (filter, opposite) = (parse(&text), parse(&format!("not ({text})")));
        prop_assert!(!filter.matches(&short) || filter.matches(&whole));
        prop_assert!(!opposite.matches(&short) || opposite.matches(&whole));
    }
}

fn word() -> impl Strategy<Value = String> {
    let words = [
        "tcp",
        "ip",
        "ip6",
        "ether",
        "arp",
        "host",
        "net",
        "port",
        "src",
        "dst",
        "and",
        "or",
        "not",
        "(",
        ")",
        "[",
        "]",
        ":",
        "-",
        "&",
        "|",
        "%",
        "=",
        "!=",
        "10.0.0.1",
        "10/8",
        "80",
        "443",
        "len",
        "0x10",
        "vlan",
        "mpls",
        "inner",
        "reason",
        "NO_*",
        "iface",
        "\"a b\"",
        "saddr",
        "sport",
        "flow",
        "proto",
        "\\tcp",
        "tcp[13]",
        "ip[0:2]",
        "1 + 2",
        "tcp-syn",
        "mask",
        "::1",
        "02:00:00:00:00:01",
    ];
    proptest::sample::select(words.to_vec()).prop_map(str::to_owned)
}
