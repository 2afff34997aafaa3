//! Completes the symbols that the running kernel sends: its drop monitor cuts them at 39 characters, and an eBPF
//! program sends an address alone. Each address is resolved once.
//!
//! With eBPF, the kernel names the address (`ebpf::names`). With the drop monitor, a symbol's module is parsed in
//! `sent`, completed by `modules` from `/proc/modules`, and otherwise found with the function in
//! `/proc/kallsyms`, which [`kallsyms`] parses. [`source_line`] finds the line of source code.

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
pub mod source_line;
#[cfg(feature = "source-lines")]
pub(crate) mod source_location;
#[cfg(feature = "source-lines")]
mod source_path;
#[cfg(feature = "source-lines")]
mod unpack;

use std::fs::File;
use std::io::{self, BufReader, Seek, Write};
use std::time::{Duration, Instant};

use self::kallsyms::{Kallsyms, ResolvedSymbol};
use crate::cache::Memo;
use crate::ebpf::names::AddressNames;
use crate::record::{Location, Name, Symbol};

/// The longest symbol that the kernel sends: `NET_DM_MAX_SYMBOL_LEN` of net/core/drop_monitor.c,
/// without the NUL. A symbol of this length may have been cut.
pub(crate) const MAX_SENT: usize = 39;

/// The shortest pause between two reads of `/proc/kallsyms`, which is read again while modules come
/// and go or an address stays unknown. Likewise between two questions for the name of an address.
const MIN_PAUSE: Duration = Duration::from_secs(1);
/// The pause after a read, as a multiple of its duration. A read takes 0.03 s, or a second in an
/// emulator, half of it in the kernel. With this factor reading takes at most a fifth of the time, even
/// if every drop is in another module that was just loaded.
const PAUSE_FACTOR: u32 = 4;

/// The symbols of the running kernel.
///
/// For an address without a symbol the kernel is asked, if this process has a program for that.
///
/// Otherwise `/proc/kallsyms` is read when the kernel first sends no symbol, or one that was cut before its
/// module's name. It is read again when it has no function at such an address, or one of another name:
/// a module was loaded in between. It is not read before that, because it takes memory, and as much
/// time as tens of thousands of drops.
pub(crate) struct Symbols {
    names: Option<AddressNames>,
    kallsyms: RunningKallsyms,
    known: Memo<u64, KnownAddress>,
    hidden: HiddenAddresses,
}

/// The state of the warning that the kernel hides its addresses from this process, so that symbols
/// stay cut, or are missing where none was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HiddenAddresses {
    /// No symbol stayed cut or missing so far.
    NotNoticed,
    /// One did, and the user has not been warned yet.
    Noticed,
    /// One did, and [`Symbols::are_newly_hidden`] has returned true.
    Reported,
}

/// The knowledge about an address.
struct KnownAddress {
    /// The symbol that the kernel sent; empty where it sent none.
    sent: Box<[u8]>,
    best_name: BestName,
}

/// The best known name of an address.
enum BestName {
    /// The name from `/proc/kallsyms`, or the sent symbol with its module's name completed.
    Completed(Box<[u8]>),
    /// The sent symbol, which is whole or cannot be completed.
    Sent,
    /// The sent symbol, until `/proc/kallsyms` may be read, or the kernel be asked, again at this time.
    SentUntil(Instant),
}

impl Symbols {
    /// Opens `/proc/kallsyms` and `/proc/modules`. The kernel checks the privileges of this process when
    /// such a file is opened, so this has to happen before they are dropped.
    pub fn of_running_kernel() -> Self {
        let mut symbols = Self::new(File::open("/proc/kallsyms").ok());
        symbols.kallsyms.modules = File::open("/proc/modules").ok();
        symbols
    }

    /// Has the kernel name addresses, where it takes the program for that. Such a name takes microseconds;
    /// reading `/proc/kallsyms` takes 120 million instructions here and 40 ms in the kernel (122,000 lines), or
    /// half a second in an emulator.
    pub fn named_by_kernel() -> Self {
        Self {
            names: AddressNames::new().ok(),
            ..Self::of_running_kernel()
        }
    }

    pub fn new(file: Option<File>) -> Self {
        Self {
            names: None,
            kallsyms: RunningKallsyms {
                file,
                modules: None,
                content: None,
                next: Instant::now(),
            },
            known: Memo::default(),
            hidden: HiddenAddresses::NotNoticed,
        }
    }

    /// Returns the location with its complete symbol. Allocates nothing for an address that was
    /// resolved before.
    pub fn complete<'s>(&'s mut self, location: Location<'s>) -> Location<'s> {
        let Some(pc) = location.pc else {
            return location;
        };
        let sent = location.symbol.map_or(&[][..], |name| name.0.as_sent());
        let known = self.known.get(pc, KnownAddress::nothing);
        let is_settled = *known.sent == *sent
            && match known.best_name {
                BestName::Completed(_) | BestName::Sent => true,
                BestName::SentUntil(time) => Instant::now() < time,
            };
        if !is_settled {
            let name = location.symbol.map_or(&[][..], |name| name.0.as_bytes());
            let names = self.names.as_mut().filter(|_| name.is_empty());
            let asked = names.and_then(|names| ask(names, pc));
            *known = KnownAddress {
                sent: sent.into(),
                best_name: asked.unwrap_or_else(|| self.kallsyms.learn(pc, name)),
            };
            if self.hidden == HiddenAddresses::NotNoticed
                && self.kallsyms.is_hidden()
                && (name.is_empty() || is_cut(name))
            {
                self.hidden = HiddenAddresses::Noticed;
            }
        }
        match &known.best_name {
            BestName::Completed(text) => Location {
                symbol: Name::new(text).map(Symbol),
                ..location
            },
            BestName::Sent | BestName::SentUntil(_) => location,
        }
    }

    /// Passes on the name of an address, or its digits where the kernel hides its symbols. Returns whether that is
    /// final: a module's names may be found later.
    pub fn with_name(&mut self, pc: u64, take: impl FnOnce(&[u8])) -> bool {
        let location = self.complete(Location::new(Some(pc), None));
        if let Some(symbol) = location.symbol {
            take(symbol.0.as_bytes());
            return true;
        }
        let mut digits = [0; "0xffffffffffffffff".len()];
        let mut rest = &mut digits[..];
        // There is room for any number.
        let _ = write!(rest, "{pc:#x}");
        let left = rest.len();
        take(&digits[..digits.len() - left]);
        let known = self.known.get(pc, KnownAddress::nothing);
        matches!(known.best_name, BestName::Sent)
    }

    /// Returns true once, when a symbol stays cut or missing because the kernel hides addresses from
    /// this process.
    pub fn are_newly_hidden(&mut self) -> bool {
        let is_news = self.hidden == HiddenAddresses::Noticed;
        if is_news {
            self.hidden = HiddenAddresses::Reported;
        }
        is_news
    }
}

/// Asks the kernel for the name of an address; `None` where it does not answer.
fn ask(names: &mut AddressNames, pc: u64) -> Option<BestName> {
    Some(match names.find(pc).ok()? {
        Some(name) => BestName::Completed(name.into()),
        // A module may be loaded there.
        None => BestName::SentUntil(Instant::now() + MIN_PAUSE),
    })
}

/// Returns whether a sent symbol is complete: `function+0x41/0xb0`, with or without a module. Such a
/// symbol is better than that of `/proc/kallsyms`, which lacks the size of a module's last function.
fn is_whole(sent: &[u8]) -> bool {
    !is_cut(sent) && sent.contains(&b'+') && sent.contains(&b'/')
}

/// Completes a cut symbol from `/proc/modules` alone; `None` where that is not enough.
fn whole_by_modules(sent: &[u8], list: Option<&File>) -> Option<Box<[u8]>> {
    let mut list = list.filter(|_| is_cut(sent))?;
    list.rewind().ok()?;
    modules::complete(sent, BufReader::new(list)).ok()?
}

/// Returns whether the kernel may have cut a symbol.
fn is_cut(sent: &[u8]) -> bool {
    sent.len() >= MAX_SENT
}

impl KnownAddress {
    /// Returns the state of a new address, which is looked up at once because its time is over.
    fn nothing() -> Self {
        Self {
            sent: Box::default(),
            best_name: BestName::SentUntil(Instant::now()),
        }
    }
}

/// The content of `/proc/kallsyms`, read when it is needed.
struct RunningKallsyms {
    file: Option<File>,
    /// `/proc/modules`.
    modules: Option<File>,
    /// `None` before the first read.
    content: Option<Kallsyms>,
    /// The time from which it may be read again.
    next: Instant,
}

impl RunningKallsyms {
    /// Finds the best name of an address for which the kernel sent a symbol.
    fn learn(&mut self, pc: u64, sent: &[u8]) -> BestName {
        if is_whole(sent) {
            return BestName::Sent;
        }
        if let Some(text) = whole_by_modules(sent, self.modules.as_ref()) {
            return BestName::Completed(text);
        }
        let mut is_fresh = self.content.is_none() && self.read();
        loop {
            let place = self.find(pc);
            // Where a file that was read just now disagrees with the sent symbol, the file wins.
            if let Some(place) = place.filter(|place| is_fresh || agrees(place, sent)) {
                let mut text = Vec::new();
                place.write(&mut text);
                break BestName::Completed(text.into());
            }
            if is_fresh || !self.may_change() {
                break BestName::Sent;
            }
            if Instant::now() < self.next {
                break BestName::SentUntil(self.next);
            }
            is_fresh = self.read();
            if !is_fresh {
                break BestName::SentUntil(self.next);
            }
        }
    }

    fn find(&self, pc: u64) -> Option<ResolvedSymbol<'_>> {
        match &self.content {
            Some(Kallsyms::Visible(table)) => table.find(pc),
            _ => None,
        }
    }

    /// Returns whether another read could find more.
    fn may_change(&self) -> bool {
        matches!(self.content, Some(Kallsyms::Visible(_)))
    }

    fn is_hidden(&self) -> bool {
        matches!(self.content, Some(Kallsyms::Hidden))
    }

    /// Reads the file and returns whether that succeeded. After a failure the earlier content stays.
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

/// Returns whether a sent symbol, which may be cut, names the same function.
fn agrees(place: &ResolvedSymbol<'_>, sent: &[u8]) -> bool {
    match sent.iter().position(|&byte| byte == b'+') {
        Some(end) => sent[..end] == *place.function,
        None => is_cut(sent) && place.function.starts_with(sent) || sent.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Returns the symbols of a file, and the file, whose content a test can change.
    fn symbols(content: &str) -> (Symbols, File) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        (Symbols::new(Some(file.try_clone().unwrap())), file)
    }

    fn location(pc: u64, sent: &str) -> Location<'_> {
        Location {
            pc: Some(pc),
            symbol: Name::new(sent.as_bytes()).map(Symbol),
            ..Location::default()
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
        // Remembered: the file is not read again.
        file.set_len(0).unwrap();
        file.write_all(b"1000 t another\n").unwrap();
        check(&mut symbols, 0x1014, CUT, WHOLE);
        // The kernel sent no symbol.
        check(&mut symbols, 0x2001, "", "next+0x1/0x100");
        assert_eq!(symbols.complete(Location::default()), Location::default());
    }

    #[test]
    fn a_whole_symbol_is_kept_because_it_has_the_right_size() {
        let (mut symbols, _) = symbols(KERNEL);
        check(&mut symbols, 0x2101, "last+0x1/0x3000", "last+0x1/0x3000");
        check(&mut symbols, 0x2102, "", "last+0x2/0xf00");
    }

    #[test]
    fn a_whole_symbol_is_kept_without_reading_kallsyms() {
        let (mut symbols, _) = symbols(KERNEL);
        check(&mut symbols, 0x2001, "alias+0x1/0x100", "alias+0x1/0x100");
        check(&mut symbols, 0x2002, "a+0x1/0x2 [gre]", "a+0x1/0x2 [gre]");
        assert!(symbols.kallsyms.content.is_none());
        check(&mut symbols, 0x2003, "next", "next+0x3/0x100");
        assert!(symbols.kallsyms.content.is_some());
    }

    #[test]
    fn a_module_that_was_loaded_later_is_found() {
        let (mut symbols, mut file) = symbols(KERNEL);
        check(&mut symbols, 0x1014, CUT, WHOLE);
        let sent = "a_name_that_is_long_enough_to_be_cut_of";
        writeln!(file, "30000 t {sent}f\t[module]").unwrap();
        // The file is not read again before the pause is over.
        check(&mut symbols, 0x30010, sent, sent);
        symbols.kallsyms.next = Instant::now();
        check(&mut symbols, 0x30010, sent, sent);
        symbols.known = Memo::default();
        let whole = format!("{sent}f+0x10/0x1000 [module]");
        check(&mut symbols, 0x30010, sent, &whole);
        check(&mut symbols, 0x1014, CUT, WHOLE);
        // Another module is loaded at the same address.
        file.set_len(KERNEL.len() as u64).unwrap();
        file.seek(io::SeekFrom::End(0)).unwrap();
        writeln!(file, "30000 t other\t[other]\n30020 t end\t[other]").unwrap();
        symbols.kallsyms.next = Instant::now();
        let sent = "other+0x10/0x20 [other]";
        check(&mut symbols, 0x30010, sent, sent);
    }

    #[test]
    fn hidden_addresses_are_reported_once_and_only_for_symbols_that_are_not_whole() {
        let (mut symbols, _) = symbols("0000000000000000 T next\n");
        check(&mut symbols, 0x2001, "next+0x1/0x100", "next+0x1/0x100");
        assert!(!symbols.are_newly_hidden());
        check(&mut symbols, 0x1014, CUT, CUT);
        assert!(symbols.are_newly_hidden());
        check(&mut symbols, 0x1015, CUT, CUT);
        assert!(!symbols.are_newly_hidden());
    }

    #[test]
    fn hidden_addresses_are_reported_where_no_symbol_is_sent() {
        let (mut symbols, _) = symbols("0000000000000000 T next\n");
        check(&mut symbols, 0x2001, "", "");
        assert!(symbols.are_newly_hidden());
        check(&mut symbols, 0x2002, "", "");
        assert!(!symbols.are_newly_hidden());
    }

    #[test]
    fn without_kallsyms_the_sent_symbol_stays() {
        let mut symbols = Symbols::new(None);
        check(&mut symbols, 0x1014, CUT, CUT);
        check(&mut symbols, 0x1014, "", "");
        assert!(!symbols.are_newly_hidden());
    }

    #[test]
    fn kallsyms_of_this_machine_can_be_read() {
        let mut symbols = Symbols::of_running_kernel();
        let sent = location(u64::MAX, "nothing");
        assert_eq!(symbols.complete(sent), sent);
    }
}
