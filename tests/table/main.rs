//! The table of `--summary` in a pseudo-terminal: what is on the screen, what each key does, and
//! what is left of it when it ends.

mod end;
mod hostile;
mod pipe;
mod terminal;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use terminal::Terminal;

const FILE: &str = "exec $dwdump -r fixtures/software-6.12.pcap --summary --utc";
const UP: &str = "\x1b[A";
const DOWN: &str = "\x1b[B";
const RIGHT: &str = "\x1b[C";
const LEFT: &str = "\x1b[D";
const HOME: &str = "\x1b[H";
const END: &str = "\x1b[F";
const PAGE_UP: &str = "\x1b[5~";
const PAGE_DOWN: &str = "\x1b[6~";
const BACK_TAB: &str = "\x1b[Z";
const ESCAPE: &str = "\x1b";

/// The table of the capture, read to its end.
fn table(columns: u16, rows: u16) -> Terminal {
    let terminal = Terminal::new(columns, rows, FILE);
    terminal.wait_for("91 drops");
    terminal.wait_for("q quit");
    terminal
}

/// The line of the selected row.
fn selected(screen: &str) -> &str {
    let line = screen.lines().find(|line| line.starts_with('>'));
    line.unwrap_or_default()
}

#[track_caller]
fn wait_for_selected(terminal: &Terminal, name: &str) {
    terminal.wait(&format!("the selected {name}"), |screen| {
        selected(screen).contains(name)
    });
}

// ---- Screens ----

#[test]
fn screens_are_as_they_were() {
    for (columns, rows) in [(80, 24), (40, 10)] {
        let mut terminal = table(columns, rows);
        let size = format!("{columns}x{rows}");
        terminal.check_golden(&format!("location-{size}"));
        terminal.press("g");
        terminal.check_golden(&format!("reason-{size}"));
        terminal.press("\r");
        terminal.check_golden(&format!("row-{size}"));
        terminal.press(&PAGE_DOWN.repeat(2));
        terminal.check_golden(&format!("row-scrolled-{size}"));
        terminal.press("?");
        terminal.check_golden(&format!("help-{size}"));
        terminal.press("i");
        // The time of the day is in it.
        terminal.wait_for("lost in queue");
        terminal.press(ESCAPE);
        terminal.check_golden(&format!("reason-{size}"));
        terminal.press("gg");
        terminal.check_golden(&format!("flow-{size}"));
        terminal.press("/tcp and port 70000\r");
        terminal.check_golden(&format!("bad-filter-{size}"));
    }
}

#[test]
fn every_golden_screen_is_checked() {
    let sizes = ["80x24", "40x10"];
    let names = [
        "location",
        "reason",
        "row",
        "row-scrolled",
        "help",
        "flow",
        "bad-filter",
    ];
    let expected: BTreeSet<String> = sizes
        .iter()
        .flat_map(|size| names.map(|name| format!("{name}-{size}.screen")))
        .collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/table");
    let found = std::fs::read_dir(folder).unwrap();
    let found = found.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let found: BTreeSet<String> = found.filter(|name| name.ends_with(".screen")).collect();
    assert_eq!(found, expected);
}

#[test]
fn any_size_is_survived() {
    let mut terminal = table(80, 24);
    let whole = terminal.screen();
    for (columns, rows) in [
        (40, 10),
        (20, 5),
        (1, 1),
        (3, 2),
        (200, 60),
        (1, 30),
        (50, 1),
    ] {
        terminal.resize(columns, rows);
        // The last line of any size has the keys, or their beginning.
        terminal.wait("the last line", |screen| {
            let last = screen.lines().nth(usize::from(rows) - 1);
            last.is_some_and(|line| !line.is_empty())
        });
        terminal.press("j");
    }
    terminal.resize(20, 5);
    terminal.wait("a row", |screen| {
        screen.contains("q quit") && screen.contains('>')
    });
    terminal.press(HOME);
    terminal.resize(80, 24);
    terminal.wait("the first screen", |screen| screen == whole);
}

#[test]
fn a_size_that_comes_back_is_drawn_again() {
    let terminal = table(80, 24);
    let whole = terminal.screen();
    // The program sees only the last size, and the terminal has forgotten what it showed.
    terminal.signal(Signal::SIGSTOP);
    terminal.resize(1, 1);
    terminal.resize(80, 24);
    terminal.signal(Signal::SIGCONT);
    terminal.wait("the first screen", |screen| screen == whole);
}

#[test]
fn a_program_that_was_stopped_draws_again() {
    let terminal = table(80, 24);
    let whole = terminal.screen();
    terminal.signal(Signal::SIGSTOP);
    terminal.show(b"\x1b[H[1]+  Stopped\r\n$ fg\r\n");
    assert_ne!(terminal.screen(), whole);
    terminal.signal(Signal::SIGCONT);
    terminal.wait("the first screen", |screen| screen == whole);
}

#[test]
fn without_colour_the_selection_is_seen() {
    let has_colours = |screen: &vt100::Screen| {
        let places = (0..24).flat_map(|row| (0..80).map(move |column| (row, column)));
        let mut cells = places.filter_map(|(row, column)| screen.cell(row, column));
        cells.any(|cell| cell.fgcolor() != vt100::Color::Default)
    };
    let is_reversed = |screen: &vt100::Screen| {
        let cell = (0..24).filter_map(|row| screen.cell(row, 0));
        let marked = cell.filter(|cell| cell.contents() == ">");
        marked.filter(|cell| cell.inverse()).count() == 1
    };
    let plain = [("NO_COLOR", "1")];
    for (line, variables, expected) in [
        (FILE.to_owned(), &[][..], true),
        (FILE.to_owned(), &plain[..], false),
        (format!("{FILE} --color never"), &[][..], false),
        (format!("{FILE} --color always"), &plain[..], true),
    ] {
        let terminal = Terminal::with(80, 24, &line, variables);
        terminal.wait_for("91 drops");
        terminal.wait_for("q quit");
        assert_eq!(terminal.look(has_colours), expected, "{line} {variables:?}");
        assert!(terminal.look(is_reversed), "{}", terminal.screen());
    }
}

#[test]
fn a_terminal_that_knows_ascii_alone_gets_nothing_else() {
    let terminal = Terminal::with(80, 24, FILE, &[("LC_ALL", "C")]);
    terminal.wait_for("91 drops");
    terminal.wait_for("q quit");
    assert!(terminal.screen().is_ascii(), "{}", terminal.screen());
    assert!(terminal.screen().contains("vmean/s"));
}

#[test]
fn a_terminal_that_can_show_no_table_gets_lines() {
    let mut terminal = Terminal::with(80, 24, FILE, &[("TERM", "dumb")]);
    assert!(terminal.end().success());
    terminal.check_restored("91 drops counted");
    let screen = terminal.screen();
    assert!(
        screen.contains("NETFILTER_DROP") || screen.contains("drops at"),
        "{screen}"
    );
    assert!(terminal.has_written(b"printing counts as lines"));
    assert!(terminal.has_written(b"hint: "));
    assert!(!terminal.has_written(b"\x1b[?1049h"));
}

#[test]
fn lines_that_were_asked_for_are_lines() {
    for option in ["--print", "--json"] {
        let mut terminal = Terminal::new(80, 24, &format!("{FILE} {option}"));
        assert!(terminal.end().success());
        terminal.wait_for("91 drops counted");
        assert!(!terminal.has_written(b"\x1b[?1049h"), "{option}");
    }
}

// ---- Keys ----

#[test]
fn keys_move_the_selection() {
    let mut terminal = table(80, 24);
    terminal.press_for("g", "by reason");
    wait_for_selected(&terminal, "NOT_SPECIFIED");
    for (keys, name) in [
        (DOWN, "NO_SOCKET"),
        ("j", "SOCKET_RCVBUFF"),
        (UP, "NO_SOCKET"),
        ("k", "NOT_SPECIFIED"),
        ("k", "NOT_SPECIFIED"),
        (END, "UDP_CSUM"),
        (DOWN, "UDP_CSUM"),
        (HOME, "NOT_SPECIFIED"),
    ] {
        terminal.press(keys);
        wait_for_selected(&terminal, name);
    }
    terminal.resize(40, 10);
    // Drawn anew, with five rows.
    terminal.check_golden("reason-40x10");
    terminal.press(PAGE_DOWN);
    terminal.wait("the sixth row", |screen| {
        selected(screen).contains("TC_EGRESS")
    });
    terminal.press(PAGE_UP);
    wait_for_selected(&terminal, "NOT_SPECIFIED");
    // What the selected row means is below.
    terminal.press_for(DOWN, "Nobody listens: no socket matches the p");
}

#[test]
fn keys_change_the_grouping_and_the_order() {
    let mut terminal = table(80, 24);
    for grouping in ["reason", "interface", "flow", "module", "location"] {
        terminal.press_for("g", &format!("by {grouping} "));
    }
    terminal.press_for("G", "by module ");
    terminal.press_for("\t", "by location ");
    terminal.press_for(BACK_TAB, "by module ");
    wait_for_selected(&terminal, "kernel");
    terminal.press_for("GGG", "by reason ");
    terminal.press_for(DOWN, "> ");
    wait_for_selected(&terminal, "NO_SOCKET");
    terminal.press_for("s", "▼total");
    terminal.press_for("s", "▼reason");
    // The selection stays with its row.
    terminal.wait("names in order", |screen| {
        let names = ["INVALID_PROTO", "IP_CSUM", "NO_SOCKET", "UNHANDLED_PROTO"];
        let places = names.map(|name| screen.find(name));
        places.is_sorted() && places[0].is_some() && selected(screen).contains("NO_SOCKET")
    });
    terminal.press_for("r", "▲reason");
    terminal.wait("names in reverse order", |screen| {
        let names = ["UNHANDLED_PROTO", "NO_SOCKET", "IP_CSUM", "INVALID_PROTO"];
        let places = names.map(|name| screen.find(name));
        places.is_sorted() && places[0].is_some() && selected(screen).contains("NO_SOCKET")
    });
    terminal.press_for("s", "▼mean/s");
}

#[test]
fn a_row_is_opened_and_closed() {
    let mut terminal = table(80, 24);
    terminal.press_for("g", "by reason");
    for (open, close) in [("\r", ESCAPE), (RIGHT, LEFT)] {
        terminal.press_for(open, "What to check:");
        terminal.wait_for("Filter: reason = NOT_SPECIFIED");
        terminal.press_for("j", "Last 32 packets, the newest first:");
        terminal.press(END);
        // The oldest of them.
        terminal.wait_for("21:47:");
        terminal.press_for(HOME, "Usual causes:");
        terminal.press(close);
        wait_for_selected(&terminal, "NOT_SPECIFIED");
    }
}

#[test]
fn help_and_settings_are_shown() {
    let mut terminal = table(80, 24);
    for key in ["?", "h"] {
        terminal.press_for(key, "pause or continue the view");
        terminal.press(ESCAPE);
        wait_for_selected(&terminal, "__udp4_lib_rcv");
    }
    terminal.press_for("i", "not counted    0 drops");
    terminal.wait_for("counted        software-6.12.pcap");
    terminal.press_for(ESCAPE, "mean/s");
    terminal.press_for("c", "the counts of a file cannot be reset");
    // Draws everything again, and nothing changes.
    let before = terminal.screen();
    terminal.press("\x0c");
    terminal.press_for("?", "Ctrl-L");
    terminal.press(ESCAPE);
    let before = before.replace("the counts of a file cannot be reset; / filters them", "");
    terminal.wait("the same rows", |screen| {
        screen.lines().take(20).eq(before.lines().take(20))
    });
}

#[test]
fn a_filter_is_typed_refused_and_applied() {
    let mut terminal = table(80, 24);
    terminal.press_for("/", "filter:");
    terminal.press_for("tcp and port 70000\r", "expected");
    terminal.wait("carets", |screen| {
        let mut lines = screen.lines().skip_while(|line| !line.contains("70000"));
        let at = lines.next().and_then(|line| line.find("70000"));
        let carets = lines.next().and_then(|line| line.find("^^^^^"));
        at.is_some() && at == carets
    });
    assert!(terminal.screen().contains("91 drops"));
    // Given up: as before.
    terminal.press_for(ESCAPE, "q quit");
    terminal.wait_for("91 drops");
    terminal.press_for("/reason NO_SOCKETT\x7f\r", "23 drops");
    terminal.wait_for("filter: reason NO_SOCKET");
    terminal.press_for("/", "filter: reason NO_SOCKET");
    terminal.press_for("\x15tcp\r", "filter: tcp");
    terminal.press_for("/\x15\r", "91 drops");
    terminal.wait("no filter", |screen| !screen.contains("filter: tcp"));
}

#[test]
fn a_filter_and_an_interface_of_the_command_line_stay_apart() {
    let mut terminal = Terminal::new(80, 24, &format!("{FILE} -i 5 udp"));
    terminal.wait_for("filter: udp");
    terminal.wait_for("q quit");
    let kept = kept("-i 5 udp");
    terminal.wait_for(&format!("{kept} drops,"));
    terminal.press("/\x15\r");
    terminal.wait_for(&format!("{} drops,", self::kept("-i 5")));
}

/// How many drops of the capture a filter keeps.
fn kept(filter: &str) -> usize {
    let output = Command::new(env!("CARGO_BIN_EXE_dwdump"))
        .args(["-r", "fixtures/software-6.12.pcap", "--json"])
        .args(filter.split(' '))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let count = String::from_utf8(output.stdout).unwrap().lines().count();
    assert!(count > 0);
    count
}

#[test]
fn the_packets_of_a_row_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("row.pcapng");
    let mut terminal = table(100, 24);
    terminal.press_for("g", "by reason");
    terminal.press(DOWN);
    wait_for_selected(&terminal, "NO_SOCKET");
    terminal.press_for("w", "write to: drops-NO_SOCKET-20");
    terminal.wait_for(".pcapng");
    let name = path.to_str().unwrap().to_owned();
    terminal.press_for(&format!("\x15{name}\r"), "wrote 23 packets to");
    // The counts are as before.
    terminal.wait_for("91 drops");
    let reasons = reasons(&path);
    assert_eq!(reasons, vec!["NO_SOCKET"; 23]);

    // A file that is there stays as it is.
    let before = std::fs::read(&path).unwrap();
    terminal.press_for("w", "write to:");
    terminal.press_for(
        &format!("\x15{name}\r"),
        "cannot create the file: File exists",
    );
    terminal.press_for("\x15/nonexistent/x.pcapng\r", "No such file or directory");
    terminal.press_for(ESCAPE, "q quit");
    assert_eq!(std::fs::read(&path).unwrap(), before);

    // With a filter, what the row counts, and no more.
    let filtered = folder.path().join("filtered.pcapng");
    terminal.press_for("/ip6\r", "filter: ip6");
    wait_for_selected(&terminal, "NO_SOCKET");
    let count = kept("ip6 and reason NO_SOCKET");
    terminal.press_for("w", "write to:");
    let name = filtered.to_str().unwrap();
    terminal.press_for(
        &format!("\x15{name}\r"),
        &format!("wrote {count} packets to"),
    );
    assert_eq!(self::reasons(&filtered).len(), count);
}

/// The reasons of all drops in a file.
fn reasons(path: &Path) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_dwdump"))
        .args(["--json", "-r"])
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let objects = text.lines().map(|line| {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        object["reason"].as_str().unwrap().to_owned()
    });
    objects.collect()
}
