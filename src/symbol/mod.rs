//! Completes the symbols of the running kernel: its drop monitor cuts them at 39 characters. Each
//! place is resolved once.

#[cfg(feature = "source-lines")]
mod debug_file;
#[cfg(feature = "source-lines")]
pub mod debug_search;
#[cfg(feature = "source-lines")]
mod functions;
pub mod kallsyms;
mod modules;
pub(crate) mod sent;
#[cfg(feature = "source-lines")]
pub(crate) mod source;
#[cfg(feature = "source-lines")]
pub mod source_line;
#[cfg(feature = "source-lines")]
mod source_path;
#[cfg(feature = "source-lines")]
mod unpack;

use std::fs::File;
use std::io::{self, BufReader, Seek};
use std::time::{Duration, Instant};

use self::kallsyms::{Kallsyms, Place};
use crate::recent::LatestFirst;
use crate::record::{Location, Name, Symbol};

/// The longest symbol that the kernel sends (`NET_DM_MAX_SYMBOL_LEN` less the NUL,
/// net/core/drop_monitor.c). One of this length may have been longer.
pub(crate) const MAX_SENT: usize = 39;

/// Between two looks at the kernel's table: while modules come and go, or a place stays unknown.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// Looking takes a moment (0.03 s, a second in an emulator), half of it in the kernel: at most a
/// fifth of the time, even if every drop is in another module that was just loaded.
const PAUSE_FACTOR: u32 = 4;

/// The symbols of the running kernel.
///
/// The table is read when the kernel first sends no symbol, or one that was cut before its module's
/// name; and again when such a place is in none of its functions or the kernel calls it something
/// else: then a module was loaded meanwhile. Where it can be done without, it is: the table takes
/// memory, and as much time as tens of thousands of drops.
pub(crate) struct Symbols {
    table: RunningTable,
    known: LatestFirst<u64, Known>,
    hidden: HiddenAddresses,
}

/// Whether a symbol stayed cut because the kernel hides its addresses from this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HiddenAddresses {
    /// None did so far.
    NotNoticed,
    /// One did, and nobody was told yet.
    Noticed,
    /// One did, and [`Symbols::are_newly_hidden`] has said so.
    Reported,
}

/// A resolved place.
struct Known {
    /// The symbol that the kernel sent; empty where it sent none.
    sent: Box<[u8]>,
    answer: Answer,
}

/// The best known name of a place.
enum Answer {
    /// The symbol table's name, or the kernel's with the module's name completed.
    Table(Box<[u8]>),
    /// The kernel's, which is whole or cannot be completed.
    Sent,
    /// The kernel's, until the table may be read again at this time.
    SentUntil(Instant),
}

impl Symbols {
    /// Opens the running kernel's symbol table. The kernel checks the privileges of this process when
    /// the file is opened, so this has to happen before they are dropped.
    pub fn of_running_kernel() -> Self {
        Self::new(File::open("/proc/kallsyms").ok())
    }

    fn new(file: Option<File>) -> Self {
        Self {
            table: RunningTable {
                file,
                content: None,
                next: Instant::now(),
            },
            known: LatestFirst::default(),
            hidden: HiddenAddresses::NotNoticed,
        }
    }

    /// Returns the location with its complete symbol. Allocates nothing for a place that was resolved
    /// before.
    pub fn complete<'s>(&'s mut self, location: Location<'s>) -> Location<'s> {
        let Some(pc) = location.pc else {
            return location;
        };
        let sent = location.symbol.map_or(&[][..], |name| name.0.as_sent());
        let known = self.known.get(pc, Known::nothing);
        let is_settled = *known.sent == *sent
            && match known.answer {
                Answer::Table(_) | Answer::Sent => true,
                Answer::SentUntil(time) => Instant::now() < time,
            };
        if !is_settled {
            let name = location.symbol.map_or(&[][..], |name| name.0.as_bytes());
            *known = Known {
                sent: sent.into(),
                answer: self.table.learn(pc, name),
            };
            if self.hidden == HiddenAddresses::NotNoticed && self.table.is_hidden() && is_cut(name)
            {
                self.hidden = HiddenAddresses::Noticed;
            }
        }
        match &known.answer {
            Answer::Table(text) => Location {
                symbol: Name::new(text).map(Symbol),
                ..location
            },
            Answer::Sent | Answer::SentUntil(_) => location,
        }
    }

    /// Returns true once, when a symbol stays cut because the kernel hides addresses from this
    /// process.
    pub fn are_newly_hidden(&mut self) -> bool {
        let is_news = self.hidden == HiddenAddresses::Noticed;
        if is_news {
            self.hidden = HiddenAddresses::Reported;
        }
        is_news
    }
}

/// Whether the kernel said all: `function+0x41/0xb0`, with or without a module. It knows the size
/// of a module's last function, where the table does not.
fn is_whole(sent: &[u8]) -> bool {
    !is_cut(sent) && sent.contains(&b'+') && sent.contains(&b'/')
}

fn whole_by_modules(sent: &[u8]) -> Option<Box<[u8]>> {
    if !is_cut(sent) {
        return None;
    }
    let list = File::open("/proc/modules").ok()?;
    modules::complete(sent, BufReader::new(list)).ok()?
}

/// Whether the kernel may have had more to say.
fn is_cut(sent: &[u8]) -> bool {
    sent.len() >= MAX_SENT
}

impl Known {
    /// For a place without a name this is never settled: the answer has no time left.
    fn nothing() -> Self {
        Self {
            sent: Box::default(),
            answer: Answer::SentUntil(Instant::now()),
        }
    }
}

/// The kernel's table, read when it is needed.
struct RunningTable {
    file: Option<File>,
    /// `None` before the first look.
    content: Option<Kallsyms>,
    /// When it may be read again.
    next: Instant,
}

impl RunningTable {
    fn learn(&mut self, pc: u64, sent: &[u8]) -> Answer {
        if is_whole(sent) {
            return Answer::Sent;
        }
        if let Some(text) = whole_by_modules(sent) {
            return Answer::Table(text);
        }
        let mut is_fresh = self.content.is_none() && self.read();
        loop {
            let place = self.find(pc);
            // When they disagree although the table is fresh, the table wins.
            if let Some(place) = place.filter(|place| is_fresh || agrees(place, sent)) {
                let mut text = Vec::new();
                place.write(&mut text);
                break Answer::Table(text.into());
            }
            if is_fresh || !self.may_change() {
                break Answer::Sent;
            }
            if Instant::now() < self.next {
                break Answer::SentUntil(self.next);
            }
            is_fresh = self.read();
            if !is_fresh {
                break Answer::SentUntil(self.next);
            }
        }
    }

    fn find(&self, pc: u64) -> Option<Place<'_>> {
        match &self.content {
            Some(Kallsyms::Visible(table)) => table.find(pc),
            _ => None,
        }
    }

    /// Whether another look could find more.
    fn may_change(&self) -> bool {
        matches!(self.content, Some(Kallsyms::Visible(_)))
    }

    fn is_hidden(&self) -> bool {
        matches!(self.content, Some(Kallsyms::Hidden))
    }

    /// Whether it was read. What was known before is kept where it was not.
    fn read(&mut self) -> bool {
        let begin = Instant::now();
        let content = match &mut self.file {
            Some(file) => file.rewind().and_then(|()| Kallsyms::read(file)),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let took = begin.elapsed();
        self.next = Instant::now() + MIN_PAUSE.max(took * PAUSE_FACTOR);
        let is_read = content.is_ok();
        match content {
            Ok(content) => self.content = Some(content),
            Err(_) => {
                self.content.get_or_insert(Kallsyms::Empty);
            }
        }
        is_read
    }
}

/// Whether the kernel's string, cut as it may be, names the same function.
fn agrees(place: &Place<'_>, sent: &[u8]) -> bool {
    match sent.iter().position(|&byte| byte == b'+') {
        Some(end) => sent[..end] == *place.function,
        None => is_cut(sent) && place.function.starts_with(sent) || sent.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Symbols of a file whose content the test changes.
    fn symbols(content: &str) -> (Symbols, File) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        (Symbols::new(Some(file.try_clone().unwrap())), file)
    }

    fn location(pc: u64, sent: &str) -> Location<'_> {
        Location {
            pc: Some(pc),
            symbol: Name::new(sent.as_bytes()).map(Symbol),
            source_line: None,
        }
    }

    #[track_caller]
    fn check(symbols: &mut Symbols, pc: u64, sent: &str, whole: &str) {
        let found = symbols.complete(location(pc, sent)).symbol;
        assert_eq!(
            found.map(|name| name.to_string()).unwrap_or_default(),
            whole
        );
    }

    const CUT: &str = "__netif_receive_skb_core.constprop.0+0x";
    const WHOLE: &str = "__netif_receive_skb_core.constprop.0+0x14/0x1000";
    const KERNEL: &str = "1000 t __netif_receive_skb_core.constprop.0\n2000 T next\n2100 T last\n";

    #[test]
    fn a_cut_symbol_is_completed() {
        assert_eq!(CUT.len(), MAX_SENT);
        let (mut symbols, mut file) = symbols(KERNEL);
        check(&mut symbols, 0x1014, CUT, WHOLE);
        // Remembered: nobody looks into the file again.
        file.set_len(0).unwrap();
        file.write_all(b"1000 t another\n").unwrap();
        check(&mut symbols, 0x1014, CUT, WHOLE);
        // Without a word from the kernel.
        check(&mut symbols, 0x2001, "", "next+0x1/0x100");
        assert_eq!(symbols.complete(Location::default()), Location::default());
    }

    #[test]
    fn the_kernels_whole_string_knows_the_size_best() {
        let (mut symbols, _) = symbols(KERNEL);
        check(&mut symbols, 0x2101, "last+0x1/0x3000", "last+0x1/0x3000");
        check(&mut symbols, 0x2102, "", "last+0x2/0xf00");
    }

    #[test]
    fn a_whole_symbol_needs_no_table() {
        let (mut symbols, _) = symbols(KERNEL);
        check(&mut symbols, 0x2001, "alias+0x1/0x100", "alias+0x1/0x100");
        check(&mut symbols, 0x2002, "a+0x1/0x2 [gre]", "a+0x1/0x2 [gre]");
        assert!(symbols.table.content.is_none());
        check(&mut symbols, 0x2003, "next", "next+0x3/0x100");
        assert!(symbols.table.content.is_some());
    }

    #[test]
    fn a_module_that_was_loaded_meanwhile_is_found() {
        let (mut symbols, mut file) = symbols(KERNEL);
        check(&mut symbols, 0x1014, CUT, WHOLE);
        let sent = "a_name_that_is_long_enough_to_be_cut_of";
        writeln!(file, "30000 t {sent}f\t[module]").unwrap();
        // Not again at once; and then not before the time has come.
        check(&mut symbols, 0x30010, sent, sent);
        symbols.table.next = Instant::now();
        check(&mut symbols, 0x30010, sent, sent);
        symbols.known = LatestFirst::default();
        let whole = format!("{sent}f+0x10/0x1000 [module]");
        check(&mut symbols, 0x30010, sent, &whole);
        check(&mut symbols, 0x1014, CUT, WHOLE);
        // Another module in the same place.
        file.set_len(KERNEL.len() as u64).unwrap();
        file.seek(io::SeekFrom::End(0)).unwrap();
        writeln!(file, "30000 t other\t[other]\n30020 t end\t[other]").unwrap();
        symbols.table.next = Instant::now();
        let sent = "other+0x10/0x20 [other]";
        check(&mut symbols, 0x30010, sent, sent);
    }

    #[test]
    fn hidden_addresses_are_told_once_and_only_where_it_matters() {
        let (mut symbols, _) = symbols("0000000000000000 T next\n");
        check(&mut symbols, 0x2001, "next+0x1/0x100", "next+0x1/0x100");
        assert!(!symbols.are_newly_hidden());
        check(&mut symbols, 0x1014, CUT, CUT);
        assert!(symbols.are_newly_hidden());
        check(&mut symbols, 0x1015, CUT, CUT);
        assert!(!symbols.are_newly_hidden());
    }

    #[test]
    fn without_a_table_the_kernels_string_stays() {
        let mut symbols = Symbols::new(None);
        check(&mut symbols, 0x1014, CUT, CUT);
        check(&mut symbols, 0x1014, "", "");
        assert!(!symbols.are_newly_hidden());
    }

    #[test]
    fn this_machines_table_can_be_read() {
        let mut symbols = Symbols::of_running_kernel();
        let sent = location(u64::MAX, "nothing");
        assert_eq!(symbols.complete(sent), sent);
    }
}
