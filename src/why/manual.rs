//! dwdump-why(7) has the texts of all causes.

use std::path::Path;

use super::{CauseText, FAMILIES};
use crate::reason::manual::roff;

const PAGE: &str = "man/dwdump-why.7";
const BEGIN: &str = ".\\\" generated: begin\n";
const END: &str = ".\\\" generated: end\n";

fn section(cause: &CauseText) -> String {
    let CauseText {
        id,
        title,
        evidence,
        cure,
    } = cause;
    let (title, evidence, cure) = (roff(title), roff(evidence), roff(cure));
    let title = title.trim_end();
    format!(".TP\n.B {id}\n{title}.\n.IP\n.I Looks at:\n{evidence}.IP\n.I Cure:\n{cure}")
}

/// The sections of all families, by title.
fn causes() -> String {
    let mut families = FAMILIES.to_vec();
    families.sort_by_key(|family| family.title);
    let sections = families.iter().map(|family| {
        let causes = family.causes.iter().map(section);
        let title = roff(family.title);
        format!(".SS {title}{}", causes.collect::<String>())
    });
    sections.collect()
}

#[test]
fn the_page_has_the_causes_of_the_program() {
    let page = std::fs::read_to_string(Path::new(PAGE)).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let wanted = format!("{head}{BEGIN}{}{END}{tail}", causes());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(PAGE, wanted).unwrap();
        return;
    }
    assert!(
        page == wanted,
        "{PAGE} is stale: UPDATE_GOLDEN=1 cargo test --lib why::manual"
    );
}

#[test]
fn each_cause_is_described_whole_and_once() {
    let mut ids = std::collections::BTreeSet::new();
    let mut titles = std::collections::BTreeSet::new();
    for family in FAMILIES {
        assert!(titles.insert(family.title), "{}", family.title);
        assert!(!family.title.ends_with('.'), "{}", family.title);
        assert!(!family.causes.is_empty(), "{}", family.title);
        for cause in family.causes {
            let id = cause.id;
            let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(!id.is_empty() && id.chars().all(is_name), "{id}");
            assert!(ids.insert(id), "{id} is there twice");
            assert!(!cause.title.ends_with('.'), "{id}: {}", cause.title);
            for text in [cause.evidence, cause.cure] {
                assert!(text.ends_with('.') && text.is_ascii(), "{id}: {text}");
            }
        }
    }
}

#[test]
fn a_reason_or_function_tells_what_is_looked_at() {
    let of = |name| super::looked_at(name).collect::<Vec<_>>();
    let expected =
        "The groups of the interface that the packet came in by (/proc/net/igmp, /proc/net/igmp6)";
    assert!(of("ip6_mc_input").contains(&("Multicast groups", expected)));
    assert!(of("NETFILTER_DROP").len() >= 2);
    assert_eq!(of("TCP_OFOMERGE"), []);
    for family in FAMILIES {
        assert!(!family.drops.is_empty(), "{}", family.title);
    }
}
