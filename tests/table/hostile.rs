//! A capture whose every text is hostile, in the table.

#[path = "../hostile_capture/mod.rs"]
mod hostile_capture;

use hostile_capture::{HOSTILE, capture, obeyed};

use super::terminal::Terminal;

#[test]
fn no_page_shows_a_text_from_outside_unescaped() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(format!("{HOSTILE}.pcapng")), capture()).unwrap();
    let line = "\"$dwdump\" -r \"$folder\"/*.pcapng --summary";
    let folder = folder.path().to_str().unwrap();
    let mut terminal = Terminal::with(150, 40, line, &[("folder", folder)]);
    terminal.wait_for("by location");
    terminal.press_for("i", "captured on");
    terminal.wait_for("Linux x\\x1b[31m\\xc2\\x9b7m\\xe2\\x80\\xa8");
    terminal.press("\x1b");
    terminal.wait_for("sort");
    for grouping in ["reason", "interface", "flow", "module", "location"] {
        terminal.press_for("g", &format!("by {grouping}"));
        terminal.press_for("\r", "Filter: ");
        terminal.press("\x1b");
        terminal.wait_for("sort");
    }
    // What is typed or pasted, and what is said of it.
    terminal.press("/");
    terminal.press_for("reason \u{2028}\u{202e}", "filter: reason ");
    terminal.press("\r");
    terminal.wait_for("expected a drop reason");
    terminal.press("\x1b");
    terminal.wait_for("sort");
    terminal.press("q");
    terminal.wait_for("counted");
    let written = terminal.written();
    let texts = String::from_utf8_lossy(&written);
    // The program's own sequences are made of these two and of carriage returns.
    let foreign = [
        "\u{9b}", "\u{2028}", "\u{202e}", "\u{2066}", "\u{200b}", "\u{7f}",
    ];
    for character in foreign {
        assert!(!texts.contains(character), "{}", character.escape_unicode());
    }
    assert!(!texts.contains("x\x1b[31m"));
    assert_eq!(obeyed(&terminal.screen()), "");
}
