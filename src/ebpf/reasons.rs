//! Names of drop reasons, from the enumerations of the kernel and of its modules. The numbers differ
//! between kernels, so dwdump has no table of its own.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::VMLINUX;
use super::btf::Btf;
use crate::cache::Memo;

/// The enumeration of the kernel's own reasons.
const CORE: &[u8] = b"skb_drop_reason";
/// Its members' prefix, which the drop monitor leaves out, too.
const PREFIX: &[u8] = b"SKB_DROP_REASON_";
/// Parts of the names of other enumerations of reasons: `ovs_drop_reason`, `mac80211_drop_reason`,
/// `ieee80211_rx_result`.
const OTHERS: [&[u8]; 2] = [b"drop_reason", b"rx_result"];
/// The bit from which on a number names its subsystem (`SKB_DROP_REASON_SUBSYS_SHIFT`): 0 is the kernel itself.
const SUBSYSTEM_SHIFT: u32 = 16;
/// The shortest time between two searches of the modules for the same number.
const PAUSE: Duration = Duration::from_secs(1);

/// The names of the running kernel's reasons.
pub struct Reasons {
    /// A number that was looked up without success is here with itself as its name.
    names: Memo<u32, Box<[u8]>>,
    /// The time from which the modules may be searched again for a number that was met before.
    next_look: Instant,
    /// The folder in which modules are searched again; `None`: they are not.
    folder: Option<&'static Path>,
}

impl Reasons {
    /// Reads the names from the BTF of the kernel and of its modules.
    pub fn new(vmlinux: &Btf<'_>) -> Self {
        let mut reasons = Self::empty();
        reasons.learn(vmlinux);
        reasons.folder = Path::new(VMLINUX).parent();
        if let Some(folder) = reasons.folder {
            reasons.learn_modules(folder, vmlinux);
        }
        reasons
    }

    /// Returns the names of the running kernel's; none where it has no BTF.
    pub fn of_running_kernel() -> Self {
        let bytes = fs::read(VMLINUX).unwrap_or_default();
        Btf::parse(&bytes).map_or_else(|_| Self::empty(), |btf| Self::new(&btf))
    }

    /// Creates a table without names, which finds none by itself.
    pub fn empty() -> Self {
        Self {
            names: Memo::default(),
            next_look: Instant::now() + PAUSE,
            folder: None,
        }
    }

    /// Returns the name of a number, without the prefix that the kernel's own names have. For an unknown
    /// number the modules are searched again, because one may have been loaded since: at once when the number
    /// is met first, and then from time to time. If it has no name there either, it is written as a number
    /// (`0x30007`).
    pub fn name(&mut self, number: u32) -> &[u8] {
        let known = self.names.find(&number);
        if !known.as_ref().is_some_and(|name| is_name(name)) {
            let is_new = known.is_none();
            let now = Instant::now();
            if is_new || now >= self.next_look {
                self.next_look = now + PAUSE;
                self.look_again();
            }
        }
        let number_itself = || format!("{number:#x}").into_bytes().into();
        self.names.get(number, number_itself)
    }

    /// Returns the numbers that have names, and these.
    pub fn known(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let names = self.names.iter().map(|(&number, name)| (number, &**name));
        names.filter(|(_, name)| is_name(name))
    }

    fn is_known(&self, number: u32) -> bool {
        self.names.peek(&number).is_some_and(|name| is_name(name))
    }

    /// Looks for numbers without a name. Those that have one keep it: the filter in the kernel was made of it.
    fn look_again(&mut self) {
        let Some(folder) = self.folder else {
            return;
        };
        let Ok(bytes) = fs::read(VMLINUX) else {
            return;
        };
        let mut found = Self::empty();
        if let Ok(vmlinux) = Btf::parse(&bytes) {
            found.learn_modules(folder, &vmlinux);
        }
        for (&number, name) in found.names.iter() {
            if !self.is_known(number) {
                self.names.set(number, name.clone());
            }
        }
    }

    fn learn_modules(&mut self, folder: &Path, vmlinux: &Btf<'_>) {
        for module in fs::read_dir(folder).into_iter().flatten().flatten() {
            if module.file_name() == "vmlinux" {
                continue;
            }
            let bytes = fs::read(module.path()).unwrap_or_default();
            if let Ok(module) = Btf::parse_module(&bytes, vmlinux) {
                self.learn(&module);
            }
        }
    }

    /// Adds the names in the BTF of the kernel or of a module.
    pub fn learn(&mut self, btf: &Btf<'_>) {
        // `CORE`, too, has a part of the others' names.
        let has_reasons = |enumeration: &[u8]| {
            let contains = |part: &&[u8]| memchr::memmem::find(enumeration, part).is_some();
            OTHERS.iter().any(contains)
        };
        btf.each_enumerator(has_reasons, |enumeration, name, number| {
            let is_reason = enumeration == CORE || number >> SUBSYSTEM_SHIFT != 0;
            let name = name.strip_prefix(PREFIX).unwrap_or(name);
            // `___RX_DROP_UNUSABLE` and its like are no reasons, but mark where a range begins.
            if name.is_empty() || name.starts_with(b"_") || !is_reason {
                return;
            }
            self.names.set(number, name.into());
        });
    }
}

/// Tells a name from a number that is its own.
fn is_name(name: &[u8]) -> bool {
    !name.starts_with(b"0x")
}
