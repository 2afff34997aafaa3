use super::*;
use crate::record::{Link, LinkType, Location, Name, Netns, Symbol};
use crate::sink::why::BlockForm;
use crate::sink::{Color, Detail, Precision, TextStyle, Zone};
use crate::why::Grade;

const FORM: BlockForm = BlockForm::Text {
    style: TextStyle {
        zone: Zone::Utc,
        precision: Precision::Microseconds,
        detail: Detail::Line,
        color: Color::Never,
    },
    width: None,
};

/// A UDP packet from 10.0.0.1 to 10.0.0.2.
fn packet(source_port: u16, port: u16) -> Vec<u8> {
    let ip = [
        69, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    let ports = [source_port.to_be_bytes(), port.to_be_bytes()].concat();
    [&ip[..], &ports, &[0, 8, 0, 0]].concat()
}

fn drop_at<'a>(symbol: &'a str, reason: &'a str, data: &'a [u8]) -> DropRecord<'a> {
    let mut record = DropRecord::new(Link::known(LinkType::RAW), data);
    let symbol = Name::new(symbol.as_bytes()).map(Symbol);
    record.cause = Cause::Software {
        location: Location::new(None, symbol),
        reason: Name::new(reason.as_bytes()),
    };
    record
}

fn finding(cause: &str, object: Option<&str>) -> CauseFinding {
    let finding = CauseFinding::new(cause, Grade::Certain, format!("the claim of {cause}"));
    CauseFinding {
        object: object.map(str::to_owned),
        ..finding
    }
}

/// Counts a drop, which is the first of its kind.
fn count_first(kinds: &mut DropKinds, record: &DropRecord<'_>) {
    assert!(kinds.count(record).is_some(), "{record:?}");
    kinds.keep_block(CauseBlock::new(record, FORM).unwrap());
}

/// Takes a finding. Returns whether it is printed.
fn is_printed(kinds: &mut DropKinds, number: u64, finding: CauseFinding) -> bool {
    kinds.found(LookAnswer { number, finding }).is_some()
}

#[test]
fn drops_that_differ_in_what_can_decide_are_of_different_kinds() {
    let (data, other, sender) = (packet(1, 53), packet(1, 54), packet(2, 53));
    let drop = drop_at("ip_rcv+0x1/0x2", "NOT_SPECIFIED", &data);
    let mut in_namespace = drop;
    in_namespace.context.netns = Some(Netns::new(4_026_532_345, false));
    let mut marked = drop;
    marked.context.mark = Some(7);
    let mut at_device = drop;
    at_device.context.device = Name::new(b"eth0");
    let different = [
        drop,
        drop_at("ip_rcv+0x3/0x4", "NOT_SPECIFIED", &data),
        drop_at("ip_rcv+0x1/0x2", "NETFILTER_DROP", &data),
        // Where one part ends and the next begins is a part of the key.
        drop_at("ip_rcv+0x1/0x2N", "OT_SPECIFIED", &data),
        drop_at("ip_rcv+0x1/0x2", "NOT_SPECIFIED", &other),
        drop_at("ip_rcv+0x1/0x2", "NOT_SPECIFIED", &sender),
        drop_at("ip_rcv+0x1/0x2", "NOT_SPECIFIED", &data[..10]),
        in_namespace,
        marked,
        at_device,
    ];
    let mut kinds = DropKinds::default();
    for record in &different {
        count_first(&mut kinds, record);
    }
    // The number of an IP packet decides nothing.
    let mut again = packet(1, 53);
    again[5] = 9;
    let again = drop_at("ip_rcv+0x1/0x2", "NOT_SPECIFIED", &again);
    for record in different.iter().chain([&again]) {
        assert_eq!(kinds.count(record), None, "{record:?}");
    }
    assert_eq!(kinds.beyond(), 0);
}

#[test]
fn kinds_beyond_a_thousand_are_counted_and_not_looked_at() {
    let mut kinds = DropKinds::default();
    for port in 0..1100 {
        let data = packet(1, port);
        let record = drop_at("a+0x1/0x2", "NO_SOCKET", &data);
        assert_eq!(
            kinds.count(&record).is_some(),
            usize::from(port) < MAX_KINDS
        );
        // A known kind has its place.
        let known = packet(1, 0);
        let known = drop_at("a+0x1/0x2", "NO_SOCKET", &known);
        assert_eq!(kinds.count(&known), None);
    }
    assert_eq!(kinds.beyond(), 100);
    assert_eq!(kinds.kinds.len(), MAX_KINDS);
}

#[test]
fn equal_findings_are_printed_once_and_their_drops_counted_together() {
    let mut kinds = DropKinds::default();
    let data = [packet(1, 1), packet(1, 2), packet(1, 3), packet(1, 4)];
    let records = data
        .each_ref()
        .map(|data| drop_at("a", "NETFILTER_DROP", data));
    for record in &records {
        count_first(&mut kinds, record);
    }
    for _ in 0..4 {
        kinds.count(&records[1]);
    }
    assert_eq!(kinds.undecided(), 8);
    assert!(is_printed(&mut kinds, 3, finding("other", Some("rule 2"))));
    assert!(is_printed(&mut kinds, 0, finding("rule", Some("rule 1"))));
    assert!(!is_printed(&mut kinds, 1, finding("rule", Some("rule 1"))));
    assert!(is_printed(&mut kinds, 2, finding("rule", Some("rule 3"))));
    let rows = kinds.rows();
    let rows: Vec<_> = rows
        .iter()
        .map(|row| (row.count, row.finding.object.as_deref()))
        .collect();
    let expected = [
        (6, Some("rule 1")),
        (1, Some("rule 3")),
        (1, Some("rule 2")),
    ];
    assert_eq!(rows, expected);
    assert_eq!(kinds.undecided(), 0);
}

#[test]
fn what_is_not_explained_is_printed_for_each_kind_and_summed_up_by_place() {
    let mut kinds = DropKinds::default();
    let (data, other) = (packet(1, 1), packet(1, 2));
    count_first(&mut kinds, &drop_at("a", "X", &data));
    count_first(&mut kinds, &drop_at("b", "X", &data));
    count_first(&mut kinds, &drop_at("b", "X", &other));
    for number in 0..3 {
        assert!(is_printed(&mut kinds, number, finding("unexplained", None)));
    }
    let rows = kinds.rows();
    let rows: Vec<_> = rows.iter().map(|row| (row.count, row.place)).collect();
    assert_eq!(rows, [(2, Some("b")), (1, Some("a"))]);
}

#[test]
fn an_answer_to_no_question_or_a_second_one_is_passed_over() {
    let mut kinds = DropKinds::default();
    count_first(&mut kinds, &drop_at("a", "X", &packet(1, 1)));
    for number in [1, u64::MAX] {
        assert!(!is_printed(&mut kinds, number, finding("x", None)));
    }
    assert!(is_printed(&mut kinds, 0, finding("x", None)));
    assert!(!is_printed(&mut kinds, 0, finding("y", None)));
    assert_eq!(kinds.rows().len(), 1);
}

#[test]
fn connections_without_end_take_no_looks_without_end() {
    let [same, mixed] = [false, true].map(|is_mixed| {
        let mut kinds = DropKinds::default();
        for port in 1..=100 {
            let data = packet(port, 53);
            let record = drop_at("nf_hook_slow+0x1/0x2", "NETFILTER_DROP", &data);
            let number = kinds.counts.len() as u64;
            if kinds.count(&record).is_none() {
                assert!(number >= MAX_ALIKE as u64);
                continue;
            }
            kinds.keep_block(CauseBlock::new(&record, FORM).unwrap());
            let rule = if is_mixed && port == 9 {
                "rule 2"
            } else {
                "rule 1"
            };
            is_printed(&mut kinds, number, finding("filter_rule", Some(rule)));
        }
        let rows = kinds.rows();
        let rows = rows
            .iter()
            .map(|row| (row.finding.object.clone().unwrap(), row.count));
        (kinds.counts.len(), rows.collect::<Vec<_>>())
    });
    assert_eq!(same, (MAX_ALIKE, vec![("rule 1".to_owned(), 100)]));
    // Where they are not alike, each is looked at.
    let expected = vec![("rule 1".to_owned(), 99), ("rule 2".to_owned(), 1)];
    assert_eq!(mixed, (100, expected));
}

#[test]
fn what_a_look_at_the_routes_makes_is_no_packet() {
    let data = packet(1, 53);
    for (place, expected) in [
        ("inet_rtm_getroute+0x495/0x940", true),
        ("inet6_rtm_getroute.constprop.0+0x1/0x2", true),
        ("ip_error+0x1/0x2", false),
        ("inet_rtm_getroute_other+0x1/0x2", false),
    ] {
        let found = is_route_query(&drop_at(place, "NOT_SPECIFIED", &data));
        assert_eq!(found, expected, "{place}");
    }
}
