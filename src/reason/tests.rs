//! Checks that the catalogue is complete, well-formed and sorted, and that lookups find its entries.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;

/// Returns the path of a fixture: the names of real kernels, and golden texts.
fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

/// Returns the texts that entries of reasons and of functions have in common.
fn texts() -> impl Iterator<
    Item = (
        &'static str,
        &'static str,
        [&'static [&'static str]; 2],
        Noise,
    ),
> {
    let reasons = all()
        .iter()
        .map(|e| (e.name, e.meaning, [&e.causes[..], &e.checks], e.noise));
    let places = functions()
        .iter()
        .map(|p| (p.function, p.meaning, [&p.causes[..], &p.checks], p.noise));
    reasons.chain(places)
}

#[test]
fn every_reason_of_four_kernels_and_their_modules_has_an_entry() {
    for list in [
        "6.1",
        "6.12",
        "6.18",
        "7.2",
        "mac80211-6.12",
        "mac80211-7.2",
        "openvswitch-6.12",
        "openvswitch-7.2",
    ] {
        let names = fs::read_to_string(fixture(&format!("reasons/{list}.txt"))).unwrap();
        assert!(names.lines().count() > 10, "{list}");
        for name in names.lines() {
            let entry = explain(name.as_bytes());
            assert_eq!(entry.map(|entry| entry.name), Some(name), "{list}");
        }
    }
}

#[test]
fn every_function_that_the_captures_name_without_a_reason_has_an_entry() {
    for function in [
        "arp_process",
        "gre_rcv",
        "icmpv6_rcv",
        "inet_frag_rbtree_purge",
        "ip6_mc_input",
        "ip_rcv_finish_core.constprop.0",
        "ip_rcv_finish_core.isra.0",
        "skb_release_data",
        "tun_queue_purge",
        "vxlan_xmit_one",
        "xfrm_input",
    ] {
        assert!(
            explain_function(function.as_bytes()).is_some(),
            "{function}"
        );
    }
}

#[test]
fn entries_are_sorted_unique_and_well_formed() {
    assert!(all().windows(2).all(|pair| pair[0].name < pair[1].name));
    assert!(
        functions()
            .windows(2)
            .all(|pair| pair[0].function < pair[1].function)
    );
    assert!(functions().len() >= 60);
    let is_version = |version: &str| {
        let mut ends = version.splitn(2, "..");
        ends.all(|end| {
            let number = |part: &str| part.parse::<u8>().is_ok();
            end.split_once('.')
                .is_some_and(|(major, minor)| number(major) && number(minor))
        })
    };
    for entry in all() {
        let name = entry.name;
        let upper = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(upper) && name.len() <= 50, "{name}");
        assert!(!name.starts_with("SKB_DROP_REASON_"), "{name}");
        assert!(is_version(entry.since), "{name}: {}", entry.since);
        assert!(entry.until.is_none_or(is_version), "{name}");
        if let Some(renamed) = entry.renamed {
            assert!(entry.until.is_some(), "{name}");
            assert!(explain(renamed.as_bytes()).is_some(), "{name}: {renamed}");
        }
    }
    for place in functions() {
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(place.function.chars().all(lower), "{}", place.function);
    }
}

#[test]
fn no_entry_is_empty_and_every_sentence_is_whole() {
    for (name, meaning, [causes, checks], noise) in texts() {
        assert!(
            meaning.ends_with('.') && meaning.len() > 20,
            "{name}: {meaning}"
        );
        assert!(!causes.is_empty() && !checks.is_empty(), "{name}");
        for text in causes.iter().chain(checks).chain([&noise.why()]) {
            assert!(!text.is_empty() && text.trim() == *text, "{name}: {text}");
            assert!(!text.contains('\n') && !text.ends_with('.'), "{name}");
        }
    }
}

#[test]
fn checks_are_commands_that_can_be_pasted() {
    const TOOLS: &[&str] = &[
        "arping",
        "ausearch",
        "bpftool",
        "bridge",
        "cat",
        "conntrack",
        "devlink",
        "dwdump",
        "ebtables",
        "ethtool",
        "free",
        "ip",
        "ip6tables-save",
        "iptables-nft-save",
        "iptables-save",
        "iw",
        "journalctl",
        "lsmod",
        "mpstat",
        "mtr",
        "nft",
        "nstat",
        "ovs-appctl",
        "ovs-ofctl",
        "ovs-vsctl",
        "perf",
        "ping",
        "rdisc6",
        "ss",
        "swanctl",
        "sysctl",
        "systemctl",
        "tc",
        "tcpdump",
        "top",
        "tracepath",
        "wg",
    ];
    for (name, _, [_, checks], _) in texts() {
        let mut seen = BTreeSet::new();
        for check in checks {
            let tool = check.split(' ').next().unwrap();
            assert!(TOOLS.contains(&tool), "{name}: {check}");
            assert!(seen.insert(check), "{name}: {check} stands twice");
            // A command has no placeholder, and nothing that a shell would expand.
            let plain = |c: char| c.is_ascii_alphanumeric() || " _-./:='*,".contains(c);
            assert!(check.chars().all(plain), "{name}: {check}");
            let quoted = check.matches('\'').count();
            assert!(quoted == 0 || quoted == 2, "{name}: {check}");
            assert!(!check.contains('*') || quoted == 2, "{name}: {check}");
        }
    }
}

#[test]
fn a_reason_is_found_in_any_case_with_or_without_its_prefix() {
    for name in [
        "NETFILTER_DROP",
        "netfilter_drop",
        "SKB_DROP_REASON_NETFILTER_DROP",
        "skb_drop_reason_Netfilter_Drop",
    ] {
        assert_eq!(explain(name.as_bytes()).unwrap().name, "NETFILTER_DROP");
    }
    for unknown in ["", "SKB_DROP_REASON_", "NETFILTER", "\u{17f}ocket_close"] {
        assert_eq!(explain(unknown.as_bytes()), None, "{unknown}");
    }
}

#[test]
fn a_function_is_found_with_what_a_compiler_and_the_kernel_append() {
    for name in [
        "ip_rcv_finish_core",
        "ip_rcv_finish_core.constprop.0",
        "ip_rcv_finish_core.isra.0",
        "ip_rcv_finish_core.part.0",
        "ip_rcv_finish_core.isra.0.cold",
        "ip_rcv_finish_core+0x1a2/0x2d0",
        "ip_rcv_finish_core [ip]",
    ] {
        let place = explain_function(name.as_bytes()).unwrap();
        assert_eq!(place.function, "ip_rcv_finish_core");
    }
    assert_eq!(explain_function(b""), None);
    assert_eq!(explain_function(b"no_such_function"), None);
}

#[test]
fn every_entry_is_found_by_its_name() {
    for entry in all() {
        assert_eq!(explain(entry.name.as_bytes()), Some(entry));
        assert_eq!(
            look_up(entry.name.as_bytes()),
            Ok(Explanation::Reason(entry))
        );
    }
    for place in functions() {
        assert_eq!(explain_function(place.function.as_bytes()), Some(place));
        let found = look_up(place.function.as_bytes());
        assert_eq!(found, Ok(Explanation::Function(place)));
    }
    assert_eq!(look_up(b"Noise"), Ok(Explanation::Noise));
}

#[test]
fn a_mistyped_name_is_answered_with_the_nearest() {
    #[track_caller]
    fn check(typed: &str, meant: Option<&str>) {
        let unknown = look_up(typed.as_bytes()).unwrap_err();
        assert_eq!(unknown.nearest(), meant);
    }
    check("NETFLITER_DROP", Some("NETFILTER_DROP"));
    check("nosocket", Some("NO_SOCKET"));
    check("SKB_DROP_REASON_NO_SOKET", Some("NO_SOCKET"));
    check("ip_rcv_finish_coer", Some("ip_rcv_finish_core"));
    check("NETFILTER", Some("NETFILTER_DROP"));
    check("RPFILTER", Some("IP_RPFILTER"));
    check("WHATEVER_THIS_MAY_BE", None);
    check("", None);
    check(&"X".repeat(5000), None);
}

#[test]
fn an_unknown_name_is_shown_without_control_characters() {
    let unknown = look_up(b"\x1b[31mFOO").unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "unknown drop reason or function '\\x1b[31mFOO'"
    );
}

#[test]
fn the_reason_says_what_is_noise_and_else_the_function() {
    #[track_caller]
    fn check(reason: Option<&str>, function: Option<&str>, noise: bool) {
        let bytes = |text: Option<&'static str>| text.map(str::as_bytes);
        let leak = |text: Option<&str>| text.map(|text| &*text.to_owned().leak());
        assert_eq!(is_noise(bytes(leak(reason)), bytes(leak(function))), noise);
    }
    check(Some("OTHERHOST"), Some("ip_rcv_core"), true);
    check(Some("NETFILTER_DROP"), Some("nft_do_chain"), false);
    check(Some("TCP_CSUM"), Some("ip6_mc_input"), false);
    check(Some("NOT_SPECIFIED"), Some("ip6_mc_input"), true);
    check(
        Some("NOT_SPECIFIED"),
        Some("ip_rcv_finish_core.isra.0"),
        false,
    );
    check(None, Some("icmpv6_rcv"), true);
    check(Some("NOT_SPECIFIED"), Some("no_such_function"), false);
    check(Some("BRAND_NEW_REASON"), Some("ip6_mc_input"), false);
    check(Some("NOT_SPECIFIED"), None, false);
    check(None, None, false);
}

#[test]
fn a_drop_without_a_reason_has_the_meaning_of_its_place() {
    let no_socket = explain(b"NO_SOCKET").unwrap().meaning;
    let unspecified = explain(b"NOT_SPECIFIED").unwrap().meaning;
    let gre = explain_function(b"gre_rcv").unwrap().meaning;
    assert_eq!(
        meaning(Some(b"NO_SOCKET"), Some(b"gre_rcv")),
        Some(no_socket)
    );
    assert_eq!(meaning(Some(b"NOT_SPECIFIED"), Some(b"gre_rcv")), Some(gre));
    assert_eq!(
        meaning(Some(b"NOT_SPECIFIED"), Some(b"f")),
        Some(unspecified)
    );
    assert_eq!(meaning(Some(b"NOT_SPECIFIED"), None), Some(unspecified));
    assert_eq!(meaning(None, Some(b"gre_rcv")), Some(gre));
    assert_eq!(meaning(Some(b"BRAND_NEW"), Some(b"gre_rcv")), Some(gre));
    assert_eq!(meaning(Some(b"BRAND_NEW"), Some(b"f")), None);
    assert_eq!(meaning(None, None), None);
}

/// Compares a text with a golden file, which is rewritten if it differs.
fn is_golden(name: &str, shown: &str) -> bool {
    let path = fixture("explain").join(name);
    let fresh = fs::read_to_string(&path).is_ok_and(|golden| golden == shown);
    if !fresh {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, shown).unwrap();
    }
    fresh
}

#[test]
fn rendered_texts_are_as_in_the_golden_files() {
    let entry = |name: &str| look_up(name.as_bytes()).unwrap().to_string();
    let shown = [
        ("NETFILTER_DROP.txt", entry("NETFILTER_DROP")),
        ("PTYPE_ABSENT.txt", entry("PTYPE_ABSENT")),
        ("ip_rcv_finish_core.txt", entry("ip_rcv_finish_core")),
        ("noise.txt", entry("noise")),
        ("list.txt", List.to_string()),
    ];
    let is_stale = |(name, shown): &&(&str, String)| !is_golden(name, shown);
    let stale: Vec<_> = shown
        .iter()
        .filter(is_stale)
        .map(|&(name, _)| name)
        .collect();
    assert!(
        stale.is_empty(),
        "rewritten in fixtures/explain, look at the difference: {stale:?}"
    );
}

#[test]
fn rendered_prose_fits_a_terminal() {
    let reasons = all().iter().map(|entry| (entry.to_string(), &entry.checks));
    let places = functions()
        .iter()
        .map(|place| (place.to_string(), &place.checks));
    for (shown, checks) in reasons.chain(places) {
        assert!(shown.ends_with('\n') && !shown.ends_with("\n\n"));
        for line in shown.lines() {
            assert!(line.len() <= 80 || checks.contains(&line.trim()), "{line}");
            assert_eq!(line.trim_end(), line);
        }
    }
}
