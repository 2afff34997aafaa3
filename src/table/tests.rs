//! Tests the view on terminals of every size, and with names that no terminal must see.

use std::fs::File;
use std::ops::ControlFlow;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::record::{Cause, Location, Loss, Name, Stack, Symbol};
use crate::sink::Zone;
use crate::source::savefile::Savefile;
use crate::summary::Counted;
use crate::why::{CauseFinding, Grade};

const LOOK: Appearance = Appearance {
    color: ColorSupport::Yes,
    glyphs: Glyphs::Unicode,
    text: TextStyle {
        zone: Zone::Utc,
        precision: crate::sink::Precision::Microseconds,
        detail: crate::sink::Detail::Line,
        color: crate::sink::Color::Never,
    },
};

fn live(counted_by: CountedBy) -> TableView {
    let pace = Pace::Clock {
        last: Duration::ZERO,
        elapsed: Duration::ZERO,
    };
    TableView::new("software drops".into(), counted_by, pace, LOOK)
}

fn count(view: &mut TableView, symbol: &str, count: u64) {
    view.counters.count(&Counted::Kernel {
        cause: Cause::Software {
            location: Location {
                pc: Some(symbol.len() as u64 + 1),
                symbol: Name::new(symbol.as_bytes()).map(Symbol),
                ..Location::default()
            },
            reason: None,
        },
        count,
    });
}

fn tick(view: &mut TableView, seconds: u64) {
    view.counters.end_interval();
    view.counters.pace = Pace::Clock {
        last: Duration::from_secs(1),
        elapsed: Duration::from_secs(seconds),
    };
    view.arrange();
}

fn captured() -> TableView {
    let mut view = live(CountedBy::Packets);
    for path in ["fixtures/software-6.12.pcap", "fixtures/hardware-6.12.pcap"] {
        let mut file = Savefile::open(File::open(path).unwrap()).unwrap();
        let _ = file.for_each(|record| {
            view.counters.count(&Counted::Packet(record));
            ControlFlow::<()>::Continue(())
        });
    }
    tick(&mut view, 1);
    view
}

fn screen(view: &mut TableView, columns: u16, rows: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(frame, view)).unwrap();
    let buffer = terminal.backend().buffer();
    let lines = buffer.content.chunks(usize::from(columns.max(1)));
    let lines = lines.map(|line| line.iter().map(ratatui::buffer::Cell::symbol).collect());
    lines
        .map(|line: String| line.trim_end().to_owned())
        .collect()
}

fn press(view: &mut TableView, code: KeyCode) -> Option<Action> {
    view.key(KeyEvent::from(code))
}

#[test]
fn the_table_shows_what_was_counted() {
    let mut view = live(CountedBy::Kernel);
    view.counters.loss = Some(Loss {
        queue: 3,
        ..Loss::default()
    });
    count(&mut view, "ip_rcv_core+0x1/0x2", 75);
    count(&mut view, "f+0x1/0x2", 20);
    tick(&mut view, 1);
    count(&mut view, "f+0x1/0x2", 5);
    tick(&mut view, 3725);
    // Most drops a second first; the selection stays with its row.
    let lines = screen(&mut view, 80, 12);
    let expected = [
        "software drops by location, counted by the kernel                        1:02:05",
        "100 drops, 5.0/s  lost: 3 in the queue, 0 in the socket",
        "   ▼rate/s  share   total history  location                   reason",
        "       5.0  25.0%      25 █▂       f+0x1/0x2",
        ">        0  75.0%      75 █        ip_rcv_core+0x1/0x2",
    ];
    assert_eq!(lines[..5], expected);
}

#[test]
fn drops_are_grouped_by_stack_where_that_was_asked_for() {
    let mut view = live(CountedBy::Packets);
    for _ in 0..2 {
        view.counters.add(Grouping::Stack);
    }
    count(&mut view, "f", 1);
    view.counters.count(&Counted::Kernel {
        cause: Cause::Software {
            location: Location {
                stack: Stack::new(b"gre_rcv+0x1/0x2 [gre];ip_rcv+0x1/0x2"),
                ..Location::default()
            },
            reason: None,
        },
        count: 9,
    });
    tick(&mut view, 1);
    press(&mut view, KeyCode::Char('G'));
    assert_eq!(view.grouping, Grouping::Stack);
    let lines = screen(&mut view, 80, 12);
    assert!(lines[3].contains(" 9 "), "{}", lines[3]);
    assert!(lines[3].contains("gre_rcv < ip_rcv"), "{}", lines[3]);
    press(&mut view, KeyCode::Char('G'));
    assert_eq!(view.grouping, Grouping::Module);
}

#[test]
fn keys_that_need_packets_say_so() {
    let mut view = live(CountedBy::Kernel);
    count(&mut view, "f", 1);
    tick(&mut view, 1);
    assert_eq!(
        press(&mut view, KeyCode::Char('g')),
        Some(Action::NeedPackets)
    );
    assert_eq!(view.grouping, Grouping::Reason);
    assert_eq!(press(&mut view, KeyCode::Char('G')), None);
    assert_eq!(press(&mut view, KeyCode::Char('G')), None);
    assert_eq!(view.grouping, Grouping::Module);
    assert_eq!(press(&mut view, KeyCode::Enter), Some(Action::NeedPackets));
    view.counted_by = CountedBy::Packets;
    assert_eq!(press(&mut view, KeyCode::Esc), None);
    assert_eq!(press(&mut view, KeyCode::Enter), None);
    assert_eq!(press(&mut view, KeyCode::Tab), None);
}

#[test]
fn what_ebpf_programs_count_needs_no_packets() {
    let mut view = live(CountedBy::Programs);
    count(&mut view, "f", 1);
    tick(&mut view, 1);
    for grouping in [Grouping::Reason, Grouping::Interface] {
        assert_eq!(press(&mut view, KeyCode::Char('g')), None);
        assert_eq!(view.grouping, grouping);
    }
    let asked = press(&mut view, KeyCode::Char('g'));
    assert_eq!(
        (view.grouping, asked),
        (Grouping::Flow, Some(Action::NeedPackets))
    );
    assert_eq!(press(&mut view, KeyCode::Enter), Some(Action::NeedPackets));
}

#[test]
fn keys_ask_for_what_the_view_cannot_do() {
    let mut view = captured();
    let control = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
    for (key, action) in [
        (KeyEvent::from(KeyCode::Char('q')), Action::Quit),
        (control('c'), Action::Quit),
        (control('z'), Action::Suspend),
        (control('l'), Action::Repaint),
        (KeyEvent::from(KeyCode::Char('i')), Action::ShowSettings),
        (KeyEvent::from(KeyCode::Char('c')), Action::Clear),
        (KeyEvent::from(KeyCode::Char('w')), Action::ProposeName),
    ] {
        assert_eq!(view.key(key), Some(action));
    }
    view.writing = Some(Writing {
        name: "x".into(),
        packets: 1,
    });
    assert_eq!(
        press(&mut view, KeyCode::Char('w')),
        Some(Action::StopWriting)
    );
    assert_eq!(view.key(control('x')), None);
    view.ask_name("x.pcapng".into());
    let typed = press(&mut view, KeyCode::Enter);
    assert_eq!(typed, Some(Action::Write("x.pcapng".into())));
    assert_eq!(press(&mut view, KeyCode::Char('/')), None);
    press(&mut view, KeyCode::Char('q'));
    let typed = press(&mut view, KeyCode::Enter);
    assert_eq!(typed, Some(Action::Filter("q".into())));
}

#[test]
fn a_paused_view_stands_still_and_nothing_is_missed() {
    let mut view = live(CountedBy::Kernel);
    count(&mut view, "f", 1);
    tick(&mut view, 1);
    press(&mut view, KeyCode::Char(' '));
    count(&mut view, "f", 1);
    count(&mut view, "other", 1);
    tick(&mut view, 2);
    let lines = screen(&mut view, 80, 24);
    assert!(lines[1].starts_with("1 drops"), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("paused")));
    assert!(!lines.iter().any(|line| line.contains("other")));
    press(&mut view, KeyCode::Char(' '));
    let lines = screen(&mut view, 80, 24);
    assert!(lines[1].starts_with("3 drops"), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("other")));
}

#[test]
fn a_row_that_is_gone_leaves_the_selection_where_it_was() {
    let mut view = captured();
    press(&mut view, KeyCode::End);
    assert!(view.position > 10);
    view.reset(view.counters.pace);
    assert_eq!(view.position, 0);
    screen(&mut view, 80, 24);
    count(&mut view, "f", 1);
    let lines = screen(&mut view, 80, 24);
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with('>') && line.ends_with(" f"))
    );
}

#[test]
fn names_from_outside_move_no_cursor_and_keep_their_columns() {
    let mut view = live(CountedBy::Kernel);
    let names = [
        "\x1b[31mred\x07",
        "界界界界界界界界界界界界界界界界界界",
        "a\u{202e}b",
        "\u{301}x",
    ];
    for name in names {
        count(&mut view, name, 1);
    }
    tick(&mut view, 1);
    for columns in 1..130 {
        for line in screen(&mut view, columns, 24) {
            assert!(!line.chars().any(char::is_control), "{line:?}");
            assert!(!line.contains('\u{202e}'), "{line:?}");
        }
    }
    let lines = screen(&mut view, 80, 24);
    assert!(
        lines.iter().any(|line| line.contains("\\x1b[31mred\\x07")),
        "{lines:?}"
    );
}

#[test]
fn a_files_name_is_made_of_harmless_letters() {
    let stem = |key: GroupKey| file_stem(&key);
    let place = |symbol: &str| GroupKey::Location {
        pc: Some(1),
        symbol: symbol.as_bytes().into(),
    };
    assert_eq!(stem(place("gre_rcv+0x41/0xb0 [gre]")), "gre_rcv");
    assert_eq!(stem(GroupKey::Reason((*b"NO_SOCKET").into())), "NO_SOCKET");
    assert_eq!(
        stem(GroupKey::Reason((*b"../../etc/x;rm -rf").into())),
        "etc-x-rm-rf"
    );
    assert_eq!(stem(GroupKey::Reason((*b"\x1b[0m").into())), "x1b-0m");
    assert!(stem(place(&"x".repeat(500))).len() <= 40);
}

#[test]
fn no_packet_allocates_once_its_rows_are_there() {
    let mut view = captured();
    let mut file = Savefile::open(File::open("fixtures/software-6.12.pcap").unwrap()).unwrap();
    let mut counters = view.counters.clone();
    let mut counted = 0;
    let _ = file.for_each(|record| {
        // The buffers of the ring are allocated at first use.
        counters.count(&Counted::Packet(record));
        counted += 1;
        ControlFlow::<()>::Continue(())
    });
    assert!(counted > 50);
    let record = counters.recent.records().next().unwrap();
    for _ in 0..2000 {
        view.counters.count(&Counted::Packet(&record));
    }
    let taken = allocation_counter::measure(|| {
        for _ in 0..100 {
            view.counters.count(&Counted::Packet(&record));
        }
    });
    assert_eq!(taken.count_total, 0);
}

#[test]
fn rows_that_were_replaced_are_not_shown_and_the_heavy_ones_are() {
    let mut view = live(CountedBy::Packets);
    let at = |view: &mut TableView, pc, count| {
        view.counters.count(&Counted::Kernel {
            cause: Cause::Software {
                location: Location {
                    pc: Some(pc),
                    symbol: None,
                    ..Location::default()
                },
                reason: None,
            },
            count,
        });
    };
    for pc in 1..=10_000 {
        at(&mut view, pc, 1);
    }
    tick(&mut view, 1);
    let has_first = |lines: &[String]| lines.iter().any(|line| line.ends_with(" 0x1"));
    assert!(has_first(&screen(&mut view, 80, 24)));
    // Between two ticks of the clock, a late key with many drops and thousands of others arrive.
    for pc in 20_000..25_000 {
        at(&mut view, pc, 1);
        at(&mut view, u64::MAX, 100);
    }
    let shown = screen(&mut view, 80, 24);
    assert!(!has_first(&shown), "{shown:?}");
    // The rate is known at the end of the interval.
    tick(&mut view, 2);
    press(&mut view, KeyCode::Home);
    let shown = screen(&mut view, 80, 24);
    let first = &shown[3];
    assert!(
        first.contains(" 500000+ ") && first.contains("0xffffffffffffffff"),
        "{shown:?}"
    );
    let counts = view.counters.by(Grouping::Location);
    let key = crate::summary::GroupKey::Location {
        pc: Some(u64::MAX),
        symbol: Box::default(),
    };
    let row = counts.group(&key).unwrap();
    assert_eq!(row.history().collect::<Vec<_>>(), [0, 500_000]);
    assert_eq!(view.counters.rate(row), Some(500_000.0));
    assert_eq!(
        counts.sum().history().collect::<Vec<_>>(),
        [10_000, 505_000]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Every page, prompt and size, with keys in any order.
    #[test]
    fn nothing_panics(
        keys in proptest::collection::vec(0..24usize, 0..30),
        columns in 0..140u16,
        rows in 0..40u16,
        is_ascii: bool,
    ) {
        let codes = [
            KeyCode::Up, KeyCode::Down, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Home,
            KeyCode::End, KeyCode::Enter, KeyCode::Esc, KeyCode::Left, KeyCode::Right,
            KeyCode::Tab, KeyCode::BackTab, KeyCode::Char(' '), KeyCode::Char('/'),
            KeyCode::Char('s'), KeyCode::Char('r'), KeyCode::Char('?'), KeyCode::Char('w'),
            KeyCode::Char('界'), KeyCode::Backspace, KeyCode::Char('g'), KeyCode::Char('i'),
            KeyCode::F(5), KeyCode::Null,
        ];
        let mut view = captured();
        if is_ascii {
            view.look.glyphs = Glyphs::Ascii;
        }
        for key in keys {
            match press(&mut view, codes[key]) {
                Some(Action::ProposeName) => view.ask_name("drops.pcapng".into()),
                Some(Action::Filter(text)) => {
                    let error = LineError { message: "expected x".into(), span: Some(0..99) };
                    view.refuse_filter(&text, error);
                }
                Some(Action::Write(name)) => view.refuse_name(&name, "cannot".into()),
                Some(Action::ShowSettings) => view.show_settings(vec!["x".repeat(300)]),
                _ => {}
            }
            let lines = screen(&mut view, columns, rows);
            prop_assert!(!is_ascii || lines.iter().all(|line| line.is_ascii()));
        }
    }
}

#[test]
fn the_page_of_a_row_says_why_its_last_packet_was_dropped() {
    let mut view = captured();
    assert_eq!(view.unexplained_packet(), None);
    press(&mut view, KeyCode::Enter);
    let packet = view.unexplained_packet().map(|packet| packet.time);
    let newest = view
        .counters
        .packets_of(view.grouping, view.selected().unwrap());
    let newest = newest.map(|packet| packet.time).next();
    assert!(newest.is_some());
    assert_eq!(packet, newest);
    view.cause = RowCause::Awaited;
    assert_eq!(view.unexplained_packet(), None);
    let text = screen(&mut view, 80, 40).join("\n");
    assert!(text.contains("Looking at this host"), "{text}");
    let finding = CauseFinding::new("x", Grade::Certain, "it is switched off \u{1b}[31m")
        .seen("/proc/x", "0")
        .cure("sysctl -w x=1");
    view.cause = RowCause::Found(Box::new(finding));
    let text = screen(&mut view, 80, 40).join("\n");
    let expected = "
Why the last packet was dropped:
  why    it is switched off \\x1b[31m                               certain
  seen   /proc/x: 0
  do     sysctl -w x=1                                             now
";
    assert!(text.contains(expected), "{text}");
    // The same key closes the page; opened again, the host is looked at again.
    assert_eq!(press(&mut view, KeyCode::Enter), None);
    assert_eq!(view.unexplained_packet(), None);
    press(&mut view, KeyCode::Enter);
    assert!(view.unexplained_packet().is_some());
    view.cause = RowCause::Failed("it failed".into());
    let text = screen(&mut view, 80, 40).join("\n");
    assert!(text.contains("it failed"), "{text}");
}
