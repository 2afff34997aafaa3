//! However it ends, the terminal is as it was.

use nix::sys::signal::Signal;

use crate::{FILE, table, terminal::Terminal};

#[test]
fn quitting_leaves_the_terminal_as_it_was() {
    for key in ["q", "\x03"] {
        let mut terminal = table(80, 24);
        assert!(terminal.look(vt100::Screen::alternate_screen));
        terminal.press(key);
        assert!(terminal.end().success());
        terminal.check_restored("91 drops counted");
        terminal.wait_for("14 at __udp4_lib_rcv");
    }
}

#[test]
fn signals_leave_the_terminal_as_it_was() {
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        let mut terminal = table(80, 24);
        terminal.signal(signal);
        assert!(terminal.end().success(), "{signal}");
        terminal.check_restored("91 drops counted");
    }
}

#[test]
fn a_second_signal_ends_it_on_a_terminal_that_takes_nothing() {
    let mut terminal = table(80, 24);
    assert!(!terminal.has_modes_of_before());
    terminal.stall();
    // The first one waits, as what was drawn does.
    let (status, count) = terminal.signal_to_the_end(Signal::SIGTERM);
    assert_eq!(status.code(), Some(1));
    assert!(count > 1);
    assert!(terminal.has_modes_of_before());
}

#[test]
fn what_is_said_does_not_tear_the_screen() {
    let line = "exec $dwdump -r fixtures/made/cut.pcap --summary";
    let mut terminal = Terminal::new(80, 24, line);
    terminal.wait_for("is damaged");
    terminal.wait_for("rop");
    assert!(terminal.look(vt100::Screen::alternate_screen));
    terminal.press("q");
    assert_eq!(terminal.end().code(), Some(1));
    terminal.check_restored("is damaged: ");
}

#[test]
fn the_shell_stops_it_and_lets_it_go_on() {
    let line = "set -m; $dwdump -r fixtures/software-6.12.pcap --summary; echo stopped; read x; fg >/dev/null";
    let mut terminal = Terminal::new(80, 24, line);
    terminal.wait_for("91 drops");
    terminal.wait_for("q quit");
    terminal.press("\x1a");
    terminal.check_restored("stopped");
    terminal.press("\r");
    terminal.wait_for("91 drops");
    assert!(terminal.look(vt100::Screen::alternate_screen));
    terminal.press_for("g", "by reason");
    terminal.press("q");
    assert!(terminal.end().success());
    terminal.check_restored("91 drops counted");
}

#[test]
fn it_ends_with_its_terminal() {
    // A hangup, and one that was ignored from the start.
    for before in ["", "trap '' HUP; "] {
        let mut terminal = Terminal::new(80, 24, &format!("{before}{FILE}"));
        terminal.wait_for("91 drops");
        terminal.wait_for("q quit");
        terminal.hang_up();
        assert!(!terminal.end().to_string().contains("panic"));
    }
}
