use super::*;
use crate::record::{Cause, Link, LinkType, Location, Name, Symbol};
use crate::sink::block_rows::wrapped;
use crate::sink::{Precision, Zone};
use crate::why::{Effect, Remedy};

fn text(color: Color, width: Option<usize>) -> BlockForm {
    BlockForm::Text {
        style: TextStyle {
            zone: Zone::Utc,
            precision: Precision::Microseconds,
            detail: Detail::Full,
            color,
        },
        width,
    }
}

fn hello() -> DropRecord<'static> {
    const DATA: [u8; 20] = [
        69, 192, 0, 20, 0, 1, 0, 0, 1, 89, 0, 0, 10, 1, 0, 1, 224, 0, 0, 5,
    ];
    let mut record = DropRecord::new(Link::known(LinkType::RAW), &DATA);
    record.cause = Cause::Software {
        location: Location::new(None, Name::new(b"ip_rcv_finish_core+0x1/0x2").map(Symbol)),
        reason: Name::new(b"IP_LOCAL_SOURCE"),
    };
    record
}

fn not_joined() -> CauseFinding {
    CauseFinding::new(
        "group_not_joined",
        Grade::Certain,
        "eth0 has not joined the group 224.0.0.5",
    )
    .object("group 224.0.0.5 on eth0")
    .seen("/proc/net/igmp", "eth0 has joined 224.0.0.1")
    .advise("start the program that wants 224.0.0.5 on eth0")
    .cure("ip address add 224.0.0.5/32 dev eth0 autojoin")
}

fn long() -> CauseFinding {
    CauseFinding::new(
        "filter_rule",
        Grade::Likely,
        "a rule of the chain FORWARD of the table inet filter, which is the policy of a firewall that somebody \
         wrote long ago, drops it",
    )
    .seen(
        "nft list ruleset",
        "ip saddr 10.1.0.0/16 ip daddr 10.2.0.0/16 tcp dport { 22, 80, 443 } ct state new counter drop",
    )
    .proof("nft monitor trace")
    .remedy(Remedy {
        advice: Some("if the packets are wanted, remove the rule".into()),
        command: Some("nft delete rule inet filter FORWARD handle 4711 and-a-word-that-makes-it-long".into()),
        effect: Effect::AfterRestart,
        is_global: false,
    })
}

fn block(form: BlockForm, finding: &CauseFinding) -> String {
    let mut bytes = Vec::new();
    let block = CauseBlock::new(&hello(), form).unwrap();
    block.write(&mut bytes, finding).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The rows below the packet's line.
fn rows(form: BlockForm, finding: &CauseFinding) -> String {
    let text = block(form, finding);
    text.split_once('\n').unwrap().1.to_owned()
}

#[test]
fn a_block_is_the_packets_line_and_rows() {
    let expected = "\
--:--:--.------ local IP 10.1.0.1 > 224.0.0.5: [too short: 0 bytes, < 16] OSPF, length 0 IP_LOCAL_SOURCE ip_rcv_finish_core+0x1/0x2
  why    eth0 has not joined the group 224.0.0.5                                certain
  seen   /proc/net/igmp: eth0 has joined 224.0.0.1
  do     start the program that wants 224.0.0.5 on eth0
  do     ip address add 224.0.0.5/32 dev eth0 autojoin                          now
";
    assert_eq!(block(text(Color::Never, None), &not_joined()), expected);
    assert_eq!(
        block(text(Color::Never, Some(200)), &not_joined()),
        expected
    );
}

#[test]
fn without_a_terminal_no_row_is_divided() {
    let expected = "\n  why    a rule of the chain FORWARD of the table inet filter, which is the policy of a firewall that somebody wrote long ago, drops it  likely
  seen   nft list ruleset: ip saddr 10.1.0.0/16 ip daddr 10.2.0.0/16 tcp dport { 22, 80, 443 } ct state new counter drop
  proof  nft monitor trace
  do     if the packets are wanted, remove the rule:
         nft delete rule inet filter FORWARD handle 4711 and-a-word-that-makes-it-long  after restart
";
    assert_eq!(rows(text(Color::Never, None), &long()), expected[1..]);
}

#[test]
fn on_a_narrow_terminal_words_are_divided_and_commands_are_not() {
    let expected = "\n  why    a rule of the chain FORWARD of the table inet filter,     likely
         which is the policy of a firewall that somebody wrote
         long ago, drops it
  seen   nft list ruleset: ip saddr 10.1.0.0/16 ip daddr 10.2.0.0/16 tcp dport {
         22, 80, 443 } ct state new counter drop
  proof  nft monitor trace
  do     if the packets are wanted, remove the rule:
         nft delete rule inet filter FORWARD handle 4711 and-a-word-that-makes-it-long
                                                                   after restart
";
    let rows = rows(text(Color::Never, Some(80)), &long());
    assert_eq!(rows, expected[1..]);
    let words = |line: &&str| !line.contains("nft delete");
    assert!(rows.lines().filter(words).all(|line| line.len() <= 80));
}

#[test]
fn whatever_the_width_every_word_is_there() {
    let words = |text: &str| -> Vec<String> { text.split_whitespace().map(Into::into).collect() };
    let mut expected = words(&rows(text(Color::Never, None), &long()));
    expected.sort();
    for width in 0..140 {
        let mut found = words(&rows(text(Color::Never, Some(width)), &long()));
        found.sort();
        assert_eq!(found, expected, "{width}");
    }
    for text in ["", " ", "a", "  a  b ", "äöü ß 日本 語", "aaaaaaaa bb"] {
        for room in 0..12 {
            assert_eq!(wrapped(text, room).join(" "), text, "{room}");
        }
    }
}

#[test]
fn colours_are_those_of_the_packets_line() {
    let rows = rows(text(Color::Always, None), &not_joined());
    let plain = rows
        .replace("\x1b[31m", "")
        .replace("\x1b[36m", "")
        .replace("\x1b[0m", "");
    assert_eq!(plain, self::rows(text(Color::Never, None), &not_joined()));
    assert!(rows.contains("  \x1b[31mcertain\x1b[0m\n"), "{rows:?}");
    assert!(
        rows.contains("\x1b[36mip address add 224.0.0.5/32 dev eth0 autojoin\x1b[0m  "),
        "{rows:?}"
    );
}

#[test]
fn text_of_the_host_is_escaped() {
    let evil = "\x1b[2J\n  do     rm -rf /\r\u{202e}\u{9b}";
    let finding = CauseFinding::new("x", Grade::Likely, evil)
        .object(evil)
        .seen(evil, evil)
        .proof(evil)
        .advise(evil)
        .cure(evil);
    for width in [None, Some(60)] {
        let rows = rows(text(Color::Never, width), &finding);
        let is_harmless = |c: char| c == '\n' || c.is_ascii() && !c.is_control();
        assert!(rows.chars().all(is_harmless), "{rows:?}");
        assert!(!rows.contains("\n  do     rm"), "{rows}");
    }
    let mut bytes = Vec::new();
    let row = [row(1, &finding)];
    write_summary(&mut bytes, text(Color::Never, None), &row, &[]).unwrap();
    let summary = String::from_utf8(bytes).unwrap();
    assert_eq!(summary.lines().count(), 2, "{summary}");
    assert!(!summary.contains('\x1b'), "{summary}");
    let json = block(BlockForm::Json, &finding);
    assert_eq!(json.lines().count(), 1);
    assert!(!json.contains(['\x1b', '\r']), "{json}");
}

fn row(count: u64, finding: &CauseFinding) -> CauseRow<'_> {
    CauseRow {
        count,
        finding,
        reason: Some("IP_LOCAL_SOURCE"),
        place: Some("ip_rcv_finish_core+0x1/0x2"),
    }
}

fn unexplained() -> CauseFinding {
    CauseFinding::new("unexplained", Grade::Unknown, "nothing explains it").seen("the drop", "at x")
}

#[test]
fn the_summary_has_a_line_for_each_cause() {
    let findings = [not_joined(), long(), unexplained()];
    let rows = [
        row(1204, &findings[0]),
        row(7, &findings[1]),
        row(1, &findings[2]),
    ];
    let mut bytes = Vec::new();
    write_summary(&mut bytes, text(Color::Never, None), &rows, &[]).unwrap();
    let expected = "\
in all:
  1204 certain eth0 has not joined the group 224.0.0.5
     7 likely  a rule of the chain FORWARD of the table inet filter, which is the policy of a firewall that somebody wrote long ago, drops it
     1 unknown nothing explains it (ip_rcv_finish_core+0x1/0x2)
";
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    let mut bytes = Vec::new();
    write_summary(&mut bytes, text(Color::Never, None), &[], &[]).unwrap();
    assert!(bytes.is_empty());
}

#[test]
fn objects_are_what_the_schema_says() {
    let schema = |path: &str| {
        let text = std::fs::read_to_string(path).unwrap();
        jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
    };
    let of_why = schema("fixtures/why.schema.json");
    let of_drops = schema("fixtures/drop.schema.json");
    let findings = [not_joined(), long(), unexplained()];
    for finding in &findings {
        let mut object: Value = serde_json::from_str(&block(BlockForm::Json, finding)).unwrap();
        assert_eq!(
            of_why.iter_errors(&object).next().map(|e| e.to_string()),
            None
        );
        assert_eq!(object["why"]["grade"], finding.grade.word());
        object.as_object_mut().unwrap().remove("why");
        assert_eq!(
            of_drops.iter_errors(&object).next().map(|e| e.to_string()),
            None
        );
        assert!(!of_why.is_valid(&object));
    }
    let rows: Vec<_> = findings.iter().map(|finding| row(1, finding)).collect();
    for rows in [&rows[..], &[]] {
        let mut bytes = Vec::new();
        let rise = CounterRise {
            name: "TcpExtListenDrops".into(),
            netns: Some(7),
            netns_name: Some("blue".into()),
            count: 3,
            meaning: "a meaning".into(),
        };
        write_summary(&mut bytes, BlockForm::Json, rows, &[rise]).unwrap();
        let object: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            of_why.iter_errors(&object).next().map(|e| e.to_string()),
            None
        );
    }
    // What is certain names its object.
    let nothing = CauseFinding::new("x", Grade::Certain, "a claim");
    let object = serde_json::from_str(&block(BlockForm::Json, &nothing)).unwrap();
    assert!(!of_why.is_valid(&object));
}

#[test]
fn a_finding_as_json() {
    let object: Value = serde_json::from_str(&block(BlockForm::Json, &not_joined())).unwrap();
    let expected = serde_json::json!({
        "cause": "group_not_joined",
        "claim": "eth0 has not joined the group 224.0.0.5",
        "grade": "certain",
        "object": "group 224.0.0.5 on eth0",
        "evidence": [{ "source": "/proc/net/igmp", "value": "eth0 has joined 224.0.0.1" }],
        "remedy": [
            { "advice": "start the program that wants 224.0.0.5 on eth0", "effect": "none" },
            { "command": "ip address add 224.0.0.5/32 dev eth0 autojoin", "effect": "now" },
        ],
    });
    assert_eq!(object["why"], expected);
}
